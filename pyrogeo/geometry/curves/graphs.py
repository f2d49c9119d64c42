"""Shortest paths through given points, as a first guess of a geodesic."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from pyrogeo._checks import whole
from pyrogeo.geometry.checks import check_points
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["segment_lengths", "shortest_paths"]

_PATH_SEGMENTS = 64
_BLOCK = 256  # pairs whose shortest paths are held at a time


def shortest_paths(
    metric: Metric, points: Tensor, start: Tensor, end: Tensor, n_neighbors: int = 10
) -> Curve:
    """Polylines from `start` to `end` along the graph of nearest neighbours of `points`.

    Neighbours are those in latent space, edges as long as straight segments are under the metric.

    Args:
        metric: any `Metric`, G.
        points: shape `(M, d)`.
        start, end: shape `(B, d)`; each joins the graph at its own neighbours, for itself.
        n_neighbors: of each point.

    Returns:
        polylines with nodes at equal arc lengths; straight where the graph has no path.

    Raises:
        ValueError: for points of another dimension, or not more than `n_neighbors`.
    """
    check_points("via", points)
    if points.shape[1] != start.shape[1]:
        raise ValueError(f"via: expected dimension {start.shape[1]}, got {points.shape[1]}")
    n_neighbors = whole("n_neighbors", n_neighbors, 0)
    if not 1 <= n_neighbors < len(points):
        raise ValueError(f"n_neighbors: expected 1 to {len(points) - 1}, got {n_neighbors}")
    points = points.to(start).detach()
    tree = NearestNeighbors(n_neighbors=n_neighbors).fit(_array(points))
    among = _edges(metric, points, points, tree.kneighbors(return_distance=False))
    nodes = []
    for a, b in zip(start.split(_BLOCK), end.split(_BLOCK), strict=True):
        for path in _paths(metric, points, tree, among, a, b):
            nodes.append(Curve(path, degree=1).reparametrized(metric, _PATH_SEGMENTS).nodes)
    return Curve(torch.stack(nodes), degree=1)


def segment_lengths(metric: Metric, a: Tensor, b: Tensor, pieces: int = 4) -> Tensor:
    """Lengths of straight segments between points `(E, d)`, shape `(E,)`."""
    with torch.no_grad():
        return Curve.line(a, b, pieces).length(metric)


class _Edges(NamedTuple):
    lengths: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def _edges(metric: Metric, a: Tensor, b: Tensor, near: np.ndarray) -> _Edges:
    """From each of a to those of b whose indices are in the rows of `near`."""
    rows, columns = np.repeat(np.arange(len(a)), near.shape[1]), near.ravel()
    lengths = segment_lengths(metric, a[rows], b[columns]).double().cpu().numpy()
    # A sparse graph takes a zero for a missing edge.
    return _Edges(np.maximum(lengths, np.finfo(float).tiny), rows, columns)


def _paths(
    metric: Metric, points: Tensor, tree: NearestNeighbors, among: _Edges, a: Tensor, b: Tensor
) -> Iterator[Tensor]:
    """Nodes of the shortest path for each pair. Edges lead away from the starts and towards the ends,
    so that no path takes another pair's."""
    m, n = len(points), len(a)
    first, last = (
        _edges(metric, x, points, tree.kneighbors(_array(x), return_distance=False)) for x in (a, b)
    )
    lengths = [among.lengths, among.lengths, first.lengths, last.lengths]
    rows = [among.rows, among.columns, first.rows + m, last.columns]
    columns = [among.columns, among.rows, first.columns, last.rows + m + n]
    # Two points may be neighbours of each other: the entry must not be there twice, as it is summed.
    keys, chosen = np.unique(
        np.concatenate(rows) * (m + 2 * n) + np.concatenate(columns), return_index=True
    )
    size = m + 2 * n
    graph = coo_array(
        (np.concatenate(lengths)[chosen], (keys // size, keys % size)), shape=(size, size)
    ).tocsr()
    before = dijkstra(graph, indices=np.arange(m, m + n), return_predecessors=True)[1]
    vertices = torch.cat([points, a, b])
    for i in range(n):
        yield vertices[_path(before[i], m + i, m + n + i)]


def _array(points: Tensor) -> np.ndarray:
    return points.cpu().double().numpy()


def _path(before: np.ndarray, start: int, end: int) -> list[int]:
    path = [end]
    while path[-1] != start:
        previous = before[path[-1]]
        if previous < 0:  # not connected
            return [start, end]
        path.append(int(previous))
    return path[::-1]

"""Distances from one point to everywhere in a plane, by shortest paths on a grid.

Nodes are joined to those in a wide stencil by straight edges, whose lengths under the metric are
measured by quadrature. Dijkstra's shortest paths are then straightened: a node that is reached on a
shorter way without its predecessor, or through that of a neighbour, is. Each distance is in the end
measured again, more finely, along its path.
"""

import math
import warnings
from dataclasses import dataclass, field

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra
from torch import Tensor

from pyrogeo._checks import whole
from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.domain import check_metric
from pyrogeo.geometry.curves.graphs import segment_lengths
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["DistanceMap", "distance_map"]

_CHUNK = 2**14  # segments measured together
_PIECE = 3.0  # cells that three Gauss points measure, in the search; a quarter of that in the end
_REACH = 24.0  # cells that a straightened edge, or one from the point, may cross
_ROUNDS = 3  # of straightening
_COARSE = 0.05  # relative change of a distance, measured again, that is worth a warning


@dataclass(frozen=True)
class DistanceMap:
    """What `distance_map` found: distances from a point to the nodes of a grid, lengths of paths.

    Attributes:
        point: shape `(2,)`.
        x: the grid's first axis, shape `(W,)`.
        y: its second, shape `(H,)`.
        distances: shape `(H, W)`, in the order of pictures: `distances[i, j]` belongs to
            `(x[j], y[i])`. Infinite outside the metric's domain and where no path leads.
    """

    point: Tensor
    x: Tensor
    y: Tensor
    distances: Tensor
    _before: np.ndarray = field(repr=False)

    def path(self, row: int, column: int) -> Curve:
        """The polyline to `(x[column], y[row])` along which the distance was measured.

        `geodesic(..., initial=)` may start from it.

        Raises:
            ValueError: where no path leads.
        """
        if not torch.isfinite(self.distances[row, column]):
            where = [self.x[column].item(), self.y[row].item()]
            raise ValueError(f"no path leads to {where}")
        vertices = _nodes(self.point, self.x, self.y)
        backwards = [np.arange(self.distances.numel()).reshape(self.distances.shape)[row, column]]
        while backwards[-1] != len(vertices) - 1:
            backwards.append(self._before[backwards[-1]])
        return Curve(vertices[np.array(backwards[::-1])], degree=1)

    def to(self, dtype: torch.dtype) -> "DistanceMap":
        """The same, with its numbers in another precision."""
        point, x, y, distances = (
            value.to(dtype) for value in (self.point, self.x, self.y, self.distances)
        )
        return DistanceMap(point, x, y, distances, self._before)


@in_precision_of_the_metric
def distance_map(
    metric: Metric, point: Tensor, grid: tuple[Tensor, Tensor], *, radius: int = 3
) -> DistanceMap:
    """Distances from a point to the nodes of a grid, in two dimensions.

    A distance is the length of a path within the grid, so it is never too short, but for the error of the
    quadrature. How much too long: with φ the largest angle between neighbouring directions of the stencil,
    and κ the ratio between the lengths of a step in the longest and in the shortest direction,
    Dijkstra's are by a factor of at most √(1 + κ² tan²(φ/2)) from node to node where the metric hardly
    changes within a cell. On square cells tan(φ/2) is 0.16 for radius 3 and 0.10 for radius 5, so that κ = 1
    gives 1.3% and 0.5%, κ = 5 29% and 12%. Straightening takes most of it away: on a grid of
    200×200, constant metrics with κ = 1, 2, 5, 10 had an error of 0.1% on average, and of 0.5%, 1.1%, 2% and
    6% at worst, some cells from the point.

    A grid of 200×200 takes about 3 s on one core with a cheap metric and 7 s with one of 100 centroids, and
    some 100 MB. Obstacles in the metric's domain that are narrower than half a cell may be missed.

    Args:
        metric: any `Metric` on the plane; no gradient is needed.
        point: shape `(2,)`, anywhere within the grid. Its dtype is that of the result.
        grid: axes x and y, increasing numbers of shape `(W,)` and `(H,)`.
        radius: of the stencil in cells. All directions within are used: 16, 32, 48, 80 for radius
            2, 3, 4, 5.

    Raises:
        ValueError: for a point that is not in the plane, in the grid and in the metric's domain; for
            axes that are not increasing; for another radius.
        NotPositiveDefiniteError: where G is not symmetric positive definite, with the node.

    Warns:
        GeodesicWarning: if the grid is too coarse for the metric, which changes much between nodes.

    >>> from pyrogeo.geometry import Euclidean
    >>> axis = torch.linspace(0, 1, 5)
    >>> found = distance_map(Euclidean(), torch.zeros(2), (axis, axis))
    >>> found.distances[-1, -1], found.path(-1, -1).length(Euclidean())
    (tensor(1.4142), tensor(1.4142))
    """
    point, x, y = _checked(metric, point, grid)
    radius = whole("radius", radius, 1, 12)
    nodes = _nodes(point, x, y)
    inside = torch.cat([metric.contains(part) for part in nodes.split(_CHUNK)])
    for part in nodes[inside].split(_CHUNK):
        check_metric(metric, part)
    measure = _Ruler(metric, nodes, inside, x, y)
    shape = (len(y), len(x))
    before, lengths = _shortest(measure, _edges(shape, radius, measure.root_cell), len(nodes))
    for _ in range(_ROUNDS):
        if not _straighten(measure, before, lengths, shape):
            break
    searched = _along(before, lengths)
    reached = np.isfinite(searched)
    lengths[reached] = measure(before[reached], np.flatnonzero(reached), fine=4)
    distances = _along(before, lengths)
    _warn_if_coarse(searched[reached], distances[reached])
    on_grid = torch.from_numpy(distances[:-1].reshape(shape)).to(point)
    return DistanceMap(point, x, y, on_grid, before)


def _checked(
    metric: Metric, point: Tensor, grid: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    if not isinstance(metric, Metric):
        raise ValueError(f"expected a Metric, got {type(metric)}")
    if not torch.is_tensor(point) or not point.is_floating_point() or point.shape != (2,):
        got = tuple(point.shape) if torch.is_tensor(point) else type(point)
        raise ValueError(f"point: expected floating-point numbers of shape (2,), got {got}")
    if (d := getattr(metric, "dimension", 2)) != 2:
        raise ValueError(f"distance maps are made in two dimensions; the metric has {d}")
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise ValueError(f"grid: expected the axes (x, y), got {type(grid)}")
    point = point.detach()
    axes: list[Tensor] = []
    for name, axis, value in zip("xy", grid, point.tolist(), strict=True):
        axis = torch.as_tensor(axis).to(point)
        if axis.dim() != 1 or len(axis) < 2 or not (axis.diff() > 0).all():
            raise ValueError(
                f"grid: expected two or more increasing numbers along {name}, got shape "
                f"{tuple(axis.shape)}"
            )
        if not axis[0] <= value <= axis[-1]:
            raise ValueError(
                f"point: {point.tolist()} lies outside the grid, {name} from {axis[0]:g} to "
                f"{axis[-1]:g}"
            )
        axes.append(axis)
    if not metric.contains(point):
        raise ValueError(f"point: {point.tolist()} lies outside the metric's domain")
    x, y = axes
    return point, x, y


def _nodes(point: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """The grid's nodes, row by row, and then the point: shape `(H·W + 1, 2)`."""
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    return torch.cat([torch.stack([columns, rows], -1).reshape(-1, 2), point[None]])


class _Ruler:
    """Lengths of straight segments between nodes; infinite where one is seen to leave the domain."""

    def __init__(self, metric: Metric, nodes: Tensor, inside: Tensor, x: Tensor, y: Tensor):
        self.metric, self.nodes, self.inside = metric, nodes, inside.cpu().numpy()
        place = nodes.cpu().double().numpy()
        axes = [axis.cpu().double().numpy() for axis in (x, y)]
        # In cells, so that (column, row) of a node.
        self.cells = np.stack(
            [np.interp(place[:, i], axes[i], np.arange(len(axes[i]))) for i in range(2)], -1
        )
        self.root_cell = self.cells[-1]

    def extent(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cells that a segment crosses, along the axis where it crosses more."""
        most: np.ndarray = np.abs(self.cells[a] - self.cells[b]).max(-1)
        return most

    def __call__(self, a: np.ndarray, b: np.ndarray, fine: int = 1) -> np.ndarray:
        pieces = np.ceil(fine * self.extent(a, b) / _PIECE).astype(int).clip(1)
        lengths = np.full(len(a), np.inf)
        usable = self.inside[a] & self.inside[b]
        for number in np.unique(pieces[usable]):
            chosen = np.flatnonzero(usable & (pieces == number))
            for part in np.array_split(chosen, -(-len(chosen) * number // _CHUNK)):
                lengths[part] = self._measure(a[part], b[part], int(number))
        return lengths

    def _measure(self, a: np.ndarray, b: np.ndarray, pieces: int) -> np.ndarray:
        start, end = self.nodes[a], self.nodes[b]
        steps = 2 * math.ceil(self.extent(a, b).max()) + 2  # at most half a cell
        t = torch.linspace(0, 1, steps)[1:-1].to(start)
        between = Curve.line(start, end)(t)
        within = self.metric.contains(between).all(-1)
        lengths = torch.full_like(start[:, 0], torch.inf)
        lengths[within] = segment_lengths(self.metric, start[within], end[within], pieces)
        # A metric may end where it does not say so.
        lengths = torch.where(torch.isfinite(lengths), lengths, torch.inf)
        return lengths.cpu().double().numpy()


def _offsets(radius: int) -> list[tuple[int, int]]:
    """Steps (rows, columns) in all directions of the stencil, one of each pair of opposites."""
    steps = range(-radius, radius + 1)
    return [
        (i, j) for i in range(radius + 1) for j in steps if math.gcd(i, j) == 1 and (i > 0 or j > 0)
    ]


def _edges(
    shape: tuple[int, int], radius: int, root_cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nodes that each edge joins; the point joins all nodes within reach."""
    index = np.arange(shape[0] * shape[1]).reshape(shape)
    starts, ends = [], []
    for i, j in _offsets(radius):
        left, right = max(0, -j), max(0, j)
        starts.append(index[: max(shape[0] - i, 0), left : max(shape[1] - right, left)].ravel())
        ends.append(index[i:, right : max(shape[1] - left, right)].ravel())
    low = np.ceil(root_cell - _REACH).astype(int).clip(0)
    high = np.floor(root_cell + _REACH).astype(int) + 1
    around = index[low[1] : high[1], low[0] : high[0]].ravel()
    starts.append(np.full_like(around, index.size))
    ends.append(around)
    return np.concatenate(starts), np.concatenate(ends)


def _shortest(
    measure: _Ruler, edges: tuple[np.ndarray, np.ndarray], size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each node's predecessor on its shortest path, and the length of the step from there."""
    lengths = measure(*edges)
    there = np.isfinite(lengths)
    starts, ends = (e[there] for e in edges)
    # A sparse graph takes a zero for a missing edge.
    positive = np.maximum(lengths[there], np.finfo(float).tiny)
    graph = coo_array((positive, (starts, ends)), shape=(size, size)).tocsr()
    root = size - 1
    distances, before = dijkstra(graph, directed=False, indices=root, return_predecessors=True)
    before = np.where(before < 0, root, before).astype(int)
    steps = distances - distances[before]
    steps[~np.isfinite(distances)] = np.inf
    steps[root] = 0.0
    return before, steps


def _along(before: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """The sum of the steps' lengths on the way to each node."""
    total, ancestor, root = lengths.copy(), before.copy(), len(before) - 1
    while (ancestor != root).any():
        total, ancestor = total + total[ancestor], ancestor[ancestor]
    return total


def _straighten(
    measure: _Ruler, before: np.ndarray, lengths: np.ndarray, shape: tuple[int, int]
) -> bool:
    """One round, in place; whether any path became shorter.

    A node's new predecessor has been nearer to the point than itself, so that no circle can arise.
    """
    distances = _along(before, lengths)
    root, nodes = len(before) - 1, np.arange(len(before) - 1)
    best, best_length, best_before = distances.copy(), lengths.copy(), before.copy()
    grid = before[:-1].reshape(shape)
    ways = [before[before[:-1]]]
    for axis in (0, 1):
        for shift in (-1, 1):
            ways.append(np.roll(grid, shift, axis).ravel())
    for way in ways:
        worth = (way != best_before[:-1]) & (way != nodes) & np.isfinite(distances[:-1])
        worth &= measure.extent(way, nodes) <= _REACH
        v, u = nodes[worth], way[worth]
        steps = measure(u, v)
        shorter = distances[u] + steps < best[v] * (1 - 1e-9)
        v, u, steps = v[shorter], u[shorter], steps[shorter]
        best[v], best_length[v], best_before[v] = distances[u] + steps, steps, u
    changed = bool((best_before != before).any())
    before[:], lengths[:] = best_before, best_length
    lengths[root] = 0.0
    return changed


def _warn_if_coarse(searched: np.ndarray, measured: np.ndarray) -> None:
    far = searched > np.finfo(float).eps * max(searched.max(), 1e-300)
    change = np.abs(measured[far] / searched[far] - 1)
    if (change > _COARSE).any():
        warnings.warn(
            f"the grid is too coarse for the metric, which changes much between nodes: measured more "
            f"finely, distances change by up to {change.max():.0%}, and {np.mean(change > _COARSE):.1%} of "
            f"them by more than {_COARSE:.0%}",
            GeodesicWarning,
            stacklevel=4,
        )

"""Shortest curves between points: the boundary-value problem, many pairs at once.

A geodesic minimises the energy E(γ) = ∫ ‖γ'‖² dt, and with it the length. How is a solver's business:
`Newton` moves nodes by Newton's method, damped for each curve by itself; `Spline` moves those of splines with
few nodes by a quasi-Newton method, many times faster, and as exact as such splines are.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._checks import whole
from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.domain import check_inside
from pyrogeo.geometry.curves.graphs import shortest_paths
from pyrogeo.geometry.curves.newton import Newton
from pyrogeo.geometry.curves.solver import Solver
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.precision import cast, in_precision_of_the_metric

__all__ = ["Geodesic", "geodesic"]

_COARSE = 0.1  # of `Geodesic.discretization`


@dataclass(frozen=True)
class Geodesic:
    """Curves that `geodesic` found, of batch shape `(*,)`.

    Attributes:
        curve: with constant speed under the metric, or with equal Euclidean steps if so asked for.
        length: of the curve, shape `(*,)`: the distance, if it is the shortest.
        converged: whether the residual is at most the tolerance, and `discretization` at most 10%.
        residual: the solver's. Of `Newton` √(decrement / energy): relative to the length, how far in the
            energy's norm the next step would move the curve. Of `Spline` the same with G held constant.
        discretization: how much the length of the polyline through the nodes, by the midpoint rule, differs
            from the curve's, relatively: of second order, and large where segments step over features
            of the metric.
        iterations: steps of the solver, over all levels.
        left_domain: whether a way out of the manifold, through infinity, is shorter than the curve, so
            that no shortest curve exists.
    """

    curve: Curve
    length: Tensor
    converged: Tensor
    residual: Tensor
    discretization: Tensor
    iterations: Tensor
    left_domain: Tensor

    def to(self, dtype: torch.dtype) -> "Geodesic":
        """The same, with its numbers in another precision."""
        return Geodesic(**{name: cast(value, dtype) for name, value in vars(self).items()})


@in_precision_of_the_metric
def geodesic(
    metric: Metric,
    start: Tensor,
    end: Tensor,
    *,
    solver: Solver | None = None,
    via: Tensor | None = None,
    n_neighbors: int = 10,
    initial: Curve | None = None,
    chunk_size: int = 256,
    progress: bool = False,
) -> Geodesic:
    """Locally shortest curves from `start` to `end`.

    A curve is never longer than the one that it started from: a straight line by default, or a path
    through given points with `via`. Another start may lead to another geodesic.

    Args:
        metric: any `Metric` that autograd can differentiate as often as the solver needs.
        start, end: points that broadcast to `(*, d)`, in one dtype.
        solver: `Newton(...)`, the default, or `Spline(...)`, each with its own number of segments, tolerance
            and iterations.
        via: points `(M, d)`, such as embeddings: curves start from shortest paths in the graph of their
            `n_neighbors` nearest neighbours.
        initial: curves to start from instead, with end points of their own that are not looked at.
        chunk_size: curves solved together, which bounds the memory: some twenty numbers for each curve,
            segment and centroid.
        progress: show a bar.

    Returns:
        a `Geodesic`, solved in the metric's precision, in the points' own dtype. Equal points give length 0.

    Raises:
        ValueError: for points that do not fit each other or lie outside the metric's domain, and for
            options out of range.
        NotPositiveDefiniteError: where G is not symmetric positive definite, with the point.

    Warns:
        GeodesicWarning: with the number of curves that did not converge, or that are longer than a
            way through infinity.

    >>> from pyrogeo.geometry import Euclidean
    >>> geodesic(Euclidean(), torch.zeros(2), torch.tensor([3.0, 4.0])).length
    tensor(5.)
    """
    start, end = _checked_points(metric, start, end)
    solver = Newton() if solver is None else solver
    if not isinstance(solver, Solver):
        raise ValueError(f"solver: expected Newton(...) or Spline(...), got {solver!r}")
    chunk_size = whole("chunk_size", chunk_size)
    if via is not None and initial is not None:
        raise ValueError("expected via or initial, not both")
    batch, d = start.shape[:-1], start.shape[-1]
    start, end = start.reshape(-1, d), end.reshape(-1, d)
    if via is not None:
        initial = shortest_paths(metric, via, start, end, n_neighbors)
    first = Curve.line(start, end) if initial is None else _between(initial, start, end)
    parts = [
        solver.solve(metric, Curve(nodes, first.degree))
        for nodes in tqdm(first.nodes.split(chunk_size), desc="geodesics", disable=not progress)
    ]
    joined = (torch.cat(p).reshape(batch + p[0].shape[1:]) for p in zip(*parts, strict=True))
    nodes, length, residual, discretization, iterations = joined
    tolerance = solver.tolerance_in(start.dtype)
    converged = (residual <= tolerance) & (discretization <= _COARSE)
    left = _leaves(metric, nodes, length)
    result = Geodesic(Curve(nodes), length, converged, residual, discretization, iterations, left)
    _warn(result, tolerance)
    return result


def _checked_points(metric: Metric, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(metric, Metric):
        raise ValueError(f"expected a Metric, got {type(metric)}")
    for name, z in (("start", start), ("end", end)):
        if not torch.is_tensor(z) or not z.is_floating_point() or z.dim() < 1:
            got = tuple(z.shape) if torch.is_tensor(z) else type(z)
            raise ValueError(f"{name}: expected floating-point points of shape (*, d), got {got}")
    if start.shape[-1] != end.shape[-1] or start.dtype != end.dtype:
        raise ValueError(
            f"start and end do not fit: {tuple(start.shape)} of {start.dtype} and "
            f"{tuple(end.shape)} of {end.dtype}"
        )
    try:
        start, end = torch.broadcast_tensors(start.detach(), end.detach())
    except RuntimeError as error:
        raise ValueError(
            f"start and end do not broadcast: {tuple(start.shape)} and {tuple(end.shape)}"
        ) from error
    if start.numel() == 0:
        raise ValueError(f"expected at least one pair of points, got {tuple(start.shape)}")
    d = getattr(metric, "dimension", start.shape[-1])
    if d != start.shape[-1]:
        raise ValueError(f"the metric has dimension {d}, the points {start.shape[-1]}")
    check_inside(metric, start, "start: ")
    check_inside(metric, end, "end: ")
    return start, end


def _between(initial: Curve, start: Tensor, end: Tensor) -> Curve:
    """One curve for all pairs, or one for each, with the ends of the pairs."""
    nodes = initial.nodes.reshape(-1, *initial.nodes.shape[-2:]).to(start)
    if len(nodes) not in (1, len(start)) or nodes.shape[-1] != start.shape[-1]:
        raise ValueError(
            f"initial: expected one curve or {len(start)} in {start.shape[-1]} dimensions, got nodes of "
            f"shape {tuple(initial.nodes.shape)}"
        )
    inner = nodes[:, 1:-1].expand(len(start), -1, -1)
    return Curve(torch.cat([start[:, None], inner, end[:, None]], 1), initial.degree)


def _leaves(metric: Metric, nodes: Tensor, length: Tensor) -> Tensor:
    """Whether going out at one end and coming back at the other is shorter."""
    ends = nodes[..., [0, -1], :]
    points, index = torch.unique(ends.reshape(-1, ends.shape[-1]), dim=0, return_inverse=True)
    with torch.no_grad():
        out = metric.distance_to_infinity(points)[index].reshape(*length.shape, 2)
    return length > out.sum(-1)


def _warn(found: Geodesic, tolerance: float) -> None:
    failed, left = int((~found.converged).sum()), int(found.left_domain.sum())
    total = found.converged.numel()
    said: list[Any] = []
    if failed:
        worst, rough = (
            x[~found.converged].max().item() for x in (found.residual, found.discretization)
        )
        said.append(
            f"{failed} of {total} geodesics did not converge (largest residual {worst:.2g}, tolerance "
            f"{tolerance:.2g}; largest discretization {rough:.1%}, at most {_COARSE:.0%} is wanted)"
        )
    if left:
        said.append(
            f"{left} of {total} curves are longer than a way through infinity, which is at a finite "
            "distance: no shortest curve exists between their ends"
        )
    if said:
        warnings.warn("; ".join(said), GeodesicWarning, stacklevel=4)

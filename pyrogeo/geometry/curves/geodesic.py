"""Shortest curves between points: the boundary-value problem, many pairs at once.

A geodesic minimises the energy E(γ) = ∫ ‖γ'‖² dt, and with it the length. The curve is discretised by
nodes, the energy by the midpoint rule, and minimised by Newton's method, damped for each curve by
itself, first with a quarter of the nodes, then with half, then with all. The error of the nodes is of
second order in 1/n, that of the length, which is stationary there, of fourth.

The other method takes cubic splines with few nodes, and a quasi-Newton method. It is many times
faster, and as exact as splines of so many nodes are.
"""

import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo.errors import GeodesicWarning, NotPositiveDefiniteError
from pyrogeo.geometry.curves import newton as _newton
from pyrogeo.geometry.curves import splines as _splines
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.graphs import shortest_paths
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.constant import Euclidean

__all__ = ["Geodesic", "check_inside", "check_metric", "geodesic"]

_COARSE_TOLERANCE = 1e-3
_COARSE_ITERATIONS = 30
_COARSE = 0.1  # of `Geodesic.discretization`
_SLACK = 1e-6, 1e-3  # of a length above the initial one: to try again, and to give up
_FINE = 8  # parts of a segment, to measure a curve that did not converge
_MESHES = 3  # at the finest level, where nodes are spaced by something else than the metric
_SMALLEST_SHARE = 1e-9
_DEFAULTS = {"newton": (64, 1e-6), "spline": (12, 1e-2)}  # segments and tolerance of each method


@dataclass(frozen=True)
class Geodesic:
    """Curves that `geodesic` found, of batch shape `(*,)`.

    Attributes:
        curve: with constant speed under the metric, or with equal Euclidean steps if so asked for.
        length: of the curve, shape `(*,)`: the distance, if it is the shortest.
        converged: whether the residual is at most the tolerance, and `discretization` at most 10%.
        residual: √(decrement / energy) of Newton's method: relative to the length, how far in the
            energy's norm the next step would move the curve. Of splines the same with G held constant.
        discretization: how much the length of the polyline through the nodes, by the midpoint rule, differs
            from the curve's, relatively: of second order, and large where segments step over features
            of the metric.
        iterations: steps of the method, over all levels.
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


def geodesic(
    metric: Metric,
    start: Tensor,
    end: Tensor,
    *,
    method: str = "newton",
    num_segments: int | None = None,
    via: Tensor | None = None,
    n_neighbors: int = 10,
    initial: Curve | None = None,
    spacing: str = "metric",
    tolerance: float | None = None,
    max_iterations: int = 100,
    chunk_size: int = 256,
    progress: bool = False,
) -> Geodesic:
    """Locally shortest curves from `start` to `end`.

    A curve is never longer than the one that it started from: a straight line by default, or a path
    through given points with `via`. Another start may lead to another geodesic.

    Args:
        metric: any `Metric` that autograd can differentiate twice.
        start, end: points that broadcast to `(*, d)`, in one dtype.
        method: `"newton"`, or `"spline"`, which needs first derivatives of the metric only: for many
            pairs at an accuracy of per cents, or where Newton's method gets stuck.
        num_segments: n, a multiple of 4; by default 64, of splines 12. The length's error falls like n⁻⁴
            once the metric's features are resolved.
        via: points `(M, d)`, such as embeddings: curves start from shortest paths in the graph of their
            `n_neighbors` nearest neighbours.
        initial: curves to start from instead, with end points of their own that are not looked at.
        spacing: `"metric"` puts nodes at equal arc lengths of the metric, so that t ↦ γ(t) has constant
            speed. `"euclidean"` puts them at equal distances in latent space: the same curve, better
            resolved where the metric varies by orders of magnitude, as `volume_seeking` does. Splines
            have the speed that the energy gives them.
        tolerance: for the residual, by default 1e-6, of splines 1e-2; not below four times the root of
            the dtype's epsilon.
        max_iterations: at each level; of splines, in all.
        chunk_size: curves solved together, which bounds the memory: some twenty numbers for each curve,
            segment and centroid.
        progress: show a bar.

    Returns:
        a `Geodesic`. Equal points give length 0.

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
    if method not in _DEFAULTS:
        raise ValueError(f"method: expected 'newton' or 'spline', got {method!r}")
    num_segments = _DEFAULTS[method][0] if num_segments is None else num_segments
    tolerance = _DEFAULTS[method][1] if tolerance is None else tolerance
    if not isinstance(num_segments, int) or num_segments < 4 or num_segments % 4:
        raise ValueError(f"num_segments: expected a multiple of 4, got {num_segments!r}")
    if spacing not in ("metric", "euclidean"):
        raise ValueError(f"spacing: expected 'metric' or 'euclidean', got {spacing!r}")
    if not tolerance > 0 or max_iterations < 1 or chunk_size < 1:
        raise ValueError(
            "expected a positive tolerance, max_iterations and chunk_size, got "
            f"{tolerance}, {max_iterations} and {chunk_size}"
        )
    if via is not None and initial is not None:
        raise ValueError("expected via or initial, not both")
    batch, d = start.shape[:-1], start.shape[-1]
    start, end = start.reshape(-1, d), end.reshape(-1, d)
    tolerance = max(tolerance, 4 * torch.finfo(start.dtype).eps ** 0.5)
    if via is not None:
        initial = shortest_paths(metric, via, start, end, n_neighbors)
    parts = []
    chunks = range(0, len(start), chunk_size)
    for i in tqdm(chunks, desc="geodesics", disable=not progress):
        chosen = slice(i, i + chunk_size)
        curve = Curve.line(start[chosen], end[chosen])
        if initial is not None:
            nodes = _nodes_of(initial, start)[chosen].clone()
            nodes[:, 0], nodes[:, -1] = start[chosen], end[chosen]
            curve = Curve(nodes, initial.degree)
        if method == "spline":
            part = _solve_splines(metric, curve, num_segments, tolerance, max_iterations)
        else:
            part = _solve(metric, curve, num_segments, spacing, tolerance, max_iterations)
        parts.append(part)
    found = [torch.cat(p).reshape(batch + p[0].shape[1:]) for p in zip(*parts, strict=True)]
    nodes, length, residual, discretization, iterations = found
    converged = (residual <= tolerance) & (discretization <= _COARSE)
    left = _leaves(metric, nodes, length)
    result = Geodesic(Curve(nodes), length, converged, residual, discretization, iterations, left)
    _warn(result, tolerance)
    return result


def check_inside(metric: Metric, z: Tensor, name: str = "") -> None:
    """Points `(*, d)` of the metric's domain, where `check_metric` finds nothing wrong, or an error.

    Raises:
        ValueError, NotPositiveDefiniteError
    """
    outside = ~metric.contains(z)
    if outside.any():
        raise ValueError(f"{name}{z[outside][0].tolist()} lies outside the metric's domain")
    check_metric(metric, z)


def check_metric(metric: Metric, z: Tensor) -> None:
    """Finite symmetric positive definite matrices of the right shape at points `(*, d)`, or an error
    that names the first point without one.

    Raises:
        ValueError, NotPositiveDefiniteError
    """
    with torch.no_grad():
        g = metric(z)
    if g.shape != (*z.shape, z.shape[-1]):
        expected = (*z.shape, z.shape[-1])
        raise ValueError(f"the metric maps {tuple(z.shape)} to {tuple(g.shape)}, not to {expected}")
    size = g.abs().amax((-2, -1))
    for bad, words in (
        (~torch.isfinite(g).all(-1).all(-1), "finite"),
        ((g - g.mT).abs().amax((-2, -1)) > 1e-5 * size, "symmetric"),
        (torch.linalg.cholesky_ex(g).info > 0, "positive definite"),
    ):
        if bad.any():
            where = z[bad][0].tolist()
            raise NotPositiveDefiniteError(f"the metric is not {words} at z = {where}")


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


def _nodes_of(initial: Curve, start: Tensor) -> Tensor:
    """Nodes of one curve for all pairs, or of one for each, `(B, n + 1, d)`."""
    nodes = initial.nodes.reshape(-1, *initial.nodes.shape[-2:]).to(start)
    if len(nodes) not in (1, len(start)) or nodes.shape[-1] != start.shape[-1]:
        raise ValueError(
            f"initial: expected one curve or {len(start)} in {start.shape[-1]} dimensions, got nodes of "
            f"shape {tuple(initial.nodes.shape)}"
        )
    return nodes.expand(len(start), -1, -1)


def _solve(
    metric: Metric, curve: Curve, n: int, spacing: str, tolerance: float, max_iterations: int
) -> tuple[Tensor, ...]:
    """Nodes, length, residual, discretization and iterations of one chunk; no curve longer than it was
    initially."""
    measure = metric if spacing == "metric" else Euclidean()
    with torch.no_grad():
        check_metric(metric, curve(torch.linspace(0, 1, n // 4 + 1)))
        nodes = curve.reparametrized(measure, n // 4).nodes
        limit = curve.length(metric, splits=-(-n // curve.num_segments))
    coarse = max(tolerance, _COARSE_TOLERANCE), min(max_iterations, _COARSE_ITERATIONS)
    iterations = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
    for segments in (n // 4, n // 2):
        solution = _newton.minimize(metric, nodes, _shares(metric, nodes, spacing), *coarse)
        nodes = _refined(metric, solution.nodes, 2 * segments, spacing)
        iterations += solution.iterations
    found = _finest(metric, nodes, spacing, tolerance, max_iterations)
    # Few nodes may step over what the metric has between them, and end in a longer curve. With equal
    # Euclidean steps they hardly can.
    worse = ~(found[1] <= limit * (1 + _SLACK[0])) | _newton.escaped(found[0])
    if worse.any():
        with torch.no_grad():
            initial = Curve(curve.nodes[worse], curve.degree)
            first, start = (initial.reparametrized(g, n).nodes for g in (measure, Euclidean()))
        again = _finest(metric, start, "euclidean", tolerance, max_iterations)
        if spacing == "metric":
            again[0][:] = Curve(again[0]).reparametrized(metric).nodes
        for old, new in zip(found, again, strict=True):
            old[worse] = new
        still = ~(found[1] <= limit * (1 + _SLACK[1])) | _newton.escaped(found[0])
        found[0][still], found[1][still], found[2][still] = (
            first[still[worse]],
            limit[still],
            torch.inf,
        )
    nodes, length, residual, discretization, more = found
    discretization = torch.where(limit == 0, 0.0, discretization)  # ends in one point
    return nodes, length, residual, discretization, iterations + more


def _solve_splines(
    metric: Metric, curve: Curve, n: int, tolerance: float, max_iterations: int
) -> tuple[Tensor, ...]:
    """What `_solve` returns."""
    with torch.no_grad():
        first = curve.reparametrized(Euclidean(), n).nodes
        check_metric(metric, first)
        limit = curve.length(metric, splits=-(-2 * n // curve.num_segments))
        found = _splines.minimize(metric, first, tolerance, max_iterations)
        length = Curve(found.nodes).length(metric, splits=2)
        worse = ~(length <= limit * (1 + _SLACK[1]))
        nodes = torch.where(worse[:, None, None], first, found.nodes)
        residual = torch.where(worse, torch.inf, found.residual)
        residual[limit == 0] = 0.0  # ends in one point
        length = torch.where(worse, limit, length)
        rough = Curve(nodes).length(metric)
    discretization = torch.where(length > 0, (rough / length - 1).abs(), 0.0)
    return nodes, length, residual, discretization, found.iterations


def _finest(
    metric: Metric, nodes: Tensor, spacing: str, tolerance: float, max_iterations: int
) -> tuple[Tensor, ...]:
    """The same from initial nodes, without changing their number."""
    iterations = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
    for _ in range(1 if spacing == "metric" else _MESHES):
        if spacing == "euclidean":  # nodes have moved along their curves
            nodes = _refined(metric, nodes, nodes.shape[1] - 1, spacing)
        shares = _shares(metric, nodes, spacing)
        solution = _newton.minimize(metric, nodes, shares, tolerance, max_iterations)
        nodes, iterations = solution.nodes, iterations + solution.iterations
    with torch.no_grad():
        length = Curve(nodes).length(metric)
        failed = ~(solution.residual <= tolerance)
        if failed.any():  # its segments may be so long that three points miss what lies on them
            length[failed] = Curve(nodes[failed]).length(metric, splits=_FINE)
        rounded = _newton.segment_energies(metric, nodes, torch.ones_like(shares)).sqrt().sum(-1)
    return nodes, length, solution.residual, (rounded / length - 1).abs(), iterations


def _refined(metric: Metric, nodes: Tensor, num_segments: int, spacing: str) -> Tensor:
    """Nodes on the spline through these; where it leaves the domain, on the polyline."""
    if spacing == "metric":
        t = torch.linspace(0, 1, num_segments + 1, dtype=nodes.dtype, device=nodes.device)
        smooth, straight = Curve(nodes)(t), Curve(nodes, degree=1)(t)
    else:
        both = Curve(nodes), Curve(nodes, degree=1)
        smooth, straight = (c.reparametrized(Euclidean(), num_segments).nodes for c in both)
    out = ~metric.contains(smooth).all(-1)
    return torch.where(out[:, None, None], straight, smooth)


def _shares(metric: Metric, nodes: Tensor, spacing: str) -> Tensor:
    """Of time, for each segment: equal, or in proportion to its length under the metric."""
    equal = torch.full_like(nodes[:, 1:, 0], 1 / (nodes.shape[1] - 1))
    if spacing == "metric":
        return equal
    lengths = _newton.segment_energies(metric, nodes, torch.ones_like(equal)).sqrt()
    total = lengths.sum(-1, keepdim=True)
    shares = torch.where(total > 0, lengths / total, equal)
    shares = shares.clamp(min=_SMALLEST_SHARE)
    return shares / shares.sum(-1, keepdim=True)


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
        warnings.warn("; ".join(said), GeodesicWarning, stacklevel=3)

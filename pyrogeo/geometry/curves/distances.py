"""Distances and what is made of them: the logarithm, means, and matrices of many pairs."""

import warnings
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._checks import positive, whole
from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry.curves.exponential import exp_map
from pyrogeo.geometry.curves.geodesic import Geodesic, geodesic
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["distance", "distance_matrix", "frechet_mean", "log_map"]

_PAIRS = 4096  # of which curves are held at a time
_HALVINGS = 30  # of a step


def distance(metric: Metric, start: Tensor, end: Tensor, **options: Any) -> Tensor:
    """Lengths of geodesics between points that broadcast to `(*, d)`, shape `(*,)`.

    Args:
        metric: any `Metric`, G.
        start, end: points.
        options: of `geodesic`. A local minimum, and a curve that did not converge, may be longer than the
            distance; none is shorter, as each is the length of a curve, measured to five digits.

    Raises:
        ValueError, NotPositiveDefiniteError: as `geodesic` does.

    Warns:
        GeodesicWarning: as `geodesic` does.

    >>> from pyrogeo.geometry import Euclidean
    >>> distance(Euclidean(), torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    return geodesic(metric, start, end, **options).length


@in_precision_of_the_metric
def log_map(metric: Metric, z: Tensor, points: Tensor, **options: Any) -> Tensor:
    """log_z(x): the initial velocity of the geodesic from z to x, so that exp_z(log_z(x)) = x.

    Args:
        metric: any `Metric`, G.
        z, points: points that broadcast to `(*, d)`.
        options: of `geodesic`.

    Returns:
        tangent vectors at z, shape `(*, d)`, as long as the distance; zero where the points are equal.

    Raises:
        ValueError, NotPositiveDefiniteError: as `geodesic` does.

    >>> from pyrogeo.geometry import Euclidean
    >>> log_map(Euclidean(), torch.ones(2), torch.zeros(2))
    tensor([-1., -1.])
    """
    return _initial_velocity(metric, geodesic(metric, z, points, **options))


@in_precision_of_the_metric
def distance_matrix(
    metric: Metric,
    x: Tensor,
    y: Tensor | None = None,
    *,
    progress: bool = True,
    **options: Any,
) -> Tensor:
    """Distances from each of x to each of y, or among x.

    Args:
        metric: any `Metric`, G.
        x, y: points of shape `(N, d)` and `(M, d)`; y None for x itself.
        progress: show a bar.
        options: of `geodesic`; `solver=Spline()`, or `Newton(num_segments=16)`, is faster.

    Returns:
        shape `(N, M)`; among x alone symmetric, each pair solved once. For clustering:
        `sklearn_extra.cluster.KMedoids(metric="precomputed")`, or `geometry.KMedoids` likewise.

    Raises:
        ValueError: for points of another shape, and as `geodesic` does.

    >>> from pyrogeo.geometry import Euclidean
    >>> distance_matrix(Euclidean(), torch.tensor([[0.0, 0.0], [3.0, 4.0]]), progress=False)
    tensor([[0., 5.],
            [5., 0.]])
    """
    for name, points in (("x", x), ("y", x if y is None else y)):
        if not torch.is_tensor(points) or points.dim() != 2 or len(points) == 0:
            got = tuple(points.shape) if torch.is_tensor(points) else type(points)
            raise ValueError(f"{name}: expected points of shape (N, d), got {got}")
    if y is None:
        rows, columns = torch.triu_indices(len(x), len(x), 1 if len(x) > 1 else 0)
        y = x
    else:
        rows, columns = torch.cartesian_prod(torch.arange(len(x)), torch.arange(len(y))).T
    lengths = torch.zeros(len(x), len(y), dtype=x.dtype, device=x.device)
    failed = left = 0
    with tqdm(total=len(rows), desc="distances", disable=not progress, unit="pair") as bar:
        for i, j in zip(rows.split(_PAIRS), columns.split(_PAIRS), strict=True):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", GeodesicWarning)
                found = geodesic(metric, x[i], y[j], **options)
            lengths[i, j] = found.length
            failed += int((~found.converged).sum())
            left += int(found.left_domain.sum())
            bar.update(len(i))
    if failed or left:
        warnings.warn(
            f"of {len(rows)} geodesics {failed} did not converge, and {left} are longer than a way "
            "through infinity, which is at a finite distance",
            GeodesicWarning,
            stacklevel=3,
        )
    return torch.maximum(lengths, lengths.T) if y is x else lengths


@in_precision_of_the_metric
def frechet_mean(
    metric: Metric,
    points: Tensor,
    weights: Tensor | None = None,
    *,
    initial: Tensor | None = None,
    tolerance: float = 1e-5,
    max_iterations: int = 50,
    **options: Any,
) -> Tensor:
    """The point that minimises Σᵢ wᵢ dist(z, xᵢ)², by steps z ← exp_z(η Σᵢ wᵢ log_z(xᵢ)).

    Args:
        metric: any `Metric`, G.
        points: shape `(N, d)`.
        weights: shape `(N,)`, not negative; by default equal.
        initial: where to start, shape `(d,)`; by default the point with the least mean square distance
            to the others, among up to 32.
        tolerance: for the length of the mean of the logarithms, relative to the root of the mean square
            distance.
        max_iterations: after which a warning is given.
        options: of `geodesic`.

    Returns:
        shape `(d,)`. Beyond the radius of convexity the minimum is a local one.

    Raises:
        ValueError: for points or weights of another shape, or weights that are negative or all zero.

    Warns:
        GeodesicWarning: if it did not converge.

    >>> from pyrogeo.geometry import Euclidean
    >>> frechet_mean(Euclidean(), torch.tensor([[0.0, 0.0], [1.0, 0.0], [2.0, 3.0]]).double())
    tensor([1.0000, 1.0000], dtype=torch.float64)
    """
    weights = _checked_weights(points, weights)
    if initial is not None and initial.dim() != 1:
        raise ValueError(f"initial: expected shape (d,), got {tuple(initial.shape)}")
    max_iterations = whole("max_iterations", max_iterations)
    tolerance = max(positive("tolerance", tolerance), torch.finfo(points.dtype).eps ** 0.5)
    z = _central(metric, points, weights, options) if initial is None else initial.detach()
    step, mean, direction = 1.0, z, torch.zeros_like(z)
    best: Tensor | float = torch.inf
    least: Tensor | float = torch.inf
    for _ in range(max_iterations):
        found = geodesic(metric, z, points, **options)
        spread = (weights * found.length**2).sum()
        way = (weights[:, None] * _initial_velocity(metric, found)).sum(0)
        size = metric.norm(z, way)
        # Near the mean the spread no longer changes by more than its error, and the way still shortens.
        if spread < best or size < least:
            mean, direction, best, least = z, way, spread, size
            if size <= tolerance * spread.sqrt():
                return mean
        else:
            step *= 0.5
        z, step = _moved(metric, mean, direction, step)
    warnings.warn(
        f"the Fréchet mean did not converge in {max_iterations} steps",
        GeodesicWarning,
        stacklevel=3,
    )
    return mean


def _checked_weights(points: Tensor, weights: Tensor | None) -> Tensor:
    """In shares of one."""
    if not torch.is_tensor(points) or points.dim() != 2 or len(points) == 0:
        got = tuple(points.shape) if torch.is_tensor(points) else type(points)
        raise ValueError(f"points: expected shape (N, d), got {got}")
    weights = torch.ones_like(points[:, 0]) if weights is None else weights.to(points)
    good = torch.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0
    if weights.shape != points.shape[:1] or not good:
        raise ValueError(
            f"weights: expected {len(points)} finite numbers that are not negative and not all zero, "
            f"got shape {tuple(weights.shape)}"
        )
    return weights / weights.sum()


def _moved(metric: Metric, z: Tensor, direction: Tensor, step: float) -> tuple[Tensor, float]:
    """exp_z of a step that is halved until the geodesic does not end on the way, and that step."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        for _ in range(_HALVINGS):
            moved = exp_map(metric, z, step * direction)
            if torch.isfinite(moved).all():
                return moved, step
            step *= 0.5
    return z, step


def _central(metric: Metric, points: Tensor, weights: Tensor, options: dict[str, Any]) -> Tensor:
    few = points[torch.linspace(0, len(points) - 1, min(len(points), 32)).long()]
    squares = distance_matrix(metric, few, points, progress=False, **options) ** 2
    return few[(squares @ weights).argmin()]


def _initial_velocity(metric: Metric, found: Geodesic) -> Tensor:
    velocity = found.curve.velocity(0.0)
    with torch.no_grad():
        speed = metric.norm(found.curve(0.0), velocity)
    scale = torch.where(speed > 0, found.length / speed, 0.0)
    return scale[..., None] * velocity

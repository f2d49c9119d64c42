"""What moves along geodesics: the exponential map, and parallel transport.

The exponential map follows Hamilton's equations of H(z, p) = ½ pᵀ G(z)⁻¹ p, with ż = G⁻¹ p = v and
ṗ = ½ ∇_z ⟨v, v⟩_z at fixed v, which need one gradient and no Christoffel symbols; torchdiffeq solves
them. The equation of parallel transport is linear, and solved by products of rotations.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torchdiffeq import odeint

from pyrogeo._checks import positive, whole
from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.domain import check_inside
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["exp_map", "parallel_transport"]

_BLOW_UP = 1e8  # times the velocity at the start: on its way to infinity in finite time
_NUMBERS = 2**22  # in the matrices along curves that are held at a time: 32 MiB in double precision
_SHORTEST_STEP = 1e-9  # accepted as it is, such as one over the edge of the domain


@in_precision_of_the_metric
def exp_map(
    metric: Metric, z: Tensor, v: Tensor, *, rtol: float = 1e-7, atol: float = 1e-9
) -> Tensor:
    """exp_z(v): where the geodesic from z with initial velocity v is at time 1.

    Args:
        metric: any `Metric` that autograd can differentiate.
        z, v: points and tangent vectors that broadcast to `(*, d)`.
        rtol, atol: error of a step that is allowed, relative and absolute, for each curve.

    Returns:
        points of shape `(*, d)`, with NaN where the geodesic ends before time 1.

    Raises:
        ValueError: for shapes that do not fit, or points outside the metric's domain.
        NotPositiveDefiniteError: where G is not symmetric positive definite at a start.

    Warns:
        GeodesicWarning: with the number of geodesics that ended early, by leaving the domain or by
            reaching infinity, and the earliest time.

    >>> from pyrogeo.geometry import Euclidean
    >>> exp_map(Euclidean(), torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor([3., 4.])
    """
    z, v = _checked(metric, z, v)
    rtol, atol = positive("rtol", rtol), positive("atol", atol)
    batch, d = z.shape[:-1], z.shape[-1]
    z, v = z.reshape(-1, d), v.reshape(-1, d)
    limit = _BLOW_UP * v.norm(dim=-1, keepdim=True)

    def motion(_: Tensor, state: Tensor) -> Tensor:
        place, momentum = state[:, :d], state[:, d : 2 * d]
        inside = metric.contains(place)
        place = torch.where(inside[:, None], place, z)
        with torch.no_grad():
            velocity = metric.sharp(place, momentum)
        inside = inside & (velocity.norm(dim=-1, keepdim=True) <= limit)[:, 0]
        with torch.enable_grad():
            place = place.detach().requires_grad_()
            energy = 0.5 * metric.inner(place, velocity, velocity).sum()
            force = torch.zeros_like(place)
            if energy.requires_grad:
                (force,) = torch.autograd.grad(energy, place)
        change = torch.cat([velocity, force, torch.ones_like(limit)], -1)
        return torch.where(inside[:, None], change, 0.0)

    with torch.no_grad():
        start = torch.cat([z, metric.flat(z, v), torch.zeros_like(limit)], -1)
        end = _integrate(motion, start, rtol, atol)
    reached, time = end[:, :d], end[:, -1]
    rounding = torch.finfo(z.dtype).eps ** 0.5
    early = ~(time > 1 - rounding) | ~metric.contains(reached) | ~torch.isfinite(reached).all(-1)
    if early.any():
        warnings.warn(
            f"{int(early.sum())} of {len(z)} geodesics end before time 1, the first at "
            f"{time[early].min().item():.3g}: they leave the metric's domain, or reach infinity",
            GeodesicWarning,
            stacklevel=3,
        )
    return torch.where(early[:, None], torch.nan, reached).reshape(*batch, d)


@in_precision_of_the_metric
def parallel_transport(metric: Metric, curve: Curve, v: Tensor, *, num_steps: int = 64) -> Tensor:
    """Carries tangent vectors along curves from t = 0 to t = 1, V̇ = −Γ(γ̇, V).

    Levi-Civita's connection: inner products of transported vectors stay. Along a geodesic its velocity is
    carried to its velocity. In the frame L⁻ᵀ, with G = L Lᵀ, the equation is ẏ = B y with a skew-symmetric
    B, so that each step is a rotation: Magnus' method of fourth order, with two Gauss points.

    Args:
        metric: any `Metric` that autograd can differentiate, also forward.
        curve: of batch shape `(*,)`.
        v: tangent vectors at γ(0), that broadcast with the curves' to `(*, d)`.
        num_steps: at least; as many for each of the curve's segments. The error falls like its fourth
            power, and inner products are kept in any case.

    Returns:
        tangent vectors at γ(1), shape `(*, d)`.

    Raises:
        ValueError: for shapes that do not fit, or a curve that starts outside the metric's domain.
        NotPositiveDefiniteError: where G is not symmetric positive definite on the way.

    >>> from pyrogeo.geometry import Euclidean
    >>> line = Curve.line(torch.zeros(2), torch.ones(2))
    >>> parallel_transport(Euclidean(), line, torch.tensor([3.0, 4.0]))
    tensor([3., 4.])
    """
    if not isinstance(curve, Curve):
        raise ValueError(f"expected a Curve, got {type(curve)}")
    num_steps = whole("num_steps", num_steps, 0)
    if num_steps < 1:
        raise ValueError(f"num_steps: expected at least 1, got {num_steps}")
    start, end = curve.nodes[..., 0, :].detach(), curve.nodes[..., -1, :].detach()
    _, v = _checked(metric, start, v)
    n, d = curve.num_segments, start.shape[-1]
    steps = n * -(-num_steps // n)
    nodes = curve.nodes.detach().reshape(-1, n + 1, d)
    rows = max(1, _NUMBERS // (2 * steps * d * d))
    rotations = [_rotation(metric, Curve(few, curve.degree), steps) for few in nodes.split(rows)]
    rotation = torch.cat(rotations).reshape(*start.shape, d)
    with torch.no_grad():
        y = rotation @ (metric.cholesky(start).mT @ v[..., None])
        carried: Tensor = torch.linalg.solve_triangular(metric.cholesky(end).mT, y, upper=True)[
            ..., 0
        ]
        return carried


def _rotation(metric: Metric, curve: Curve, steps: int) -> Tensor:
    """What the frame L⁻ᵀ sees of the transport, `(B, d, d)` for B curves."""
    h, offset = 1 / steps, 3**0.5 / 6
    middle = (torch.arange(steps).to(curve.nodes) + 0.5) * h
    first, second = (
        _connection(metric, curve(t), curve.velocity(t))
        for t in (middle - offset * h, middle + offset * h)
    )
    bracket = second @ first - first @ second
    exponent = 0.5 * h * (first + second) + 3**0.5 / 12 * h**2 * bracket
    turns: Tensor = torch.linalg.matrix_exp(exponent)
    product = turns[:, 0]
    for i in range(1, steps):
        product = turns[:, i] @ product
    return product


def _connection(metric: Metric, z: Tensor, u: Tensor) -> Tensor:
    """The skew-symmetric B at points with velocities u, `(*, d)`, shape `(*, d, d)`.

    With P = L⁻¹ (∂_u G) L⁻ᵀ and Mᵢₖ = ∂ₖ (G u)ᵢ at fixed u, B = ½ (upper P − lower P − L⁻¹ (M − Mᵀ) L⁻ᵀ).
    """
    try:
        with torch.no_grad():
            along = torch.func.jvp(metric, (z,), (u,))[1]
    except (RuntimeError, NotImplementedError) as error:
        name = type(metric).__name__
        raise ValueError(
            f"the metric, {name}, cannot be differentiated in forward mode (torch.func.jvp): {error}"
        ) from error
    with torch.enable_grad():
        place = z.detach().requires_grad_()
        covector = metric.flat(place, u)
        rows = [torch.zeros_like(z)] * z.shape[-1]
        if covector.requires_grad:
            rows = [
                torch.autograd.grad(
                    covector[..., i].sum(),
                    place,
                    retain_graph=True,
                    allow_unused=True,
                    materialize_grads=True,
                )[0]
                for i in range(z.shape[-1])
            ]
    turn = torch.stack(rows, -2)
    with torch.no_grad():
        factor = metric.cholesky(z)
        along, turn = (_congruent(factor, x) for x in (along, turn - turn.mT))
    return 0.5 * (along.triu(1) - along.tril(-1) - turn)


def _congruent(factor: Tensor, x: Tensor) -> Tensor:
    """L⁻¹ x L⁻ᵀ."""
    half = torch.linalg.solve_triangular(factor, x, upper=False)
    both: Tensor = torch.linalg.solve_triangular(factor, half.mT, upper=False).mT
    return both


def _integrate(
    motion: Callable[[Tensor, Tensor], Tensor], start: Tensor, rtol: float, atol: float
) -> Tensor:
    """The state at time 1; the step is as long as the worst of the batch allows."""
    times = torch.tensor([0.0, 1.0], dtype=start.dtype, device=start.device)
    floor = 50 * torch.finfo(start.dtype).eps  # below which the error is rounding

    def worst(error: Tensor) -> Tensor:
        return error.reshape(*start.shape).pow(2).mean(-1).sqrt().max()

    # A step ends at time 1, where else a polynomial of low order would interpolate.
    options = {"norm": worst, "min_step": _SHORTEST_STEP, "step_t": times[1:]}
    rtol, atol = max(rtol, floor), max(atol, floor)
    with torch.no_grad():
        end: Tensor = odeint(motion, start, times, rtol=rtol, atol=atol, options=options)[-1]
        return end


def _checked(metric: Metric, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    if not isinstance(metric, Metric):
        raise ValueError(f"expected a Metric, got {type(metric)}")
    dtypes = [x.dtype if torch.is_tensor(x) else type(x) for x in (z, v)]
    if dtypes[0] != dtypes[1] or not torch.is_tensor(z) or not z.is_floating_point():
        raise ValueError(
            "expected points and vectors in one dtype of floating-point numbers, got "
            f"{dtypes[0]} and {dtypes[1]}"
        )
    try:
        z, v = torch.broadcast_tensors(z.detach(), v.detach())
    except RuntimeError as error:
        raise ValueError(
            f"points and vectors do not broadcast: {tuple(z.shape)} and {tuple(v.shape)}"
        ) from error
    if not torch.isfinite(v).all():
        raise ValueError("expected finite vectors, got NaN or infinite values")
    check_inside(metric, z)
    return z, v

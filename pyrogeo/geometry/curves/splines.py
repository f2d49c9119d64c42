"""A quasi-Newton method for the energy of cubic splines with few nodes, many curves at once.

The energy E = ∫ ‖γ'‖² dt is taken at four points of each segment, so that a curve sees what lies between
its nodes and cannot step over it. L-BFGS starts from P⁻¹, P the part of the Hessian that stays when G is held
constant at diag(w): with the velocities γ' = V z of the nodes z, P = 2 ∫ Vᵀ diag(w) V dt. Only first
derivatives of the metric are needed.

Source: Nocedal, Wright, *Numerical optimization*, 2006, algorithm 7.4.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.domain import check_metric
from pyrogeo.geometry.curves.lengths import resolved_length
from pyrogeo.geometry.curves.solver import Minimum, Solution, Solver, escaped
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.constant import Euclidean

__all__ = ["Spline"]

_SLACK = 1e-3  # of a length above the initial one, to give up
_POINTS = 4  # of the quadrature, in each segment
_MEMORY = 6
_REFRESH = 3  # steps after which P is made anew
_RIDGE = 1e-3  # of P's mean diagonal, added to it
_BACKTRACKS = 3
_PATIENCE = 2  # steps without success, the second along −P⁻¹ g


@dataclass(frozen=True)
class Spline(Solver):
    """A quasi-Newton method on cubic splines with few nodes, which have the speed that the energy gives them.

    Many times faster than `Newton`, and as exact as splines of so many nodes are: for many pairs at an
    accuracy of per cents, or where Newton's method gets stuck. First derivatives of the metric are enough.
    The residual is √(gᵀP⁻¹g / energy).

    Args:
        num_segments: n, a multiple of 4.
        tolerance: for the residual; not below four times the root of the dtype's epsilon.
        max_iterations: after which a curve counts as not converged.

    Raises:
        ValueError: for options out of range.

    >>> from pyrogeo.geometry import Euclidean, distance
    >>> distance(Euclidean(), torch.zeros(2), torch.tensor([3.0, 4.0]), solver=Spline())
    tensor(5.)
    """

    num_segments: int = 12
    tolerance: float = 1e-2
    max_iterations: int = 100

    @torch.no_grad()
    def solve(self, metric: Metric, curves: Curve) -> Solution:
        n, tolerance = self.num_segments, self.tolerance_in(curves.nodes.dtype)
        first = curves.reparametrized(Euclidean(), n).nodes
        check_metric(metric, first)
        limit = resolved_length(metric, curves, -(-2 * n // curves.num_segments))
        minimum = _minimize(metric, first, tolerance, self.max_iterations)
        length = resolved_length(metric, Curve(minimum.nodes))
        longer = ~(length <= limit * (1 + _SLACK))
        nodes = torch.where(longer[:, None, None], first, minimum.nodes)
        residual = torch.where(longer, torch.inf, minimum.residual)
        residual[limit == 0] = 0.0  # ends in one point
        length = torch.where(longer, limit, length)
        rough = Curve(nodes).length(metric)
        discretization = torch.where(length > 0, (rough / length - 1).abs(), 0.0)
        return Solution(nodes, length, residual, discretization, minimum.iterations)


class _Basis(NamedTuple):
    """From nodes to positions and velocities at the points of the quadrature, `(q, n + 1)` each."""

    position: Tensor
    velocity: Tensor


_Pair = tuple[Tensor, Tensor, Tensor]  # of L-BFGS: as `_pair` says


class _State(NamedTuple):
    """Of the curves that still move: nodes, energy, its gradient in the inner nodes, and w."""

    nodes: Tensor
    energy: Tensor
    gradient: Tensor
    weight: Tensor


def _minimize(metric: Metric, nodes: Tensor, tolerance: float, max_iterations: int) -> Minimum:
    """Moves the inner nodes `(B, n + 1, d)` until √(gᵀP⁻¹g / E) is at most the tolerance."""
    nodes, basis = nodes.clone(), _basis(nodes)
    residual = nodes.new_full((len(nodes),), torch.inf)
    iterations = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
    active = torch.arange(len(nodes), device=nodes.device)
    state = _evaluate(metric, nodes, basis)
    memory: list[_Pair] = []
    stuck = torch.zeros_like(iterations)  # steps in a row that led no lower
    for step in range(max_iterations):
        if step % _REFRESH == 0:
            factor = _factor(state.weight, basis)
        flat = (state.gradient * _apply(factor, state.gradient)).sum((-2, -1))
        residual[active] = torch.where(state.energy > 0, flat / state.energy, 0).sqrt()
        moving = (residual[active] > tolerance) & (stuck < _PATIENCE)
        if not moving.all():
            active, factor, stuck = active[moving], factor[moving], stuck[moving]
            state = _State(*(x[moving] for x in state))
            memory = [(m[moving], c[moving], rho[moving]) for m, c, rho in memory]
        if len(active) == 0:
            break
        after = _step(metric, basis, state, _direction(state.gradient, memory, factor))
        moved = (after.nodes - state.nodes)[:, 1:-1]
        memory = [*memory, _pair(moved, after.gradient - state.gradient)][-_MEMORY:]
        lower = after.energy < state.energy
        stuck = torch.where(lower, 0, stuck + 1)
        memory = [(m, c, torch.where(lower, rho, 0.0)) for m, c, rho in memory]  # start afresh
        state = after
        nodes[active] = state.nodes
        iterations[active] += 1
    return Minimum(nodes, residual, iterations)


def _basis(nodes: Tensor) -> _Basis:
    n = nodes.shape[1] - 1
    q = _POINTS * n
    units = Curve(torch.eye(n + 1, dtype=nodes.dtype, device=nodes.device))
    t = (torch.arange(q, dtype=nodes.dtype, device=nodes.device) + 0.5) / q
    return _Basis(units(t), units.velocity(t))


def _evaluate(metric: Metric, nodes: Tensor, basis: _Basis) -> _State:
    """The state at nodes; of infinite energy outside the domain, and on the way to infinity."""
    z, v = basis.position @ nodes, basis.velocity @ nodes
    out = escaped(nodes) | ~metric.contains(z).all(-1)
    z = torch.where(out[:, None, None], nodes[:, :1], z)
    q, in_z, in_v, weight = metric.square_gradients(z, v)
    slope = basis.position.mT @ in_z + basis.velocity.mT @ in_v
    out |= ~torch.isfinite(slope).all(-1).all(-1)
    energy = torch.where(out, torch.inf, q.mean(-1))
    return _State(nodes, energy, slope[:, 1:-1] / len(basis.position), weight)


def _factor(weight: Tensor, basis: _Basis) -> Tensor:
    """Cholesky factors of P, `(B, 1 or d, n − 1, n − 1)`."""
    v = basis.velocity[:, 1:-1]
    p = torch.einsum("qi,bqk,qj->bkij", v, 2 * weight / len(v), v)
    mean = p.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=torch.finfo(p.dtype).tiny ** 0.5)
    factor: Tensor = torch.linalg.cholesky(
        p + _RIDGE * mean[..., None, None] * torch.eye(v.shape[1]).to(p)
    )
    return factor


def _apply(factor: Tensor, x: Tensor) -> Tensor:
    """P⁻¹ x for x of shape `(B, n − 1, d)`."""
    if factor.shape[1] == 1:
        return torch.cholesky_solve(x, factor[:, 0])
    return torch.cholesky_solve(x.mT[..., None], factor)[..., 0].mT


def _pair(moved: Tensor, change: Tensor) -> _Pair:
    """Steps, changes of the gradient and 1 / their products, which is 0 where those are not positive."""
    product = (moved * change).sum((-2, -1))
    usable = product > torch.finfo(moved.dtype).tiny ** 0.5
    return moved, change, torch.where(usable, 1 / product, 0.0)


def _direction(gradient: Tensor, memory: list[_Pair], factor: Tensor) -> Tensor:
    """−H g by the two loops of L-BFGS; −P⁻¹ g where that does not descend."""
    q, weights = gradient, []
    for moved, change, rho in reversed(memory):
        weights.append(rho * (moved * q).sum((-2, -1)))
        q = q - weights[-1][:, None, None] * change
    p = _apply(factor, q)
    for (moved, change, rho), weight in zip(memory, reversed(weights), strict=True):
        p = p + (weight - rho * (change * p).sum((-2, -1)))[:, None, None] * moved
    descends = (p * gradient).sum((-2, -1)) > 0
    return -torch.where(descends[:, None, None], p, _apply(factor, gradient))


def _step(metric: Metric, basis: _Basis, state: _State, direction: Tensor) -> _State:
    """As far along the direction as the energy falls, each curve for itself; or not at all."""
    slope = (direction * state.gradient).sum((-2, -1))
    size = torch.ones_like(slope)
    best = [x.clone() for x in state]
    rest = torch.arange(len(slope), device=slope.device)
    for _ in range(1 + _BACKTRACKS):
        nodes = state.nodes[rest].clone()
        nodes[:, 1:-1] += size[rest, None, None] * direction[rest]
        tried = _evaluate(metric, nodes, basis)
        lower = tried.energy <= state.energy[rest] + 1e-4 * size[rest] * slope[rest]
        for old, new in zip(best, tried, strict=True):
            old[rest[lower]] = new[lower]
        rest = rest[~lower]
        if len(rest) == 0:
            break
        size[rest] *= 0.25
    return _State(*best)

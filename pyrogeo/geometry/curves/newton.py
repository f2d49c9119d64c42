"""Newton's method for the discrete energy of many curves at once.

A curve is nodes z₀, …, z_n, and its energy E = Σᵢ ‖Δᵢ‖²_{G(mᵢ)} / hᵢ with Δᵢ = zᵢ − zᵢ₋₁, the midpoint mᵢ,
and the share hᵢ of time that the segment gets. Its Hessian is block tridiagonal. Each curve is damped by
itself: H + μP, where P is the part of H that stays when G is held constant; P is positive definite, and
μ → ∞ a gradient step in its norm, whose size does not depend on the number of nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry.metrics.base import Metric

__all__ = ["Solution", "escaped", "minimize", "segment_energies"]

_SMALLEST_DAMPING = 1e-3
_ESCAPED = 30  # times as far out as the ends


class Solution(NamedTuple):
    """Of a batch of B curves.

    Attributes:
        nodes: shape `(B, n + 1, d)`.
        residual: √(gᵀ (H + μP)⁻¹ g (1 + μ) / E) of the last step, shape `(B,)`: no energy below
            E (1 − residual²/2) is in sight.
        iterations: steps tried, shape `(B,)`.
    """

    nodes: Tensor
    residual: Tensor
    iterations: Tensor


def minimize(
    metric: Metric, nodes: Tensor, shares: Tensor, tolerance: float, max_iterations: int
) -> Solution:
    """Moves the inner nodes until the residual is at most the tolerance, with fixed shares `(B, n)`."""
    nodes = nodes.clone()
    batch = len(nodes)
    energy = segment_energies(metric, nodes, shares).sum(-1)
    damping = torch.full_like(energy, 0.1)
    residual = torch.where(energy > 0, torch.inf, 0.0).to(energy)
    iterations = torch.zeros(batch, dtype=torch.long, device=nodes.device)
    for _ in range(max_iterations):
        active = ((residual > tolerance) & ~escaped(nodes)).nonzero()[:, 0]
        if len(active) == 0 or nodes.shape[1] < 3:
            break
        z, h, mu, before = nodes[active], shares[active], damping[active], energy[active]
        step, decrement, definite = _newton_step(metric, z, h, mu)
        trial = z.clone()
        trial[:, 1:-1] += step
        after = segment_energies(metric, trial, h).sum(-1)
        inside = metric.contains(trial).all(-1)
        gain = (before - after) / decrement.clamp(min=torch.finfo(before.dtype).tiny)
        better = definite & inside & (after <= before) & (gain > 1e-4)
        good = better & (gain > 0.25)
        nodes[active] = torch.where(better[:, None, None], trial, z)
        energy[active] = torch.where(better, after, before)
        found = (decrement.clamp(min=0) * (1 + mu) / before).sqrt()
        # At the rounding error of the energy no step can be seen to help.
        done = definite & (found <= tolerance)
        residual[active] = torch.where(better | done, found, residual[active])
        less = torch.where(mu > _SMALLEST_DAMPING, mu / 10, 0.0)
        more = (4 * mu).clamp(min=0.1)
        damping[active] = torch.where(good, less, torch.where(better, mu, more))
        iterations[active] += 1
    return Solution(nodes, residual, iterations)


def escaped(nodes: Tensor) -> Tensor:
    """Curves on their way to infinity, whose long segments step over all that lies on them."""
    ends = nodes[:, [0, -1]]
    size = ends.norm(dim=-1).amax(-1) + ends.diff(dim=1).norm(dim=-1)[:, 0]
    return nodes.norm(dim=-1).amax(-1) > _ESCAPED * size


def segment_energies(metric: Metric, nodes: Tensor, shares: Tensor) -> Tensor:
    """‖Δᵢ‖² / hᵢ, shape `(B, n)`; not finite outside the domain."""
    with torch.no_grad():
        middle, delta = 0.5 * (nodes[:, 1:] + nodes[:, :-1]), nodes.diff(dim=1)
        return metric.inner(middle, delta, delta) / shares


def _newton_step(metric: Metric, z: Tensor, shares: Tensor, damping: Tensor):
    """The step of the inner nodes, the decrement −gᵀstep, and whether H + μP was positive definite."""
    g_m, g_d, hmm, hmd, g2 = _derivatives(metric, z, shares)
    mixed = 0.5 * (hmd + hmd.mT)
    stiff = (1 + damping)[:, None, None, None] * g2
    diagonal = (0.25 * hmm + mixed + stiff)[:, :-1] + (0.25 * hmm - mixed + stiff)[:, 1:]
    off = (0.25 * hmm + 0.5 * (hmd - hmd.mT) - stiff)[:, 1:-1]
    slope = (0.5 * g_m + g_d)[:, :-1] + (0.5 * g_m - g_d)[:, 1:]
    step, definite = _solve_tridiagonal(diagonal, off, -slope)
    return step, -(slope * step).sum((-2, -1)), definite & torch.isfinite(step).all(-1).all(-1)


def _derivatives(metric: Metric, z: Tensor, shares: Tensor) -> tuple[Tensor, ...]:
    """Of each segment's energy in its midpoint m and difference Δ: gradients `(B, n, d)`, and the
    Hessian's blocks in m and m, m and Δ, Δ and Δ, of shape `(B, n, d, d)`."""
    middle, delta = 0.5 * (z[:, 1:] + z[:, :-1]), z.diff(dim=1)
    found = metric.square_derivatives(middle, delta)
    return tuple(x / shares.reshape(*shares.shape, *[1] * (x.dim() - 2)) for x in found)


def _solve_tridiagonal(diagonal: Tensor, off: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solves symmetric block tridiagonal systems by odd–even reduction: every second unknown is
    eliminated at once, by Cholesky's factorisation, so that n blocks take log₂ n rounds.

    Args:
        diagonal: blocks `(B, n, d, d)`.
        off: blocks right of the diagonal, `(B, n − 1, d, d)`.
        right: shape `(B, n, d)`.

    Returns:
        the solution `(B, n, d)`, and which of the B matrices are positive definite.
    """
    b, n, d = right.shape
    missing = 2 ** n.bit_length() - 1 - n  # identities make it a number that can be halved to one
    if missing:
        identity = torch.eye(d, dtype=right.dtype, device=right.device).expand(b, missing, d, d)
        diagonal = torch.cat([diagonal, identity], 1)
        off = torch.cat([off, off.new_zeros(b, missing, d, d)], 1)
        right = torch.cat([right, right.new_zeros(b, missing, d)], 1)
    found, definite = _reduce(diagonal, off, right[..., None])
    return found[:, :n, :, 0], definite


def _reduce(diagonal: Tensor, off: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """The same for n = 2ᵏ − 1, `right` of shape `(B, n, d, 1)`."""
    d = diagonal.shape[-1]
    factor, info = torch.linalg.cholesky_ex(diagonal[:, ::2])
    definite = (info == 0).all(1)
    if diagonal.shape[1] == 1:
        return torch.cholesky_solve(right, factor), definite
    none = torch.zeros_like(diagonal[:, :1])
    # Each even unknown, with its neighbours on the left and on the right, and its right-hand side.
    before, after = torch.cat([none, off[:, 1::2].mT], 1), torch.cat([off[:, ::2], none], 1)
    x = torch.linalg.solve_triangular(
        factor, torch.cat([before, after, right[:, ::2]], -1), upper=False
    )
    product = x.mT @ x
    left, middle = product[:, 1:, :d], product[:, :-1, d : 2 * d]
    odd, rest = _reduce(
        diagonal[:, 1::2] - left[..., :d] - middle[..., d : 2 * d],
        -left[:, :-1, :, d : 2 * d],
        right[:, 1::2] - left[..., 2 * d :] - middle[..., 2 * d :],
    )
    nothing = torch.zeros_like(odd[:, :1])
    sides = torch.cat([torch.cat([nothing, odd], 1), torch.cat([odd, nothing], 1)], -2)
    even = torch.linalg.solve_triangular(
        factor.mT, x[..., 2 * d :] - x[..., : 2 * d] @ sides, upper=True
    )
    both = torch.empty_like(right)
    both[:, ::2], both[:, 1::2] = even, odd
    return both, definite & rest

"""Newton's method for the discrete energy of many curves at once.

A curve is nodes z₀, …, z_n, and its energy E = Σᵢ ‖Δᵢ‖²_{G(mᵢ)} / hᵢ with Δᵢ = zᵢ − zᵢ₋₁, the midpoint mᵢ,
and the share hᵢ of time that the segment gets. Its Hessian is block tridiagonal. Each curve is damped by
itself: H + μP, where P is the part of H that stays when G is held constant; P is positive definite, and
μ → ∞ a gradient step in its norm, whose size does not depend on the number of nodes.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry.metric import Metric

__all__ = ["Solution", "minimize", "segment_energies"]

_SMALLEST_DAMPING = 1e-3


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
        active = (residual > tolerance).nonzero()[:, 0]
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


def segment_energies(metric: Metric, nodes: Tensor, shares: Tensor) -> Tensor:
    """‖Δᵢ‖² / hᵢ, shape `(B, n)`; not finite outside the domain."""
    with torch.no_grad():
        middle, delta = 0.5 * (nodes[:, 1:] + nodes[:, :-1]), nodes.diff(dim=1)
        return metric.inner(middle, delta, delta) / shares


def _newton_step(metric: Metric, z: Tensor, shares: Tensor, damping: Tensor):
    """The step of the inner nodes, the decrement −gᵀstep, and whether H + μP was positive definite."""
    gradient, hmm, hmd, g2 = _derivatives(metric, z, shares)
    g_m, g_d = gradient
    mixed = 0.5 * (hmd + hmd.mT)
    stiff = (1 + damping)[:, None, None, None] * g2
    diagonal = (0.25 * hmm + mixed + stiff)[:, :-1] + (0.25 * hmm - mixed + stiff)[:, 1:]
    off = (0.25 * hmm + 0.5 * (hmd - hmd.mT) - stiff)[:, 1:-1]
    slope = (0.5 * g_m + g_d)[:, :-1] + (0.5 * g_m - g_d)[:, 1:]
    step, definite = _solve_tridiagonal(diagonal, off, -slope)
    return step, -(slope * step).sum((-2, -1)), definite & torch.isfinite(step).all(-1).all(-1)


def _derivatives(metric: Metric, z: Tensor, shares: Tensor):
    """Of each segment's energy in its midpoint m and difference Δ: gradients `(B, n, d)`, and the
    Hessian's blocks in m and m, m and Δ, Δ and Δ, of shape `(B, n, d, d)`."""
    with torch.enable_grad():
        m = (0.5 * (z[:, 1:] + z[:, :-1])).detach().requires_grad_()
        delta = z.diff(dim=1).detach().requires_grad_()
        energy = (metric.inner(m, delta, delta) / shares).sum()
        g_m, g_d = _grad(energy, (m, delta), create_graph=True)
        rows = [_grad(g_m[..., k].sum(), (m, delta), retain_graph=True) for k in range(z.shape[-1])]
    hmm, hmd = (torch.stack(r, -2) for r in zip(*rows, strict=True))
    with torch.no_grad():
        stiff = 2 * metric(m) / shares[..., None, None]
    return (g_m.detach(), g_d.detach()), 0.5 * (hmm + hmm.mT), hmd, stiff


def _grad(value: Tensor, inputs: tuple[Tensor, ...], **options) -> tuple[Tensor, ...]:
    """Zeros where nothing depends on the input, as in a constant metric."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(x) for x in inputs)
    found = torch.autograd.grad(value, inputs, allow_unused=True, **options)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
    )


def _solve_tridiagonal(diagonal: Tensor, off: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
    """Solves block tridiagonal systems by Cholesky's factorisation.

    Args:
        diagonal: blocks `(B, n, d, d)`.
        off: blocks right of the diagonal, `(B, n − 1, d, d)`.
        right: shape `(B, n, d)`.

    Returns:
        the solution `(B, n, d)`, and which of the B matrices are positive definite.
    """
    n, d = right.shape[1:]
    definite = torch.ones(len(right), dtype=torch.bool, device=right.device)
    factors, parts = [], []
    block, column = diagonal[:, 0], right[:, 0, :, None]
    for i in range(n):
        factor, info = torch.linalg.cholesky_ex(block)
        definite &= info == 0
        both = column if i == n - 1 else torch.cat([off[:, i], column], -1)
        part = torch.linalg.solve_triangular(factor, both, upper=False)
        factors.append(factor), parts.append(part)
        if i < n - 1:
            product = part[..., :d].mT @ part
            block = diagonal[:, i + 1] - product[..., :d]
            column = right[:, i + 1, :, None] - product[..., d:]
    found = []
    for i in range(n - 1, -1, -1):
        rest = parts[i][..., -1:]
        if found:
            rest = rest - parts[i][..., :d] @ found[-1]
        found.append(torch.linalg.solve_triangular(factors[i].mT, rest, upper=True))
    return torch.stack(found[::-1], 1)[..., 0], definite

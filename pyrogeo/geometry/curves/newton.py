"""Newton's method for the discrete energy of many curves at once.

A curve is nodes z₀, …, z_n, and its energy E = Σᵢ ‖Δᵢ‖²_{G(mᵢ)} / hᵢ with Δᵢ = zᵢ − zᵢ₋₁, the midpoint mᵢ,
and the share hᵢ of time that the segment gets. Its Hessian is block tridiagonal. Each curve is damped by
itself: H + μP, where P is the part of H that stays when G is held constant; P is positive definite, and
μ → ∞ a gradient step in its norm, whose size does not depend on the number of nodes.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.domain import check_metric
from pyrogeo.geometry.curves.lengths import resolved_length
from pyrogeo.geometry.curves.solver import Minimum, Solution, Solver, escaped
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.constant import Euclidean

__all__ = ["Newton"]

_SMALLEST_DAMPING = 1e-3
_COARSE_TOLERANCE = 1e-3
_COARSE_ITERATIONS = 30
_SLACK = 1e-6, 1e-3  # of a length above the initial one: to try again, and to give up
_FINE = 8  # parts of a segment, to measure a curve that did not converge
_MESHES = 3  # at the finest level, where nodes are spaced by something else than the metric
_SMALLEST_SHARE = 1e-9


@dataclass(frozen=True)
class Newton(Solver):
    """Newton's method on nodes, first with a quarter of the segments, then with half, then with all.

    The error of the nodes is of second order in 1/n, that of the length, which is stationary there, of
    fourth, once the metric's features are resolved. Second derivatives of the metric are needed. The
    residual is √(decrement / energy).

    Args:
        num_segments: n, a multiple of 4.
        tolerance: for the residual; not below four times the root of the dtype's epsilon.
        max_iterations: at each level.
        spacing: `"metric"` puts nodes at equal arc lengths of the metric, so that t ↦ γ(t) has constant
            speed. `"euclidean"` puts them at equal distances in latent space: the same curve, better
            resolved where the metric varies by orders of magnitude, as `volume_seeking` does.

    Raises:
        ValueError: for options out of range.

    >>> Newton(num_segments=16)
    Newton(num_segments=16, tolerance=1e-06, max_iterations=100, spacing='metric')
    """

    num_segments: int = 64
    tolerance: float = 1e-6
    max_iterations: int = 100
    spacing: str = "metric"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spacing not in ("metric", "euclidean"):
            raise ValueError(f"spacing: expected 'metric' or 'euclidean', got {self.spacing!r}")

    def solve(self, metric: Metric, curves: Curve) -> Solution:
        n, tolerance = self.num_segments, self.tolerance_in(curves.nodes.dtype)
        measure = metric if self.spacing == "metric" else Euclidean()
        with torch.no_grad():
            check_metric(metric, curves(torch.linspace(0, 1, n // 4 + 1)))
            nodes = curves.reparametrized(measure, n // 4).nodes
            limit = resolved_length(metric, curves, -(-n // curves.num_segments))
        coarse = max(tolerance, _COARSE_TOLERANCE), min(self.max_iterations, _COARSE_ITERATIONS)
        before = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
        for segments in (n // 4, n // 2):
            shares = _shares(metric, nodes, self.spacing)
            minimum = _minimize(metric, nodes, shares, *coarse)
            nodes = _refined(metric, minimum.nodes, 2 * segments, self.spacing)
            before = before + minimum.iterations
        solved = _finest(metric, nodes, self.spacing, tolerance, self.max_iterations)
        # Few nodes may step over what the metric has between them, and end in a longer curve. With equal
        # Euclidean steps they hardly can.
        worse = ~(solved.length <= limit * (1 + _SLACK[0])) | escaped(solved.nodes)
        if worse.any():
            initial = Curve(curves.nodes[worse], curves.degree)
            solved = solved.with_rows(worse, self._again(metric, initial, limit[worse], tolerance))
        discretization = torch.where(limit == 0, 0.0, solved.discretization)  # ends in one point
        return solved._replace(discretization=discretization, iterations=before + solved.iterations)

    def _again(self, metric: Metric, curves: Curve, limit: Tensor, tolerance: float) -> Solution:
        """With equal Euclidean steps; what stays longer than it was is given back as it came."""
        measure = metric if self.spacing == "metric" else Euclidean()
        with torch.no_grad():
            first, start = (
                curves.reparametrized(g, self.num_segments).nodes for g in (measure, Euclidean())
            )
        solved = _finest(metric, start, "euclidean", tolerance, self.max_iterations)
        if self.spacing == "metric":
            solved = solved._replace(nodes=Curve(solved.nodes).reparametrized(metric).nodes)
        longer = ~(solved.length <= limit * (1 + _SLACK[1])) | escaped(solved.nodes)
        return solved._replace(
            nodes=torch.where(longer[:, None, None], first, solved.nodes),
            length=torch.where(longer, limit, solved.length),
            residual=torch.where(longer, torch.inf, solved.residual),
        )


def _finest(
    metric: Metric, nodes: Tensor, spacing: str, tolerance: float, max_iterations: int
) -> Solution:
    """From initial nodes, without changing their number."""
    iterations = torch.zeros(len(nodes), dtype=torch.long, device=nodes.device)
    for _ in range(1 if spacing == "metric" else _MESHES):
        if spacing == "euclidean":  # nodes have moved along their curves
            nodes = _refined(metric, nodes, nodes.shape[1] - 1, spacing)
        shares = _shares(metric, nodes, spacing)
        minimum = _minimize(metric, nodes, shares, tolerance, max_iterations)
        nodes, iterations = minimum.nodes, iterations + minimum.iterations
    with torch.no_grad():
        length = resolved_length(metric, Curve(nodes))
        failed = ~(minimum.residual <= tolerance)
        if failed.any():  # its segments may be so long that three points miss what lies on them
            length[failed] = resolved_length(metric, Curve(nodes[failed]), _FINE)
        rounded = _segment_energies(metric, nodes, torch.ones_like(shares)).sqrt().sum(-1)
    discretization = (rounded / length - 1).abs()
    return Solution(nodes, length, minimum.residual, discretization, iterations)


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
    lengths = _segment_energies(metric, nodes, torch.ones_like(equal)).sqrt()
    total = lengths.sum(-1, keepdim=True)
    shares = torch.where(total > 0, lengths / total, equal)
    shares = shares.clamp(min=_SMALLEST_SHARE)
    return shares / shares.sum(-1, keepdim=True)


def _minimize(
    metric: Metric, nodes: Tensor, shares: Tensor, tolerance: float, max_iterations: int
) -> Minimum:
    """Moves the inner nodes until the residual is at most the tolerance, with fixed shares `(B, n)`."""
    nodes = nodes.clone()
    batch = len(nodes)
    energy = _segment_energies(metric, nodes, shares).sum(-1)
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
        after = _segment_energies(metric, trial, h).sum(-1)
        inside = metric.contains(trial).all(-1)
        gain = (before - after) / decrement.clamp(min=torch.finfo(before.dtype).tiny)
        better = definite & inside & (after <= before) & (gain > 1e-4)
        good = better & (gain > 0.25)
        nodes[active] = torch.where(better[:, None, None], trial, z)
        energy[active] = torch.where(better, after, before)
        reached = (decrement.clamp(min=0) * (1 + mu) / before).sqrt()
        # At the rounding error of the energy no step can be seen to help.
        done = definite & (reached <= tolerance)
        residual[active] = torch.where(better | done, reached, residual[active])
        less = torch.where(mu > _SMALLEST_DAMPING, mu / 10, 0.0)
        more = (4 * mu).clamp(min=0.1)
        damping[active] = torch.where(good, less, torch.where(better, mu, more))
        iterations[active] += 1
    return Minimum(nodes, residual, iterations)


def _segment_energies(metric: Metric, nodes: Tensor, shares: Tensor) -> Tensor:
    """‖Δᵢ‖² / hᵢ, shape `(B, n)`; not finite outside the domain."""
    with torch.no_grad():
        middle, delta = 0.5 * (nodes[:, 1:] + nodes[:, :-1]), nodes.diff(dim=1)
        return metric.inner(middle, delta, delta) / shares


def _newton_step(
    metric: Metric, z: Tensor, shares: Tensor, damping: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
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
    derivatives = metric.square_derivatives(middle, delta)
    return tuple(x / shares.reshape(*shares.shape, *[1] * (x.dim() - 2)) for x in derivatives)


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
    solution, definite = _reduce(diagonal, off, right[..., None])
    return solution[:, :n, :, 0], definite


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

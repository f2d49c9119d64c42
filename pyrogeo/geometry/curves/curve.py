"""Curves in the latent space, many at once: their lengths and energies under a metric."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor

from pyrogeo._checks import as_tensor, whole
from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["GAUSS_NODES", "GAUSS_WEIGHTS", "Curve", "hermite", "hermite_slope"]

# Gauss and Legendre's three points on [0, 1]: exact for polynomials up to degree five.
GAUSS_NODES = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)
GAUSS_WEIGHTS = (5 / 18, 8 / 18, 5 / 18)


class Curve:
    """γ: [0, 1] → ℝᵈ through nodes at equal steps of t; a batch of curves is one object.

    Args:
        nodes: shape `(*, n + 1, d)`, n ≥ 1.
        degree: 3 for a cubic spline (twice differentiable, not-a-knot ends), 1 for a polyline.

    Raises:
        ValueError: for nodes of another shape, fewer than two, or not finite, and another degree.

    >>> from pyrogeo.geometry import Euclidean
    >>> arc = torch.linspace(0, torch.pi, 20)
    >>> half_circle = Curve(torch.stack([arc.cos(), arc.sin()], -1))
    >>> half_circle.length(Euclidean())
    tensor(3.1416)
    """

    def __init__(self, nodes: Tensor, degree: int = 3):
        nodes = as_tensor("nodes", nodes)
        if not nodes.is_floating_point() or nodes.dim() < 2:
            raise ValueError(
                f"nodes: expected a floating-point tensor (*, n + 1, d), got {tuple(nodes.shape)}"
            )
        if nodes.shape[-2] < 2 or nodes.shape[-1] < 1:
            raise ValueError(f"nodes: expected at least two points, got {tuple(nodes.shape)}")
        if not torch.isfinite(nodes).all():
            raise ValueError("nodes: expected finite numbers, got NaN or infinite values")
        if degree not in (1, 3):
            raise ValueError(f"degree: expected 1 or 3, got {degree!r}")
        self.nodes, self.degree = nodes, degree

    @classmethod
    def line(cls, start: Tensor, end: Tensor, num_segments: int = 1) -> "Curve":
        """The straight line, of points that broadcast to `(*, d)`.

        Raises:
            ValueError: for fewer than one segment, and no whole number.
        """
        num_segments = whole("num_segments", num_segments, 0)
        start, end = as_tensor("start", start), as_tensor("end", end)
        t = torch.linspace(0, 1, num_segments + 1, dtype=start.dtype, device=start.device)[:, None]
        return cls((1 - t) * start[..., None, :] + t * end[..., None, :], degree=1)

    def __repr__(self) -> str:
        return f"Curve(nodes of shape {tuple(self.nodes.shape)}, degree={self.degree})"

    def to(self, dtype: torch.dtype) -> "Curve":
        """The same curve in another precision."""
        return Curve(self.nodes.to(dtype), self.degree)

    @property
    def num_segments(self) -> int:
        """The number of segments, n."""
        return self.nodes.shape[-2] - 1

    def __call__(self, t: Tensor | float) -> Tensor:
        """γ(t) for times of shape `(T,)` or `()`, shape `(*, T, d)` or `(*, d)`."""
        return self._combine(t, hermite)

    def velocity(self, t: Tensor | float) -> Tensor:
        """γ'(t), as `__call__`; of a polyline, that of the segment to the right."""
        return self._combine(t, hermite_slope) * self.num_segments

    def speed(self, metric: Metric, t: Tensor | float) -> Tensor:
        """‖γ'(t)‖ under a metric, shape `(*, T)` or `(*,)`."""
        return metric.norm(self(t), self.velocity(t))

    def length(self, metric: Metric, splits: int = 1) -> Tensor:
        """L(γ) = ∫ ‖γ'(t)‖ dt, shape `(*,)` (slides, Eq. 1).

        Args:
            metric: which measures γ'.
            splits: parts of each segment, in each of which three Gauss points are taken.
        """
        return self._segment_integrals(metric.norm, splits).sum(-1)

    def energy(self, metric: Metric) -> Tensor:
        """E(γ) = ∫ ‖γ'(t)‖² dt ≥ L(γ)², shape `(*,)`, with equality at constant speed."""
        return self._integral(lambda z, v: metric.inner(z, v, v))

    def mean(self, function: Callable[[Tensor], Tensor]) -> Tensor:
        """∫ f(γ) ‖γ'‖ dt / ∫ ‖γ'‖ dt with Euclidean lengths, for f from `(*, d)` to `(*,)`."""
        total = self._integral(lambda z, v: function(z) * v.norm(dim=-1))
        return total / self._integral(lambda z, v: v.norm(dim=-1))

    def reparametrized(self, metric: Metric, num_segments: int | None = None) -> "Curve":
        """The same path at constant speed under a metric, through nodes at equal arc lengths.

        Args:
            metric: which measures arc lengths.
            num_segments: one less than the nodes; by default as before.

        Raises:
            ValueError: for fewer than one segment.
            NotPositiveDefiniteError: with a point of the curve near which the speed is not finite.
        """
        n = self.num_segments if num_segments is None else whole("num_segments", num_segments, 0)
        if n < 1:
            raise ValueError(f"num_segments: expected at least 1, got {n}")
        splits = max(1, -(-8 * n // self.num_segments))
        lengths = self._segment_integrals(metric.norm, splits)
        if not torch.isfinite(lengths).all():
            piece = (~torch.isfinite(lengths)).nonzero()[0]
            where = self((piece[-1].item() + 0.5) / lengths.shape[-1])[tuple(piece[:-1])].tolist()
            raise NotPositiveDefiniteError(f"the metric is not positive definite near z = {where}")
        return Curve(self(_equal_shares(lengths, n)), self.degree)

    def _integral(self, function: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        return self._segment_integrals(function).sum(-1)

    def _segment_integrals(
        self, function: Callable[[Tensor, Tensor], Tensor], splits: int = 1
    ) -> Tensor:
        """∫ f(γ, γ') dt over equal pieces of [0, 1], `splits` to each segment: shape `(*, n·splits)`."""
        pieces = self.num_segments * splits
        like: dict[str, Any] = {"dtype": self.nodes.dtype, "device": self.nodes.device}
        start = torch.arange(pieces, **like)[:, None]
        t = ((start + torch.tensor(GAUSS_NODES, **like)) / pieces).flatten()
        values = function(self(t), self.velocity(t)).unflatten(-1, (pieces, 3))
        parts: Tensor = (values * torch.tensor(GAUSS_WEIGHTS, **like)).sum(-1) / pieces
        return parts

    def _combine(self, t: Tensor | float, basis: Callable[..., Tensor]) -> Tensor:
        """Of each curve's nodes and slopes, at times `(T,)` or `()` for all, or `(*, T)` for each."""
        t = torch.as_tensor(t, dtype=self.nodes.dtype, device=self.nodes.device)
        if not ((t >= 0) & (t <= 1)).all():
            raise ValueError("times must lie in [0, 1]")
        single = t.dim() == 0
        t = t.reshape(1) if single else t
        segment = (t * self.num_segments).long().clamp(max=self.num_segments - 1)
        u = (t * self.num_segments - segment)[..., None]
        parts = (_take(part, segment) for part in self.hermite_data())
        result = basis(u, *parts)
        return result[..., 0, :] if single else result

    def hermite_data(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of each segment, its ends and the slopes there, in units of the segment: four of shape `(*, n, d)`."""
        a, b = self.nodes[..., :-1, :], self.nodes[..., 1:, :]
        if self.degree == 1 or self.num_segments == 1:
            return a, b, b - a, b - a
        matrix = torch.from_numpy(_spline_slopes(self.num_segments)).to(self.nodes)
        # From the first node on, so that a curve that stays where it is has slopes of zero.
        slopes = matrix @ (self.nodes - self.nodes[..., :1, :])
        return a, b, slopes[..., :-1, :], slopes[..., 1:, :]


def _take(x: Tensor, index: Tensor) -> Tensor:
    if index.dim() == 1:
        return x[..., index, :]
    return torch.take_along_dim(x, index[..., None], -2)


@lru_cache(maxsize=64)
def _spline_slopes(num_segments: int) -> np.ndarray:
    """The matrix from nodes at 0, 1, …, n to the slopes there of their cubic spline."""
    knots = np.arange(num_segments + 1.0)
    slopes: np.ndarray = CubicSpline(knots, np.eye(num_segments + 1))(knots, 1)
    return slopes


def hermite(u: Tensor, a: Tensor, b: Tensor, slope_a: Tensor, slope_b: Tensor) -> Tensor:
    bend = (1 - u) * slope_a - u * slope_b + (2 * u - 1) * (b - a)
    return a + u * (b - a) + u * (1 - u) * bend


def hermite_slope(u: Tensor, a: Tensor, b: Tensor, slope_a: Tensor, slope_b: Tensor) -> Tensor:
    bend = (1 - u) * slope_a - u * slope_b + (2 * u - 1) * (b - a)
    turn = (1 - 2 * u) * bend + u * (1 - u) * (2 * (b - a) - slope_a - slope_b)
    return b - a + turn


def _equal_shares(lengths: Tensor, num_segments: int) -> Tensor:
    """Times `(*, n + 1)` that cut pieces' lengths `(*, m)`, at equal steps of [0, 1], into n equal sums."""
    pieces = lengths.shape[-1]
    total = lengths.cumsum(-1)
    still = total[..., -1:] <= 0  # a curve that stays where it is
    total = torch.where(still, torch.arange(1, pieces + 1).to(lengths), total)
    total = torch.cat([torch.zeros_like(total[..., :1]), total / total[..., -1:]], -1)
    wanted = torch.linspace(0, 1, num_segments + 1).to(lengths).expand(*lengths.shape[:-1], -1)
    right = torch.searchsorted(total, wanted.contiguous()).clamp(1, pieces)
    low, high = total.gather(-1, right - 1), total.gather(-1, right)
    share = ((wanted - low) / (high - low).clamp(min=torch.finfo(total.dtype).tiny)).clamp(0, 1)
    return ((right - 1 + share) / pieces).clamp(0, 1)

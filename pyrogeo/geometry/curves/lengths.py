"""The length of a curve to a known accuracy: pieces are halved until halving them changes nothing.

A fixed number of points misses what lies between them. Near the edge of a hyperbolic plane the speed of a
spline rises like 1/distance within a part of a segment, and three points of it make 20 a 6.
"""

import torch
from torch import Tensor

from pyrogeo.geometry.curves.curve import GAUSS_NODES, GAUSS_WEIGHTS, Curve, hermite, hermite_slope
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["resolved_length"]

_TOLERANCE = 1e-5  # of what halving changes, relative; what is left then is some 60 times less
_LEVELS = 50
_BLOCK = 2**13  # pieces measured together, which bounds the memory
_MOST = 32  # times as many pieces as at first, after which noise is taken as it is


@torch.no_grad()
def resolved_length(metric: Metric, curves: Curve, splits: int = 1) -> Tensor:
    """L(γ) = ∫ ‖γ'(t)‖ dt of curves `(B,)`, shape `(B,)`; infinite for one that leaves the domain.

    Args:
        metric: which measures γ'.
        curves: nodes `(B, n + 1, d)`.
        splits: parts of each segment to begin with.

    >>> from pyrogeo.geometry import Euclidean
    >>> resolved_length(Euclidean(), Curve(torch.tensor([[[0.0, 0.0], [3.0, 4.0]]])))
    tensor([5.])
    """
    ends = torch.stack(curves.hermite_data(), -2)  # (B, n, 4, d)
    batch, n = ends.shape[:2]
    whose = torch.arange(batch * n * splits, device=ends.device) // splits
    flat, curve = ends.flatten(0, 1), torch.arange(batch * n, device=ends.device) // n
    left = (torch.arange(splits).to(ends) / splits).repeat(batch * n)
    width, most = 1 / splits, _MOST * len(whose)
    whole = _measured(metric, flat, whose, left, width)
    total = torch.zeros(batch, dtype=torch.float64, device=ends.device)  # of many small numbers
    for _ in range(_LEVELS):
        width /= 2
        whose, left = whose.repeat_interleave(2), left.repeat_interleave(2)
        left[1::2] += width
        halves = _measured(metric, flat, whose, left, width)
        both = halves.double().reshape(-1, 2).sum(1)
        owner = curve[whose[::2]]
        size = total.index_add(0, owner, both)
        fair = size[owner] * 2 * width / n
        rough = (both - whole).abs() > _TOLERANCE * (both + fair)  # an infinite one is done
        total = total.index_add(0, owner[~rough], both[~rough])
        keep = rough.repeat_interleave(2)
        whose, left, whole = whose[keep], left[keep], halves[keep]
        if not 0 < len(whose) <= most:
            break
    return total.index_add(0, curve[whose], whole.double()).to(ends.dtype)


def _measured(metric: Metric, ends: Tensor, whose: Tensor, left: Tensor, width: float) -> Tensor:
    """The lengths of parts [left, left + width] of segments, by three Gauss points each."""
    nodes = torch.tensor(GAUSS_NODES, dtype=ends.dtype, device=ends.device)[:, None]
    weights = torch.tensor(GAUSS_WEIGHTS, dtype=ends.dtype, device=ends.device)
    lengths = []
    for index, start in zip(whose.split(_BLOCK), left.split(_BLOCK), strict=True):
        u = start[:, None, None] + width * nodes
        parts = [part[:, None] for part in ends[index].unbind(1)]
        z, v = hermite(u, *parts), hermite_slope(u, *parts)
        speed = torch.where(metric.contains(z), metric.norm(z, v), torch.inf)
        lengths.append(width * (speed * weights).sum(-1))
    return torch.cat(lengths)

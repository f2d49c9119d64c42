"""Points of one precision, a metric of another: computed in the metric's, returned in the points' own."""

from collections.abc import Callable
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from pyrogeo.geometry import Metric

__all__ = ["check_dtype", "device_of", "in_precision_of", "precision_of"]


def check_dtype(dtype: torch.dtype | None) -> torch.dtype | None:
    """A floating-point dtype, or None."""
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"dtype: expected a floating-point dtype or None, got {dtype!r}")
    return dtype


def precision_of(metric: Metric) -> torch.dtype | None:
    """The dtype that a metric computes in; None if it takes points as they come."""
    tensors = chain(metric.buffers(), metric.parameters())
    return next((t.dtype for t in tensors if t.is_floating_point()), None)


def device_of(metric: Metric) -> torch.device:
    """Where the metric's tensors are; the CPU if it has none."""
    tensors = chain(metric.buffers(), metric.parameters())
    return next((t.device for t in tensors), torch.device("cpu"))


def in_precision_of(metric: Metric, function: Callable[[Tensor], Any], z: Tensor) -> Any:
    """`function` of points, a tensor or a tuple of them, in the points' own dtype."""
    wanted = precision_of(metric)
    if wanted is None or wanted == z.dtype or not z.is_floating_point():
        return function(z)
    found = function(z.to(wanted))
    if isinstance(found, tuple):
        return tuple(part.to(z.dtype) for part in found)
    return found.to(z.dtype)

"""What floating-point numbers need: one door for points of another precision, and no subnormal weights.

A VAE embeds in float32, and a metric of its posteriors is float64, for the sake of small differences of
large squares. Whatever takes a metric and points converts them here, and nowhere else: they are computed with
in the metric's precision, and come back in their own.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import torch
from torch import Tensor

from pyrogeo._checks import as_tensor, is_like_an_array

__all__ = ["cast", "floating_point", "hold_", "in_precision_of_the_metric"]

F = TypeVar("F", bound=Callable[..., Any])

_OF_POINTS = (torch.float32, torch.float64)
_LEAST_EXPONENTS = {torch.float32: -60.0, torch.float64: -300.0}


def in_precision_of_the_metric(function: F) -> F:
    """Of a function `f(metric, points, ...)`, the one that takes points of either precision.

    The first tensor, or curve, decides in which dtype results come back, gradients included. A metric
    without tensors of its own, whose `dtype` is None, computes in whatever it is given.

    Args:
        function: of a metric first, such as a method of one, and of points in the metric's dtype.

    Raises:
        ValueError: when called with points that are neither float32 nor float64, unless the metric itself
            is of their dtype, or with points on another device.

    >>> from pyrogeo.geometry import Constant
    >>> norm = in_precision_of_the_metric(lambda metric, v: metric.norm(torch.zeros_like(v), v))
    >>> norm(Constant(torch.eye(2).double()), torch.tensor([3.0, 4.0])).dtype
    torch.float32
    """

    @wraps(function)
    def door(metric: Any, *args: Any, **options: Any) -> Any:
        args = tuple(_points(value) for value in args)
        options = {name: _points(value) for name, value in options.items()}
        own = metric.a_tensor() if hasattr(metric, "a_tensor") else None
        tensors = [] if own is None else _tensors_among(args, options)
        if own is None or not tensors:
            return function(metric, *args, **options)
        _check(own, tensors[0])
        if all(t.dtype == own.dtype or not t.is_floating_point() for t in tensors):
            return function(metric, *args, **options)
        args = cast(args, own.dtype)
        options = {name: cast(value, own.dtype) for name, value in options.items()}
        return cast(function(metric, *args, **options), tensors[0].dtype)

    return door  # type: ignore[return-value]  # `door` has the signature of what it wraps


def cast(value: Any, dtype: torch.dtype) -> Any:
    """Floating-point tensors in a dtype, and so those within tuples, and what else has a `to`, as curves do."""
    if torch.is_tensor(value):
        return value.to(dtype) if value.is_floating_point() else value
    if isinstance(value, tuple):
        parts = [cast(part, dtype) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.to(dtype) if hasattr(value, "to") else value


def hold_(exponent: Tensor) -> Tensor:
    """In place, logarithms of weights relative to the largest, held above −60 in float32, −300 in float64.

    e⁻⁶⁰ is far below rounding, and leaves room for further factors. Below e⁻⁸⁷, or e⁻⁷⁰⁸, numbers are
    subnormal, with which a processor multiplies many times slower. What is held has no gradient.
    """
    return exponent.clamp_(min=_LEAST_EXPONENTS.get(exponent.dtype))


def floating_point(name: str, dtype: torch.dtype | None) -> torch.dtype | None:
    """A floating-point dtype, or None.

    Raises:
        ValueError: for anything else.
    """
    if dtype is not None and not (isinstance(dtype, torch.dtype) and dtype.is_floating_point):
        raise ValueError(f"{name}: expected a floating-point dtype or None, got {dtype!r}")
    return dtype


def _points(value: Any) -> Any:
    """Points that came as an array, NumPy's or xarray's, as a tensor; all else as it is."""
    if torch.is_tensor(value) or not is_like_an_array(value) or not value.ndim:
        return value
    return as_tensor("points", value)


def _tensors_among(args: tuple[Any, ...], options: dict[str, Any]) -> list[Tensor]:
    values = [getattr(x, "nodes", x) for x in (*args, *options.values())]  # nodes of curves
    return [x for x in values if torch.is_tensor(x)]


def _check(own: Tensor, points: Tensor) -> None:
    right = points.dtype == own.dtype or points.dtype in _OF_POINTS
    if not right or points.device != own.device:
        raise ValueError(
            f"the metric is {own.dtype} on {own.device}, the points are {points.dtype} on "
            f"{points.device}; use metric.to(...) or z.to(...)"
        )

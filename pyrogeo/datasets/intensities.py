"""Images of any type of number, made intensities in [0, 1].

Integers are divided by what is white in their type, floats must lie in [0, 1] already, and a range of the
user's own goes before both.
"""

import math
from typing import Any

import numpy as np

from pyrogeo._checks import real_or_nan

__all__ = ["channels_first", "checked_range", "laid_on_white", "scaled", "white_of"]

_SLACK = 1e-5  # by which rounding may lead out of [0, 1]


def checked_range(value_range: Any) -> tuple[float, float] | None:
    """Two finite numbers, the first below the second, or None.

    Raises:
        ValueError: for anything else.
    """
    if value_range is None:
        return None
    found = [real_or_nan(end) for end in value_range] if np.shape(value_range) == (2,) else []
    if len(found) != 2 or not (-math.inf < found[0] < found[1] < math.inf):
        raise ValueError(f"value_range: expected two numbers, low < high, got {value_range!r}")
    return found[0], found[1]


def white_of(dtype: np.dtype) -> float | None:
    """What is white in a type: its largest number; 1 of booleans; None of floats and of signed integers.

    >>> white_of(np.dtype("uint16")), white_of(np.dtype("int64"))
    (65535.0, None)
    """
    if dtype.kind == "u":
        return float(np.iinfo(dtype).max)
    return 1.0 if dtype.kind == "b" else None


def scaled(
    x: np.ndarray, white: float | None = None, value_range: tuple[float, float] | None = None
) -> tuple[np.ndarray, int]:
    """Intensities, and how many numbers were clipped because they lie outside the given range.

    Args:
        x: numbers of any type.
        white: of integers, by default `white_of` their type.
        value_range: numbers that are black and white.

    Raises:
        ValueError: for infinite numbers, for floats outside [0, 1] and negative or signed integers
            without a range.

    >>> scaled(np.array([0, 65535], np.uint16))[0].tolist()
    [0.0, 1.0]
    """
    if x.dtype.kind == "f" and np.isinf(x).any():
        raise ValueError(f"expected finite numbers, got {int(np.isinf(x).sum())} infinite values")
    if value_range is not None:
        low, high = value_range
        outside = int(((x < low) | (x > high)).sum())
        return ((x.astype(np.float64).clip(low, high) - low) / (high - low)).astype(
            np.float32
        ), outside
    white = white_of(x.dtype) if white is None else white
    if x.dtype.kind in "iub":
        if white is None:
            raise ValueError(
                f"images: expected unsigned integers, bytes or floating-point numbers, got {x.dtype}, "
                "whose white cannot be known; pass value_range=(LOW, HIGH)"
            )
        if x.min() < 0:
            raise ValueError(
                f"integers from {x.min()} to {x.max()}, and negative ones have no black; "
                "pass value_range=(LOW, HIGH)"
            )
        wide = np.float32 if x.dtype.itemsize <= 2 else np.float64
        numbers: np.ndarray = x.astype(wide)
        return (numbers / wide(white)).astype(np.float32, copy=False), 0
    low, high = (np.nanmin(x), np.nanmax(x)) if not np.isnan(x).all() else (0, 0)
    if low < -_SLACK or high > 1 + _SLACK:
        raise ValueError(
            f"images of floats must lie in [0, 1], got {low:.4g} to {high:.4g}; "
            "pass value_range=(LOW, HIGH)"
        )
    return x.astype(np.float32).clip(0, 1), 0


def laid_on_white(colour: np.ndarray, opacity: np.ndarray) -> np.ndarray:
    """Intensities as they look on white; `colour` is written over, as it may be large.

    >>> laid_on_white(np.zeros((1, 3)), np.array([[0.25]])).tolist()
    [[0.75, 0.75, 0.75]]
    """
    colour *= opacity
    colour += 1 - opacity
    return colour


def channels_first(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """Images `(N, H, W)`, `(N, C, H, W)` or `(N, H, W, C)` with their channels before height and width.

    Returns:
        the images, and whether they have opacity, which then is the last of four channels.

    Raises:
        ValueError: where it cannot be told which are the channels.
    """
    if x.ndim == 3:
        return x[:, None], False
    second, height, last = x.shape[1:]
    if second in (1, 3) or last in (1, 3):
        return (x if second in (1, 3) else np.moveaxis(x, -1, 1)), False
    if last == 4 and second > 4:
        return np.moveaxis(x, -1, 1), True
    if last < min(second, height) or last == second == 4:
        raise ValueError(
            f"images of shape {x.shape}: {last} channels come last, expected (N, C, H, W); "
            "np.moveaxis(x, -1, 1) brings them there"
        )
    return x, False

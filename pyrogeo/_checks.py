"""Numbers at the door, in one dialect: NumPy's and torch's scalars are numbers, True and False are not.

Each function returns the number as Python's own, so that it can be kept in a file and passed to torch.
"""

import math
from numbers import Integral, Real
from typing import Any

__all__ = ["not_negative", "positive", "real_or_nan", "share", "whole", "whole_or_none"]


def whole(name: str, value: Any, at_least: int = 1, at_most: int | None = None) -> int:
    """An integer within bounds.

    Args:
        name: of the parameter, for the message.
        value: what came.
        at_least, at_most: bounds, both included.

    Raises:
        ValueError: for anything else.

    >>> whole("epochs", 3)
    3
    >>> whole("epochs", 2.5)
    Traceback (most recent call last):
    ValueError: epochs must be a positive integer, got 2.5
    """
    number, value = whole_or_none(value), _plain(value)
    most = math.inf if at_most is None else at_most
    if number is None or not at_least <= number <= most:
        expected = "a positive integer" if at_least == 1 else f"an integer of at least {at_least}"
        if at_most is not None:
            expected = f"an integer from {at_least} to {at_most}"
        raise ValueError(f"{name} must be {expected}, got {value!r}")
    return number


def whole_or_none(value: Any) -> int | None:
    """An integer as Python's, or None for what is none: for a message of one's own.

    >>> whole_or_none(True), whole_or_none(3)
    (None, 3)
    """
    value = _plain(value)
    return int(value) if isinstance(value, Integral) and not isinstance(value, bool) else None


def positive(name: str, value: Any) -> float:
    """A finite number above zero.

    Args:
        name, value: as in `whole`.

    Raises:
        ValueError: for anything else.

    >>> positive("scale", 0)
    Traceback (most recent call last):
    ValueError: scale must be positive and finite, got 0
    """
    found = real_or_nan(value)
    if not 0 < found < math.inf:
        raise ValueError(f"{name} must be positive and finite, got {_plain(value)!r}")
    return found


def not_negative(name: str, value: Any) -> float:
    """A finite number that is zero or more; arguments and errors as of `positive`."""
    found = real_or_nan(value)
    if not 0 <= found < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {_plain(value)!r}")
    return found


def share(name: str, value: Any) -> float:
    """A number between zero and one, both excluded; arguments and errors as of `positive`."""
    found = real_or_nan(value)
    if not 0 < found < 1:
        raise ValueError(f"{name}: expected a share between 0 and 1, got {_plain(value)!r}")
    return found


def real_or_nan(value: Any) -> float:
    """A number as Python's, or NaN, which no bound admits, for what is none."""
    value = _plain(value)
    return float(value) if isinstance(value, Real) and not isinstance(value, bool) else math.nan


def _plain(value: Any) -> Any:
    """What an array or tensor of no dimensions holds."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value

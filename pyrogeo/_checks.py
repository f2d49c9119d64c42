"""Numbers and arrays at the door, in one dialect: NumPy's and torch's scalars are numbers, True and False are not.

Each function on numbers returns Python's own, so that it can be kept in a file and passed to torch. Whatever is
like an array comes in by `as_tensor`, which alone needs torch: verdicts on kept draws do without.
"""

import math
import textwrap
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "as_tensor",
    "is_like_an_array",
    "not_negative",
    "positive",
    "real_or_nan",
    "share",
    "whole",
    "whole_or_none",
]


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


def is_like_an_array(value: Any) -> bool:
    """Whether something says that it is an array: NumPy's, xarray's, a data frame, not a list or a class.

    >>> is_like_an_array(np.zeros(3)), is_like_an_array([0.0, 0.0, 0.0])
    (True, False)
    """
    return hasattr(value, "__array__") and not isinstance(value, type)


def as_tensor(name: str, value: Any) -> "Tensor":
    """Whatever is like an array, as a tensor: NumPy's and xarray's, data frames, lists of numbers or tensors.

    A tensor is itself. Numbers keep their kind; lists are float64 or int64. What torch has no numbers for
    (16-byte floats, unsigned integers of 16 bits and more, another order of bytes) becomes the next that holds
    them. What a masked array masks is missing, NaN.

    Args:
        name: of the parameter, for the message.
        value: what came.

    Raises:
        ValueError: for anything else, and for arrays of words, objects or complex numbers.

    >>> as_tensor("z", [[0, 1], [2, 3]])
    tensor([[0, 1],
            [2, 3]])
    >>> as_tensor("z", "two")
    Traceback (most recent call last):
    ValueError: z: expected a tensor or an array of numbers, got <class 'str'>
    """
    import torch

    if torch.is_tensor(value):
        return value
    try:
        if isinstance(value, (list, tuple)) and value and all(map(torch.is_tensor, value)):
            return torch.stack(list(value))
        if np.ma.isMaskedArray(value) and np.ma.is_masked(value):
            value = np.ma.filled(value.astype(float), math.nan)
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or isinstance(value, (str, bytes)):
            raise TypeError(array.dtype)
        return torch.from_numpy(_known_to_torch(array))
    except Exception as error:  # a user's container raises what it likes
        got = f"{type(value)} of {error}" if is_like_an_array(value) else str(type(value))
        raise ValueError(f"{name}: expected a tensor or an array of numbers, got {got}") from error


def in_one_line(error: BaseException) -> str:
    """What somebody else's error says, for a message: its kind and its words, without their lines.

    >>> in_one_line(KeyError("a\\n  b"))
    "KeyError: 'a b'"
    """
    words = str(error).replace("\\n", " ")
    return textwrap.shorten(f"{type(error).__name__}: {words}", 400, placeholder=" …")


def _known_to_torch(array: np.ndarray) -> np.ndarray:
    """The array in a kind of number, order and memory that torch takes without a warning."""
    kind, size = array.dtype.kind, array.dtype.itemsize
    dtype = np.dtype(f"{kind}{min(size, 8)}") if kind != "b" else array.dtype
    if kind == "u" and size > 1:
        dtype = np.dtype("i8" if size < 8 or array.max(initial=0) < 2**63 else "f8")
    array = array.astype(dtype, copy=False)
    return array.copy() if not array.flags.writeable or min(array.strides, default=0) < 0 else array


def _plain(value: Any) -> Any:
    """What an array or tensor of no dimensions holds."""
    return value.item() if getattr(value, "shape", None) == () and hasattr(value, "item") else value

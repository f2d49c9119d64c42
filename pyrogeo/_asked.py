"""What was asked for, in JSON's words that are the same in every session, and how two askings differ.

A setting may be a class, a function with what it closes over, a `partial`, or an object with numbers in it.
Addresses and private attributes, which change by themselves, are left out. Loads no torch.
"""

import hashlib
import inspect
import math
import re
from collections.abc import Iterator, Mapping
from functools import partial
from types import CodeType, FunctionType
from typing import Any

__all__ = ["differing", "words_of"]

_DEEPEST = 6
_PLAIN: Any = object.__repr__


def words_of(value: Any, depth: int = 0) -> Any:
    """A value in JSON's words; equal for equal values, whatever the session.

    >>> words_of(partial(dict, width=(2, 3)))
    {'is': 'builtins.dict', 'width': [2, 3]}
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth > _DEEPEST:
        return _name(type(value))
    if isinstance(value, Mapping):
        return {str(k): words_of(v, depth + 1) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [words_of(v, depth + 1) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(str(words_of(v, depth + 1)) for v in value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        return words_of(value.item(), depth)
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        return _of_array(value)
    return _of_object(value, depth + 1)


def _of_object(value: Any, depth: int) -> Any:
    if isinstance(value, partial):
        keywords = dict(enumerate(value.args)) | value.keywords
        return {"is": words_of(value.func, depth), **words_of(keywords, depth)}
    if isinstance(value, FunctionType):
        within = words_of(_within(value), depth)
        return {"is": _name(value), **within} if within else _name(value)
    if isinstance(value, type) or inspect.isroutine(value):
        return _name(value)
    said = "" if type(value).__repr__ is _PLAIN else repr(value)
    if said and " at 0x" not in said:
        return said
    own = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.startswith("_")}
    return {"is": _name(type(value)), **words_of(own, depth)}


def _of_array(value: Any) -> str:
    """A digest of an array's or tensor's numbers."""
    plain = value.detach().cpu() if hasattr(value, "detach") else value
    numbers = repr(plain.tolist()).encode()
    return f"{value.dtype} {tuple(value.shape)} {hashlib.sha256(numbers).hexdigest()}"


def _within(function: FunctionType) -> dict[str, Any]:
    """The values that a function's result depends on: defaults, what it closes over, constants, global
    numbers and words."""
    code = function.__code__
    found: dict[str, Any] = {}
    names, constants = _of_code(code)
    for name in names:
        if isinstance(function.__globals__.get(name), (bool, int, float, str)):
            found[name] = function.__globals__[name]
    cells = zip(code.co_freevars, function.__closure__ or (), strict=True)
    for name, cell in cells:
        try:
            found[name] = cell.cell_contents
        except ValueError:  # not filled yet
            continue
    if function.__defaults__ or function.__kwdefaults__:
        found["defaults"] = [function.__defaults__, function.__kwdefaults__]
    if function.__name__ == "<lambda>" and constants:
        found["constants"] = constants
    return found


def _of_code(code: CodeType) -> tuple[list[str], list[Any]]:
    """Global names and constants, also of the functions within."""
    names = list(code.co_names)
    constants: list[Any] = []
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _of_code(constant)
            names, constants = names + inner[0], constants + inner[1]
        elif isinstance(constant, (int, float)) and constant is not None:
            constants.append(constant)
    return names, constants


def _name(thing: Any) -> str:
    module = getattr(thing, "__module__", None) or type(thing).__module__
    name = getattr(thing, "__qualname__", type(thing).__qualname__)
    return f"{module}.{name}"


def differing(before: Any, now: Any) -> str:
    """What differs between two askings, by name, with both values; empty if nothing.

    >>> differing({"epochs": 2, "rate": 0.1}, {"epochs": 2, "rate": 0.2})
    'rate (0.1 then, 0.2 now)'
    """
    return ", ".join(_differences("", before, now))


def _differences(path: str, before: Any, now: Any) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        if before.get("is") != now.get("is"):  # the rest is of another kind
            before, now = {"is": before.get("is")}, {"is": now.get("is")}
        for name in dict.fromkeys((*before, *now)):
            inner = path if name == "is" else f"{path}.{name}".strip(".")
            yield from _differences(inner, before.get(name), now.get(name))
    elif before != now:
        yield f"{path} ({_shown(before, now)})"


def _shown(before: Any, now: Any) -> str:
    if any(
        isinstance(value, str) and re.search(r"[0-9a-f]{64}$", value) for value in (before, now)
    ):
        return "other content"
    then, today = str(before), str(now)
    if max(len(then), len(today)) > 60:
        return "other words"
    return f"{then} then, {today} now"

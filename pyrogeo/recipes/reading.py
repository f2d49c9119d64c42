"""What a file says of a VAE, checked before anything is built of it.

The words that a recipe can have been called with are those of its signature, of the types that it names
there; what it builds may not need more memory than the weights beside it account for.
"""

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, get_origin, get_type_hints

import msgspec
import torch
from msgspec import Meta
from torch.overrides import TorchFunctionMode

from pyrogeo.recipes.standard import LIKELIHOODS

__all__ = ["Within", "checked"]

_Size = Annotated[int, Meta(ge=1, le=2**31)]
_Number = Annotated[float, Meta(ge=-1.797e308, le=1.797e308)]
_Sizes = Annotated[list[_Size], Meta(max_length=64)]
_WORDS: Mapping[str, Any] = {
    "event_shape": Annotated[list[_Size], Meta(min_length=1, max_length=8)],
    "latent_dim": _Size,
    "network": Literal["mlp", "conv"],
    "hidden": _Sizes,
    "likelihood": Literal[tuple(LIKELIHOODS)],
    "guide": Literal["diagonal", "full"],
}
_TYPES: Mapping[Any, Any] = {int: Annotated[int, Meta(ge=0, le=2**31)], float: _Number}


def checked(
    function: Callable[..., Any], parts: Iterable[str], arguments: dict[str, Any]
) -> dict[str, Any]:
    """The arguments of a call, of the names and types that the function's signature has.

    Args:
        function: a recipe, or `standard_vae`.
        parts: names of the words that it passes on.
        arguments: by name, as a file holds them.

    Raises:
        ValueError: for a name that is missing or unknown, or a value of another type.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> checked(standard_vae, (), {"event_shape": [5], "latent_dim": 2, "evil": 1})
    Traceback (most recent call last):
    msgspec.ValidationError: Object contains unknown field `evil`
    """
    hints = get_type_hints(function)
    fields: list[tuple[Any, ...]] = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD or name == "data":
            continue
        field = (name, _WORDS.get(name, _type(hints.get(name, Any))))
        needed = parameter.default is inspect.Parameter.empty
        fields.append(field if needed else (*field, msgspec.UNSET))
    fields += [(name, _WORDS[name], msgspec.UNSET) for name in parts]
    fields.sort(key=len)
    schema = msgspec.defstruct(function.__name__, fields, forbid_unknown_fields=True)
    msgspec.convert(arguments, schema)
    return arguments


def _type(hint: Any) -> Any:
    if get_origin(hint) in (tuple, list, Sequence):
        return _Sizes
    return _TYPES.get(hint, hint)


class Within(TorchFunctionMode):
    """A block that makes tensors of so many numbers in all, and no more.

    Args:
        numbers: most of them.

    >>> with Within(100):
    ...     torch.nn.Linear(20, 10)
    Traceback (most recent call last):
    ValueError: it needs more than the 100 numbers that there may be
    """

    def __init__(self, numbers: int):
        super().__init__()
        self._most, self._numbers, self._calls = numbers, 0, 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        self._calls += 1
        if func in _SHAPED:
            self._numbers += math.prod(_integers((args, *kwargs.values())))
        elif func in _COUNTED:
            self._numbers += max(_integers((args, *kwargs.values())), default=0)
        if self._numbers > self._most or self._calls > _MOST_CALLS:
            raise ValueError(f"it needs more than the {self._most:,} numbers that there may be")
        return func(*args, **kwargs)


_MOST_CALLS = 50_000  # of torch, to build a VAE
_SHAPED = {
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.full,
    torch.tril_indices,
}
_SHAPED |= {
    torch.Tensor.new_zeros,
    torch.Tensor.new_ones,
    torch.Tensor.new_empty,
    torch.Tensor.new_full,
}
_COUNTED = {torch.arange, torch.linspace, torch.randperm}


def _integers(value: Any) -> Iterator[int]:
    if isinstance(value, int) and not isinstance(value, bool):
        yield value
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _integers(inner)

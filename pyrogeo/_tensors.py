"""Tensors in files that hold no code: safetensors, with what they are among the metadata."""

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor

from pyrogeo._files import PathLike, broken, check_version, parsed_json, write_bytes
from pyrogeo._words import printable
from pyrogeo.errors import BrokenFileError

__all__ = [
    "FLOATS",
    "INTEGERS",
    "Held",
    "digest_of",
    "read_state",
    "read_tensors",
    "write_state",
    "write_tensors",
]

#: as safetensors calls them
FLOATS = frozenset({"F64", "F32", "F16", "BF16"})
INTEGERS = frozenset({"I64", "I32", "I16", "I8", "U8"})
_LONGEST_HEADER = 16 * 2**20


def write_tensors(
    path: PathLike, tensors: dict[str, Tensor], kind: str, version: int = 1, **words: str
) -> None:
    """Tensors with what they are: `kind`, the version of its format, and other words.

    The same tensors and words make the same bytes.
    """
    metadata = {"kind": kind, "format": str(version), **words}
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    made = memoryview(save(tensors, metadata))
    length = 8 + int.from_bytes(made[:8], "little")
    # The library puts the words in another order every time.
    header = json.loads(bytes(made[8:length]))
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    write_bytes(path, len(text).to_bytes(8, "little"), text, made[length:])


def digest_of(tensors: Mapping[str, Tensor | None]) -> str:
    """SHA-256 of tensors with their names, dtypes and shapes.

    >>> digest_of({"x": torch.zeros(2)}) == digest_of({"x": torch.zeros(2, 1)})
    False
    """
    found = hashlib.sha256()
    for name, tensor in tensors.items():
        if tensor is None:
            continue
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        plain = tensor.detach().cpu().contiguous().reshape(-1)
        found.update(plain.view(torch.uint8).numpy().data)
    return found.hexdigest()


@dataclass(frozen=True)
class Held:
    """What a tensor in a file must be.

    Attributes:
        shape: numbers, or letters that stand for the same number in all tensors of the file; "..." at the
            end for any further dimensions.
        dtypes: that it may have, as safetensors calls them.
        needed: whether the file must have it.
        positive: whether its numbers must be above zero.
    """

    shape: tuple[int | str, ...]
    dtypes: frozenset[str] = FLOATS
    needed: bool = True
    positive: bool = False


def read_tensors(
    path: PathLike,
    kind: str,
    held: Mapping[str, Held] | None = None,
    *,
    words: Collection[str] = (),
    more_words: Collection[str] = (),
    version: int = 1,
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write_tensors` wrote, and nothing else: all that is declared is checked before it is read.

    Args:
        path: of the file.
        kind: that it must say it is.
        held: what it must hold, by name; None for any tensors of finite numbers.
        words: that must stand beside kind and format.
        more_words: that may.
        version: of the newest format that is known.

    Raises:
        BrokenFileError: for a file that is missing, truncated, of another kind or of a newer format, and for
            tensors of other names, shapes or dtypes, or with numbers that are not finite.
    """
    path = Path(path)
    _check_header(path)
    try:
        with safe_open(path, "pt") as file:
            metadata = dict(file.metadata() or {})
            _check_words(path, metadata, kind, version, {*words}, {*more_words})
            _check_declared(path, file, held)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except BrokenFileError:
        raise
    # safetensors' own errors are no OSError, and torch's of a dtype that it has not are of any kind
    except Exception as error:
        raise broken(path, "safetensors", error) from error
    for name, tensor in tensors.items():
        _check_numbers(path, name, tensor, positive=bool(held and held[name].positive))
    return tensors, metadata


def _check_header(path: Path) -> None:
    """Refuses what is no file, or begins with more words than a file can hold or a reader should take."""
    if not path.is_file():
        raise BrokenFileError(f"{path} does not exist")
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
    except OSError as error:
        raise BrokenFileError(f"{path} cannot be read: {error.strerror}") from error
    if size < 8 or length > min(size - 8, _LONGEST_HEADER):
        raise broken(path, "safetensors", "its header is incomplete or too long")


def _check_words(
    path: Path, metadata: dict[str, str], kind: str, version: int, must: set[str], may: set[str]
) -> None:
    found = metadata.get("kind", "foreign tensors")
    if found != kind:
        raise BrokenFileError(f"{path} holds {printable(found, 60)}, expected {kind}")
    said = metadata.get("format", "")
    number = int(said) if said.isascii() and said.isdigit() and len(said) < 9 else None
    check_version(path, number, range(1, version + 1))
    names = metadata.keys() - {"kind", "format"}
    if missing := must - names:
        raise broken(path, kind, f"it does not say its {', '.join(sorted(missing))}")
    if unknown := names - must - may:
        raise broken(path, kind, f"it says something of {', '.join(sorted(unknown))}")


def _check_declared(path: Path, file: Any, held: Mapping[str, Held] | None) -> None:
    """Names, shapes and dtypes, by the header alone."""
    found = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    if held is None:
        return
    needed = {name for name, one in held.items() if one.needed}
    if missing := needed - found.keys():
        raise BrokenFileError(f"{path} does not fit: it lacks {', '.join(sorted(missing))}")
    if unknown := found.keys() - held.keys():
        names = ", ".join(sorted(unknown))
        raise BrokenFileError(f"{path} does not fit: it has {printable(names, 200)} too much")
    known: dict[int | str, Any] = {}
    for name, declared in found.items():
        shape, dtype = tuple(declared.get_shape()), str(declared.get_dtype())
        if not _fits(held[name].shape, shape, known):
            expected = ", ".join(str(known.get(n, n)) for n in held[name].shape)
            raise BrokenFileError(
                f"{path} does not fit: {name} has shape {shape}, expected ({expected})"
            )
        if dtype not in held[name].dtypes:
            raise BrokenFileError(f"{path} does not fit: {name} has numbers of type {dtype}")


def _fits(
    pattern: tuple[int | str, ...], shape: tuple[int, ...], known: dict[int | str, Any]
) -> bool:
    """Whether a shape is as the pattern says; what its letters stand for is added to `known`."""
    if pattern[-1:] == ("...",):
        pattern, rest = pattern[:-1], shape[len(pattern) - 1 :]
        shape = shape[: len(pattern)]
        if 0 in rest or rest != known.setdefault("...", rest):
            return False
    if len(shape) != len(pattern):
        return False
    for expected, n in zip(pattern, shape, strict=True):
        if isinstance(expected, str) and n < 1:
            return False
        if n != (known.setdefault(expected, n) if isinstance(expected, str) else expected):
            return False
    return True


def _check_numbers(path: Path, name: str, tensor: Tensor, positive: bool) -> None:
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise BrokenFileError(f"{path} has numbers in {printable(name, 60)} that are not finite")
    if positive and not (tensor > 0).all():
        raise BrokenFileError(f"{path} has numbers in {name} that are not above zero")


def write_state(path: PathLike, state: Any, kind: str) -> None:
    """Nested dictionaries, lists and tuples of tensors, numbers and words, such as a `state_dict`."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_without_tensors(state, tensors))
    write_tensors(path, {k: t.clone() for k, t in tensors.items()}, kind, state=skeleton)


def read_state(path: PathLike, kind: str) -> Any:
    """What `write_state` wrote; errors as of `read_tensors`."""
    tensors, metadata = read_tensors(path, kind, words=["state"])
    try:
        return _with_tensors(parsed_json(metadata["state"]), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise broken(Path(path), kind, error) from error


def _without_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    """JSON in which tensors are names, and dictionaries pairs, as their keys may be numbers."""
    if torch.is_tensor(value):
        tensors[str(len(tensors))] = value
        return {"tensor": str(len(tensors) - 1)}
    if isinstance(value, dict):
        return {"dict": [[k, _without_tensors(v, tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [_without_tensors(v, tensors) for v in value]}
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{type(value)} cannot be kept in a file without code")


def _with_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {k: _with_tensors(v, tensors) for k, v in content}
    return {"list": list, "tuple": tuple}[kind](_with_tensors(v, tensors) for v in content)

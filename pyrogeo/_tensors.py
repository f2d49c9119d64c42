"""Tensors in files that hold no code: safetensors, with what they are among the metadata."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pyrogeo._files import PathLike, check_version, write_bytes

__all__ = ["digest_of", "read_state", "read_tensors", "write_state", "write_tensors"]


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
        found.update(memoryview(plain.view(torch.uint8).numpy()))
    return found.hexdigest()


def read_tensors(
    path: PathLike, kind: str, version: int = 1
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """What `write_tensors` wrote.

    Raises:
        ValueError: for a file that is missing, truncated, of another kind, or of a newer format.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    if metadata.get("kind") != kind:
        raise ValueError(f"{path} holds {metadata.get('kind', 'foreign tensors')}, expected {kind}")
    check_version(path, metadata.get("format"), version)
    return tensors, metadata


def write_state(path: PathLike, state: Any, kind: str) -> None:
    """Nested dictionaries, lists and tuples of tensors, numbers and words, such as a `state_dict`."""
    tensors: dict[str, Tensor] = {}
    skeleton = json.dumps(_without_tensors(state, tensors))
    write_tensors(path, {k: t.clone() for k, t in tensors.items()}, kind, state=skeleton)


def read_state(path: PathLike, kind: str) -> Any:
    """What `write_state` wrote."""
    tensors, metadata = read_tensors(path, kind)
    try:
        return _with_tensors(json.loads(metadata["state"]), tensors)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole {kind}: {error}") from error


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

"""Files that are whole or not there, hold no code, and say what is wrong with them.

Tensors go to safetensors, the rest to JSON. A file is written beside its place and moved there, so a
kill in between leaves what was there before.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = [
    "read_json",
    "read_state",
    "read_tensors",
    "replacing",
    "write_json",
    "write_state",
    "write_tensors",
]

PathLike = str | os.PathLike


def replacing(path: PathLike, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary path and moves what it wrote to `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())  # some writers leave it readable by its owner only
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_tensors(
    path: PathLike, tensors: dict[str, Tensor], kind: str, version: int = 1, **words: str
) -> None:
    """Tensors with what they are: `kind`, the version of its format, and other words."""
    metadata = {"kind": kind, "format": str(version), **words}
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    replacing(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))


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
    _check_version(path, metadata.get("format"), version)
    return tensors, metadata


def _check_version(path: Path, found: Any, known: int) -> None:
    if not str(found).isdigit():
        raise ValueError(f"{path} does not say the version of its format")
    if int(found) > known:
        raise ValueError(
            f"{path} has format {found}, written by a newer pyrogeo than this, which knows {known}"
        )


def write_json(path: PathLike, content: dict[str, Any], kind: str, version: int = 1) -> None:
    """A JSON object with its `kind` and `format`."""
    text = json.dumps({"kind": kind, "format": version, **content}, indent=2) + "\n"
    replacing(path, lambda temporary: temporary.write_text(text))


def read_json(path: PathLike, kind: str, version: int = 1) -> dict[str, Any]:
    """What `write_json` wrote; errors as `read_tensors`."""
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path} does not exist")
    try:
        content = json.loads(path.read_text())
        found = content["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole {kind} file: {error}") from error
    if found != kind:
        raise ValueError(f"{path} holds {found}, expected {kind}")
    _check_version(path, content.get("format"), version)
    return content


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

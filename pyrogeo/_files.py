"""Files that are whole or not there, and JSON that says what it is.

A file is written beside its place and moved there, so a kill in between leaves what was there before.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["PathLike", "check_version", "flush", "read_json", "replacing", "write_json"]

PathLike = str | os.PathLike[str]


def replacing(path: PathLike, write: Callable[[Path], Any]) -> None:
    """Calls `write` with a temporary path and moves what it wrote to `path`."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    try:
        write(temporary)
        temporary.chmod(0o666 & ~_umask())  # some writers leave it readable by its owner only
        flush(temporary)
        os.replace(temporary, path)
        flush(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def flush(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def check_version(path: Path, found: Any, known: int) -> None:
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
        content: dict[str, Any] = json.loads(path.read_text())
        found = content["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a whole {kind} file: {error}") from error
    if found != kind:
        raise ValueError(f"{path} holds {found}, expected {kind}")
    check_version(path, content.get("format"), version)
    return content

"""Files that are whole or not there, and JSON that says what it is.

A file's content is made in memory, written beside its place and moved there: a kill in between leaves what
was there before, and so does a full disk, of which only plain writes say that it is full.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["PathLike", "check_version", "flush", "naming", "read_json", "write_bytes", "write_json"]

PathLike = str | os.PathLike


def write_bytes(path: PathLike, *content: bytes | memoryview) -> None:
    """Replaces a file, whole or not at all, by the parts of its content one after the other.

    Raises:
        OSError: with the path as its `filename`, where it cannot be written; what was there stays.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")
    with naming(path):
        try:
            _write(temporary, content)
            os.replace(temporary, path)
            flush(path.parent)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


@contextlib.contextmanager
def naming(path: PathLike) -> Iterator[None]:
    """An `OSError` of the block names this path, and no temporary one."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(error.errno or 0, reason, str(path)) from error


def _write(path: Path, content: tuple[bytes | memoryview, ...]) -> None:
    """Creates or empties a file and fills it, down to the disk."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        for part in content:
            rest = memoryview(part).cast("B")
            while rest:
                rest = rest[os.write(descriptor, rest) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


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
    write_bytes(path, text.encode())


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
    check_version(path, content.get("format"), version)
    return content

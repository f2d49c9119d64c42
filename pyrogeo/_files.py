"""Files that are whole or not there, and JSON that says what it is.

A file's content is made in memory, written beside its place and moved there: a kill in between leaves what
was there before, and so does a full disk, of which only plain writes say that it is full.
"""

import contextlib
import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from pyrogeo._words import printable
from pyrogeo.errors import BrokenFileError

__all__ = [
    "PathLike",
    "broken",
    "check_version",
    "flush",
    "naming",
    "parsed_json",
    "read_json",
    "write_bytes",
    "write_json",
]

PathLike = str | os.PathLike[str]
Schema = TypeVar("Schema")

_LARGEST = 16 * 2**20  # bytes of JSON, which take some twenty times as many in memory
_DEEPEST = 32  # objects and lists within each other


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


def write_json(path: PathLike, content: dict[str, Any], kind: str, version: int = 1) -> None:
    """A JSON object with its `kind` and `format`."""
    text = json.dumps({"kind": kind, "format": version, **content}, indent=2) + "\n"
    write_bytes(path, text.encode())


def read_json(path: PathLike, kind: str, schemas: Mapping[int, type[Schema]]) -> Schema:
    """What `write_json` wrote, and nothing else.

    Args:
        path: of the file.
        kind: that it must say it is.
        schemas: of its content, by the version of its format.

    Raises:
        BrokenFileError: for a file that is missing, too large, no JSON, of another kind or of a newer
            format, and for content that is not of the schema.
    """
    path = Path(path)
    content = _parsed(path, kind)
    found = content.pop("kind", None)
    if found != kind:
        raise BrokenFileError(f"{path} holds {printable(found, 60)}, expected {kind}")
    version = content.pop("format", None)
    check_version(path, version, schemas)
    try:
        return msgspec.convert(content, schemas[version])
    except (ValueError, OverflowError) as error:
        raise broken(path, kind, error) from error


def broken(path: Path, kind: str, reason: object) -> BrokenFileError:
    """The error of a file that is not whole, or does not hold what it must."""
    kind = kind.removeprefix("a ")
    return BrokenFileError(f"{path} is not a whole {kind} file: {printable(reason, 200)}")


def check_version(path: Path, found: Any, known: Collection[int]) -> None:
    """Refuses a format that this version does not read."""
    if type(found) is not int or found < 1:
        raise BrokenFileError(f"{path} does not say the version of its format")
    if found not in known:
        raise BrokenFileError(
            f"{path} has format {printable(found, 20)}, written by a newer pyrogeo than this, which knows "
            f"{max(known)}"
        )


def parsed_json(text: bytes | str) -> Any:
    """JSON in which no name occurs twice, and that is not nested without end.

    Raises:
        ValueError: for anything else.

    >>> parsed_json('{"a": 1, "a": 2}')
    Traceback (most recent call last):
    ValueError: 'a' occurs twice
    """
    try:
        value = json.loads(text, object_pairs_hook=_once)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
        if not level:
            return value
    raise ValueError("it is nested too deeply")


def _within(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"{twice!r} occurs twice")
    return found


def _parsed(path: Path, kind: str) -> dict[str, Any]:
    text = _bytes(path, _LARGEST, kind)
    try:
        content = parsed_json(text)
    except ValueError as error:
        raise broken(path, kind, error) from error
    if not isinstance(content, dict):
        raise broken(path, kind, "expected an object")
    return content


def _bytes(path: Path, most: int, kind: str) -> bytes:
    """A file's content, if it is a file of at most so many bytes."""
    if not path.is_file():
        raise BrokenFileError(f"{path} does not exist")
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except OSError as error:
        raise BrokenFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > most:
        raise broken(path, kind, f"it has more than {most:,} bytes")
    return content

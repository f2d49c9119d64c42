"""`run.json`: the steps of a run that happened, each with its files and what they were made from.

What a folder holds is what its manifest lists; any other file in it is nobody's. Loads no torch.
"""

import hashlib
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct, field

from pyrogeo._files import read_json, write_json

__all__ = ["Manifest", "Step", "check_name", "digest", "now"]

NAME = "run.json"
_KIND = "a pyrogeo run"
_FORMAT = 2

_NAME = r"\A[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*\Z"
Name = Annotated[str, Meta(pattern=_NAME, max_length=200)]
Digest = Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]
DigestOrNone = Annotated[str, Meta(pattern=r"\A([0-9a-f]{64})?\Z")]
Size = Annotated[int, Meta(ge=0, le=2**60)]
Seconds = Annotated[float, Meta(ge=0, le=1e12)]
Part = Annotated[str, Meta(pattern=r"\A(\.part-[0-9a-f]{1,32})?\Z")]
Word = Annotated[str, Meta(max_length=200)]


def check_name(name: str) -> None:
    """Refuses the name of a step, or of a file in it, that could lead out of the folder.

    Args:
        name: words of letters, digits, dots, dashes and underscores with slashes between.

    Raises:
        ValueError: for another.

    >>> check_name("draws/nuts-2.nc")
    >>> check_name("../elsewhere")
    Traceback (most recent call last):
    ValueError: expected a name of letters, digits, ".", "-" and "_" within the run, got '../elsewhere'
    """
    if not re.match(_NAME, name) or len(name) > 200:
        raise ValueError(
            f'expected a name of letters, digits, ".", "-" and "_" within the run, got {name!r}'
        )


class Step(Struct, frozen=True, forbid_unknown_fields=True):
    """A step that happened.

    Attributes:
        files: their digests (SHA-256) and sizes in bytes, by path within the run.
        inputs: digests of the files that it was made from, by path.
        settings: what was asked for, in JSON's words.
        versions: of the packages that did it.
        seconds: that it took.
        made: when it was committed.
        part: folder in which its files still lie, "" once they were moved to their places.
    """

    files: dict[Name, tuple[Digest, Size]]
    inputs: dict[Name, DigestOrNone] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[Word, Word] = field(default_factory=dict)
    seconds: Seconds = 0.0
    made: Word = ""
    part: Part = ""


class Manifest(Struct, forbid_unknown_fields=True):
    """The content of `run.json`.

    Attributes:
        statement: what was asked for when the run was made.
        created: when.
        versions: of the packages that made it.
        steps: by name, in the order in which they happened.
        leftovers: files of steps that were replaced, which are still to be removed.
    """

    statement: dict[str, Any]
    created: Word
    versions: dict[Word, Word]
    steps: dict[Name, Step] = field(default_factory=dict)
    leftovers: list[Name] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Replaces `run.json` by one rename."""
        write_json(folder / NAME, msgspec.to_builtins(self), _KIND, _FORMAT)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """That of a run folder, also of one that an earlier version wrote.

        Raises:
            ValueError: for a folder that has none, or one that is not whole or of a newer format.
        """
        path = folder / NAME
        if not path.is_file():
            raise ValueError(f"{folder} is not a run folder: it has no {NAME}")
        schemas: dict[int, type[_Earlier | Manifest]] = {1: _Earlier, _FORMAT: Manifest}
        content = read_json(path, _KIND, schemas)
        if isinstance(content, Manifest):
            return content
        return cls(
            content.statement, content.created, content.versions, _earlier_steps(folder, content)
        )

    def digest_of(self, file: str) -> str | None:
        """The digest of a file that some step made; None of one that none did."""
        return next((s.files[file][0] for s in self.steps.values() if file in s.files), None)

    def has_other_inputs(self, name: str) -> bool:
        """Whether files that a step was made from were replaced since."""
        return any(self.digest_of(file) != d for file, d in self.steps[name].inputs.items())

    def is_stale(self, name: str) -> bool:
        """Whether a step was made from files that were replaced since, or made so themselves."""
        seen, todo = {name}, [name]
        while todo:  # a loop, as a manifest from elsewhere may go in circles
            at = todo.pop()
            if self.has_other_inputs(at):
                return True
            inputs = self.steps[at].inputs
            makers = {n for n, s in self.steps.items() if not s.files.keys().isdisjoint(inputs)}
            todo += makers - seen
            seen |= makers
        return False


class _EarlierData(Struct, forbid_unknown_fields=True):
    name: str = "data"
    classes: list[str] = field(default_factory=list)


class _Earlier(Struct, forbid_unknown_fields=True):
    """The content of `run.json` in format 1."""

    created: Word
    state: Literal["empty", "interrupted", "trained"]
    statement: dict[str, Any]
    versions: dict[Word, Word]
    data: _EarlierData = field(default_factory=_EarlierData)


def now() -> str:
    """The time, as the manifest keeps it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _earlier_steps(folder: Path, content: _Earlier) -> dict[str, Step]:
    """What a folder of format 1 holds, told by its files; it had one set of draws."""
    known = {
        "fit": ("vae/vae.json", "vae/weights.safetensors", "history.json", "posterior.safetensors",
                "training.safetensors"),
        "draws/draws": ("draws.nc", "metric.safetensors"),
        "verdict/draws": ("diagnosis.json",),
    }  # fmt: skip
    steps: dict[str, Step] = {}
    for name, files in known.items():
        there = {file: digest(folder / file) for file in files if (folder / file).is_file()}
        if there:
            steps[name] = Step(there, made=content.created, versions=content.versions)
    if "fit" in steps:
        steps["fit"].settings["data"] = msgspec.to_builtins(content.data)
        if content.state != "trained":  # it was killed before it was done
            del steps["fit"]
    return steps

"""`run.json`: the steps of a run that happened, each with its files and what they were made from.

What a folder holds is what its manifest lists; any other file in it is nobody's. Loads no torch.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyrogeo._files import read_json, write_json

__all__ = ["Manifest", "Step", "digest", "now"]

NAME = "run.json"
_KIND = "a pyrogeo run"
_FORMAT = 2


@dataclass(frozen=True)
class Step:
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

    files: dict[str, tuple[str, int]]
    inputs: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    made: str = ""
    part: str = ""


@dataclass
class Manifest:
    """The content of `run.json`.

    Attributes:
        statement: what was asked for when the run was made.
        created: when.
        versions: of the packages that made it.
        steps: by name, in the order in which they happened.
        leftovers: files of steps that were replaced, which are still to be removed.
    """

    statement: dict[str, Any]
    created: str
    versions: dict[str, str]
    steps: dict[str, Step] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)

    def write(self, folder: Path) -> None:
        """Replaces `run.json` by one rename."""
        write_json(folder / NAME, asdict(self), _KIND, _FORMAT)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """That of a run folder, also of one that an earlier version wrote.

        Raises:
            ValueError: for a folder that has none, or one that is not whole or of a newer format.
        """
        path = folder / NAME
        if not path.is_file():
            raise ValueError(f"{folder} is not a run folder: it has no {NAME}")
        content = read_json(path, _KIND, _FORMAT)
        try:
            said = content["statement"], content["created"], content["versions"]
            if int(content["format"]) == 1:
                return cls(*said, _earlier_steps(folder, content))
            steps = {name: Step(**step) for name, step in content["steps"].items()}
            leftovers = list(content.get("leftovers", ()))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is not a whole {_KIND} file: {error}") from error
        return cls(*said, steps, leftovers)

    def digest_of(self, file: str) -> str | None:
        """The digest of a file that some step made; None of one that none did."""
        return next((s.files[file][0] for s in self.steps.values() if file in s.files), None)

    def has_other_inputs(self, name: str) -> bool:
        """Whether files that a step was made from were replaced since."""
        return any(self.digest_of(file) != d for file, d in self.steps[name].inputs.items())

    def is_stale(self, name: str) -> bool:
        """Whether a step was made from files that were replaced since, or made so themselves."""
        if self.has_other_inputs(name):
            return True
        inputs = self.steps[name].inputs
        makers = {
            n for n, s in self.steps.items() if n != name and not s.files.keys().isdisjoint(inputs)
        }
        return any(self.is_stale(maker) for maker in makers)


def now() -> str:
    """The time, as the manifest keeps it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def digest(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), path.stat().st_size


def _earlier_steps(folder: Path, content: dict[str, Any]) -> dict[str, Step]:
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
            steps[name] = Step(there, made=content["created"], versions=content["versions"])
    if "fit" in steps:
        steps["fit"].settings["data"] = content.get("data", {"name": "data", "classes": []})
        if content.get("state") != "trained":  # it was killed before it was done
            del steps["fit"]
    return steps

"""Sets of draws by name: where their files are, and which is the last. Loads no torch."""

import contextlib
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from pyrogeo.run.folder import Folder, NewFiles
from pyrogeo.sampling.methods import METHODS, Method

__all__ = ["Sets", "check_settings", "checked_name"]

_FILES = {
    "draws": ("draws", "draws/{}.nc", "draws.nc"),
    "metric": ("draws", "draws/{}.metric.safetensors", "metric.safetensors"),
    "diagnosis": ("verdict", "draws/{}.verdict.json", "diagnosis.json"),
}


class Sets:
    """The sets of draws of a run folder.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Folder):
        self._folder = folder

    @property
    def names(self) -> tuple[str, ...]:
        """In the order in which they were made, the last one last."""
        steps = self._folder.manifest.steps
        return tuple(n.removeprefix("draws/") for n in steps if n.startswith("draws/"))

    def chosen(self, name: str | None) -> str:
        """A set's name, or that of the last.

        Raises:
            ValueError: for a run without draws, or without those.
        """
        path, names = self._folder.path, self.names
        if not names:
            raise ValueError(f"{path} has no draws yet; sample first")
        if name is not None and name not in names:
            raise ValueError(f"{path} has no draws by {name}; it has {', '.join(names)}")
        return names[-1] if name is None else name

    def path(self, name: str, kind: str) -> str:
        """The path within the run of a set's `"draws"`, `"metric"` or `"diagnosis"`."""
        step, file, earlier = _FILES[kind]
        known = self._folder.manifest.steps.get(f"{step}/{name}")
        # A folder of the first format had one set, in files of other names.
        return earlier if known is not None and earlier in known.files else file.format(name)

    def has(self, kind: str, name: str) -> bool:
        """Whether a set has such a file, and one that is not about earlier draws."""
        step = f"{_FILES[kind][0]}/{name}"
        manifest = self._folder.manifest
        if step not in manifest.steps or self.path(name, kind) not in manifest.steps[step].files:
            return False
        return kind != "diagnosis" or not manifest.is_stale(step)

    def file(self, name: str | None, kind: str) -> Path:
        """Where a set's file lies, by default of the last set.

        Raises:
            ValueError: where there is none.
        """
        name = self.chosen(name)
        if not self.has(kind, name):
            raise ValueError(f"{self._folder.path} holds no {kind} of the draws by {name}")
        return self._folder.file(self.path(name, kind))

    def settings(self, name: str | None = None) -> dict[str, Any]:
        """What was asked for when a set was drawn."""
        return self._folder.manifest.steps[f"draws/{self.chosen(name)}"].settings

    def new_draws(self, name: str, asked: dict[str, Any]) -> AbstractContextManager[NewFiles]:
        """The step that makes a set, as it was asked for."""
        return self._folder.step(f"draws/{name}", ("posterior.safetensors",), asked)

    @contextlib.contextmanager
    def new_verdict(self, name: str) -> Iterator[NewFiles]:
        """The step that judges a set."""
        kinds = [kind for kind in ("draws", "metric") if self.has(kind, name)]
        inputs = tuple(self.path(name, kind) for kind in kinds)
        with self._folder.step(f"verdict/{name}", inputs) as new:
            yield new


def checked_name(name: str) -> str:
    """A name that can be that of a file.

    Raises:
        ValueError: for another.

    >>> checked_name("nuts-2")
    'nuts-2'
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", name):
        raise ValueError(
            f"name: expected letters, digits, dots, dashes and underscores, got {name!r}"
        )
    return name


def check_settings(record: Method, settings: dict[str, Any]) -> None:
    """A misspelt setting is refused before the work; a function of the user's own may take what it likes.

    Args:
        record: of the way of drawing.
        settings: that it was given.

    Raises:
        ValueError: for a setting that it has not.
    """
    unknown = settings.keys() - set(record.settings)
    if unknown and METHODS.get(record.name) is record:
        raise ValueError(
            f"{record.name} has no setting {', '.join(sorted(unknown))}; it has "
            f"{', '.join(record.settings)}"
        )

"""A folder whose steps are whole or have not happened.

A step writes its files into a part of the folder of its own, flushed, and then replaces the manifest: that
one rename is when it happens. The files are moved to their places afterwards; until they are, they are
found where they lie. What a step left that did not come so far is nobody's, and the next one clears it
away. One process writes at a time; reading takes no lock and changes nothing. Loads no torch.
"""

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any
from uuid import uuid4

from pyrogeo._files import flush
from pyrogeo.run.manifest import NAME, Manifest, Step, digest, now

__all__ = ["Folder", "versions"]

_LOCK = ".lock"
_PART = ".part-"
_PACKAGES = ("pyrogeo", "torch", "pyro-ppl", "arviz", "numpy", "scikit-learn", "scipy")


def versions() -> dict[str, str]:
    """Of Python and of the packages whose numbers a run holds."""
    import platform

    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


class Folder:
    """A run folder's files and steps.

    Args:
        path: of a folder with a manifest.

    Raises:
        ValueError: for a folder that has none, or one of a newer format.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as path:
    ...     folder = Folder.create(Path(path) / "run", {})
    ...     with folder.step("greeting", settings={"to": "all"}) as new:
    ...         _ = new("hello.txt").write_text("hello")
    ...     list(folder.manifest.steps), folder.file("hello.txt").read_text()
    (['greeting'], 'hello')
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.manifest = Manifest.read(self.path)

    @classmethod
    def create(cls, path: str | os.PathLike[str], statement: dict[str, Any]) -> "Folder":
        """Makes a folder with a manifest without steps.

        Raises:
            ValueError: for a folder that holds something or cannot be written, and for a statement
                that JSON cannot hold.
        """
        path = Path(path)
        try:
            json.dumps(statement)
        except TypeError as error:
            raise ValueError(f"statement: {error}") from error
        try:
            if path.is_dir() and any(not _is_ours(item) for item in path.iterdir()):
                raise ValueError(f"{path} holds something already; choose a new folder")
            path.mkdir(parents=True, exist_ok=True)
            with _locked(path):
                Manifest(statement, now(), versions()).write(path)
        except OSError as error:
            raise ValueError(f"{path} cannot be written: {error.strerror}") from error
        return cls(path)

    def has(self, step: str) -> bool:
        """Whether a step happened."""
        return step in self.manifest.steps

    def file(self, name: str) -> Path:
        """Where a file of some step lies now.

        Raises:
            ValueError: for a file that no step made, or that vanished.
        """
        for step in self.manifest.steps.values():
            if name in step.files:
                places = [self.path / step.part / name] * bool(step.part) + [self.path / name]
                there = [place for place in places if place.is_file()]
                if there:
                    return there[0]
                raise ValueError(f"{self.path / name} does not exist, though {NAME} lists it")
        raise ValueError(f"{self.path / name} does not exist")

    @contextlib.contextmanager
    def step(
        self, name: str, inputs: tuple[str, ...] = (), settings: dict[str, Any] | None = None
    ) -> Iterator["NewFiles"]:
        """A block that makes files; when it ends without an error, the step has happened.

        Args:
            name: of the step; one of the same name is replaced.
            inputs: files that it is made from.
            settings: what was asked for, in JSON's words.

        Yields:
            from a path within the run to the path to write to.

        Raises:
            ValueError: where another process is writing.
        """
        with self.writing():
            started = time.monotonic()
            made_from = {file: self.manifest.digest_of(file) or "" for file in inputs}
            part = f"{_PART}{uuid4().hex[:12]}"
            new = NewFiles(self.path / part)
            try:
                yield new
                files = {file: digest(path) for file, path in new.paths.items()}
                new.flush()
            except BaseException:
                shutil.rmtree(self.path / part, ignore_errors=True)
                raise
            seconds = round(time.monotonic() - started, 3)
            step = Step(files, made_from, settings or {}, versions(), seconds, now(), part)
            self._commit(name, step)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A block in which no other process writes; what an earlier one left undone is done first.

        Raises:
            ValueError: where another process is writing.
        """
        with _locked(self.path):
            self.manifest = Manifest.read(self.path)
            self._settle()
            yield

    def _commit(self, name: str, step: Step) -> None:
        before = self.manifest.steps.pop(name, None)
        self.manifest.steps[name] = step
        self.manifest.write(self.path)
        self._settle()
        for file in (before.files if before else {}).keys() - step.files.keys():
            (self.path / file).unlink(missing_ok=True)

    def _settle(self) -> None:
        """Moves the files of committed steps to their places, and clears away what was not committed."""
        late = {name: step for name, step in self.manifest.steps.items() if step.part}
        for name, step in late.items():
            for file in step.files:
                source, target = self.path / step.part / file, self.path / file
                if source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(source, target)
            self.manifest.steps[name] = Step(**{**vars(step), "part": ""})
        if late:
            self.manifest.write(self.path)
        for item in self.path.glob(f"{_PART}*"):
            shutil.rmtree(item, ignore_errors=True)


class NewFiles:
    """The files of a step that has not happened yet; called with a path within the run.

    Args:
        folder: where they lie meanwhile.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths: dict[str, Path] = {}

    def __call__(self, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        self.paths[name] = path
        return path

    def flush(self) -> None:
        """Waits until all of it is on the disk."""
        for path in self.paths.values():
            flush(path)
        for folder in {path.parent for path in self.paths.values()}:
            flush(folder)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    try:
        with FileLock(path / _LOCK, timeout=0):
            yield
    except Timeout:
        raise ValueError(
            f"{path} is being written by another process; wait until it is done"
        ) from None


def _is_ours(item: Path) -> bool:
    """Whether it is what a command that was killed leaves before it has made a run."""
    return item.name in (_LOCK, f".{NAME}.part") or item.name.startswith(_PART)

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

from msgspec.structs import replace

from pyrogeo._files import flush, naming
from pyrogeo.errors import BrokenFileError
from pyrogeo.run.manifest import NAME, Manifest, Step, check_name, digest, now

__all__ = ["Folder", "versions"]

_LOCK = ".lock"
_PART = ".part-"
_HALVES = (f".{NAME}.part", ".*.safetensors.part")  # what a kill leaves of a file that was written
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
        self._found_whole: dict[Path, tuple[Any, ...]] = {}

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

    def restart(self, statement: dict[str, Any], removes: tuple[str, ...] = ()) -> None:
        """Begins anew in the same folder, by one rename: no steps, and another statement.

        Args:
            statement: what is asked for now.
            removes: files to remove beside those of the steps.
        """
        with self.writing():
            ours = {file for step in self.manifest.steps.values() for file in step.files}
            self._put(Manifest(statement, now(), versions(), leftovers=sorted({*ours, *removes})))
            self._settle()

    def has(self, step: str) -> bool:
        """Whether a step happened."""
        return step in self.manifest.steps

    def is_whole(self, step: str) -> bool:
        """Whether a step happened and all of its files are there."""
        if not self.has(step):
            return False
        try:
            return all(self.file(file) for file in self.manifest.steps[step].files)
        except ValueError:
            return False

    def file(self, name: str) -> Path:
        """Where a file of some step lies now, after a look at whether it is the one that was made.

        A file that was not written to since the last look is not read again.

        Raises:
            BrokenFileError: for a file that no step made, that vanished, lies elsewhere or is another.
        """
        step = next((step for step in self.manifest.steps.values() if name in step.files), None)
        if step is None:
            raise BrokenFileError(f"{self.path / name} does not exist")
        places = [self.path / step.part / name] * bool(step.part) + [self.path / name]
        place = next((place for place in places if place.is_file()), None)
        if place is None:
            raise BrokenFileError(f"{self.path / name} does not exist, though {NAME} lists it")
        if not place.resolve().is_relative_to(self.path.resolve()):
            raise BrokenFileError(f"{place} is a link to somewhere outside of the run")
        self._check_whole(place, step.files[name])
        return place

    def _check_whole(self, place: Path, expected: tuple[str, int]) -> None:
        now = place.stat()
        seen = (now.st_size, now.st_mtime_ns, now.st_ino, expected)
        if self._found_whole.get(place) == seen:
            return
        if now.st_size != expected[1] or digest(place) != expected:
            raise BrokenFileError(
                f"{place} is not the file that {NAME} lists: it was damaged or replaced; make it anew, or "
                "take it from a copy of the run"
            )
        self._found_whole[place] = seen

    @contextlib.contextmanager
    def step(
        self,
        name: str,
        inputs: tuple[str, ...] = (),
        settings: dict[str, Any] | None = None,
        *,
        statement: dict[str, Any] | None = None,
        removes: tuple[str, ...] = (),
    ) -> Iterator["NewFiles"]:
        """A block that makes files; when it ends without an error, the step has happened.

        Args:
            name: of the step; one of the same name is replaced.
            inputs: files that it is made from.
            settings: what was asked for, in JSON's words.
            statement: of the run from then on; by default the one that it has.
            removes: files that no step lists and that are no longer needed then.

        Yields:
            from a path within the run to the path to write to.

        Raises:
            ValueError: where another process is writing, and for names that are none, see `check_name`.
            OSError: with the file's `filename`, where it cannot be written; all stays as it was.
        """
        check_name(name)
        with self.writing():
            started = time.monotonic()
            made_from = {f: found for f in inputs if (found := self.manifest.digest_of(f))}
            part = f"{_PART}{uuid4().hex[:12]}"
            new = NewFiles(self.path / part)
            try:
                with _naming_the_place(self.path / part, self.path):
                    yield new
                    files = {file: digest(path) for file, path in new.paths.items()}
                    new.flush()
                seconds = round(time.monotonic() - started, 3)
                step = Step(files, made_from, settings or {}, versions(), seconds, now(), part)
                self._commit(name, step, statement or self.manifest.statement, removes)
            except BaseException:
                shutil.rmtree(self.path / part, ignore_errors=True)
                raise
            with contextlib.suppress(OSError):  # it has happened; the next step does the rest
                self._settle()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """A block in which no other process writes; what an earlier one left undone is done first.

        Raises:
            ValueError: where another process is writing.
            OSError: where nothing can be written.
        """
        with _locked(self.path):
            self.manifest = Manifest.read(self.path)
            self._settle()
            yield

    def finish(self) -> None:
        """Does what a step that was killed once it had happened left undone, if anything."""
        manifest = self.manifest
        undone = manifest.leftovers or any(step.part for step in manifest.steps.values())
        if undone or next(self.path.glob(f"{_PART}*"), None):
            with contextlib.suppress(OSError), self.writing():
                pass

    def _commit(
        self, name: str, step: Step, statement: dict[str, Any], removes: tuple[str, ...]
    ) -> None:
        steps = {**self.manifest.steps}
        before = steps.pop(name, None)
        steps[name] = step
        kept = {file for one in steps.values() for file in one.files}
        gone = {*self.manifest.leftovers, *removes, *(before.files if before else ())} - kept
        self._put(replace(self.manifest, statement=statement, steps=steps, leftovers=sorted(gone)))

    def _put(self, manifest: Manifest) -> None:
        manifest.write(self.path)
        self.manifest = manifest

    def _settle(self) -> None:
        """Moves the files of committed steps to their places, and clears away what was not committed."""
        steps, leftovers = self.manifest.steps, self.manifest.leftovers
        for step in steps.values():
            for file in step.files if step.part else ():
                source, target = self.path / step.part / file, self.path / file
                if source.is_file():
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(source, target)
        for file in leftovers:
            (self.path / file).unlink(missing_ok=True)
            for folder in (self.path / file).relative_to(self.path).parents[:-1]:
                with contextlib.suppress(OSError):  # that holds something else
                    os.rmdir(self.path / folder)
        if leftovers or any(step.part for step in steps.values()):
            steps = {name: replace(step, part="") for name, step in steps.items()}
            self._put(replace(self.manifest, steps=steps, leftovers=[]))
        for item in self.path.glob(f"{_PART}*"):
            shutil.rmtree(item, ignore_errors=True)
        for pattern in _HALVES:
            for item in self.path.glob(pattern):
                item.unlink(missing_ok=True)


class NewFiles:
    """The files of a step that has not happened yet; called with a path within the run.

    Args:
        folder: where they lie meanwhile.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.paths: dict[str, Path] = {}

    def __call__(self, name: str) -> Path:
        check_name(name)
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

    lock = FileLock(path / _LOCK, timeout=0)
    with naming(path):
        try:
            lock.acquire()
        except Timeout:
            raise ValueError(
                f"{path} is being written by another process; wait until it is done"
            ) from None
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _naming_the_place(part: Path, place: Path) -> Iterator[None]:
    """An `OSError` about a file that still lies in the part names where it was to go."""
    try:
        yield
    except OSError as error:
        if error.filename is None or not Path(error.filename).is_relative_to(part):
            raise
        file = place / Path(error.filename).relative_to(part)
        raise OSError(error.errno, error.strerror, str(file)) from error


def _is_ours(item: Path) -> bool:
    """Whether it is what a command that was killed leaves before it has made a run."""
    return item.name in (_LOCK, f".{NAME}.part") or item.name.startswith(_PART)

"""A full disk, a read-only folder, a vanished file: one line that names the file, and what was there stays."""

import contextlib
import errno
import os
import resource
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from pyrogeo.cli.errors import one_line
from pyrogeo.errors import SamplingWarning
from pyrogeo.run import Run
from pyrogeo.vae import VAE
from tests.test_kills import LIFE, _without_matplotlib, files, fit, seen  # noqa: F401

pytestmark = pytest.mark.filterwarnings("ignore:the draws by:pyrogeo.errors.SamplingWarning")
BLOCK = 4096


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The folder before each command, and what it says before and after."""
    places = tmp_path_factory.mktemp("life")
    path, found = places / "run", {}
    for number, (name, command) in enumerate(LIFE.items()):
        before = places / str(number)
        if path.exists():
            shutil.copytree(path, before)
        was = seen(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            command(path)
        found[name] = before, was, seen(path)
    return found


def asked(name, path):
    """The exit code of a command and what it prints, as the command line does."""
    app = typer.Typer()

    @app.command()
    def go():
        with one_line():
            LIFE[name](path)

    result = CliRunner().invoke(app, [])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = [line for line in result.output.splitlines() if not line.startswith("warning: ")]
    return result.exit_code, lines


def check_one_line(lines, path):
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert str(path) in lines[0]
    assert ".part" not in lines[0]


def copied(before, path):
    shutil.rmtree(path, ignore_errors=True)
    if before.exists():
        shutil.copytree(before, path)


@contextlib.contextmanager
def no_file_above(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def sizes(before, command, path, monkeypatch):
    """Of all writes of a command."""
    copied(before, path)
    found, write = set(), os.write

    def noted(descriptor, content):
        if descriptor > 2:
            found.add(len(content))
        return write(descriptor, content)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", noted)
        command(path)
    return found


@pytest.mark.parametrize("name", LIFE)
def test_no_file_can_be_larger(name, life, tmp_path, monkeypatch, record_property):
    """At every size that is written, and one byte below."""
    before, was, after = life[name]
    path = tmp_path / "run"
    limits = sorted(sizes(before, LIFE[name], path, monkeypatch))
    record_property("limits on the size of a file, at each size that is written", len(limits))
    for size in limits:
        copied(before, path)
        with no_file_above(size - 1):
            code, lines = asked(name, path)
        there = seen(path)
        if code == 0:
            assert there == after
        else:
            check_one_line(lines, path)
            assert "File too large" in lines[0]
            assert there == was
            assert not [f for f in files(path) if ".part" in f and "part-" not in f]
        LIFE[name](path)
        assert seen(path) == after


@pytest.fixture(scope="module")
def small_disk():
    """A file system of 512 KiB, outside of what pytest clears away."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    place = Path(tempfile.mkdtemp(prefix="small-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        place.rmdir()
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)
    place.rmdir()


def fill(place, left):
    """Until so many bytes are left."""
    (place / "ballast").unlink(missing_ok=True)
    free = os.statvfs(place).f_bavail * os.statvfs(place).f_bsize
    (place / "ballast").write_bytes(bytes(max(0, free - left)))


@pytest.mark.parametrize("name", LIFE)
def test_a_disk_that_is_full(name, life, small_disk, record_property):
    """With no room at all, and with a page more each time, until the command succeeds."""
    before, was, after = life[name]
    path, failed = small_disk / "run", 0
    for pages in range(0, 100):
        (small_disk / "ballast").unlink(missing_ok=True)
        copied(before, path)
        fill(small_disk, BLOCK * pages)
        code, lines = asked(name, path)
        if code == 0:
            assert _ends_so(name, path, small_disk, after)
            break
        failed += 1
        check_one_line(lines, path)
        assert "No space left on device" in lines[0]
        assert seen(path) == was
        if pages % 4 == 0:
            assert _ends_so(name, path, small_disk, after)
    assert code == 0
    assert failed > 0
    record_property("full disks, a page more of room each time", failed)


def _ends_so(name, path, disk, after):
    (disk / "ballast").unlink()
    LIFE[name](path)
    return seen(path) == after


@pytest.mark.parametrize("name", LIFE)
def test_a_folder_that_may_only_be_read(name, life, small_disk, record_property):
    before, was, _ = life[name]
    path = small_disk / "run"
    (small_disk / "ballast").unlink(missing_ok=True)
    copied(before, path)
    remount = ["mount", "-o", "remount,{}", str(small_disk)]
    subprocess.run([word.format("ro") for word in remount], check=True)
    try:
        code, lines = asked(name, path)
        there = seen(path)
    finally:
        subprocess.run([word.format("rw") for word in remount], check=True)
    assert code == 1
    check_one_line(lines, path)
    assert os.strerror(errno.EROFS) in lines[0]
    assert there == was
    record_property("commands on a file system that may only be read", 1)


@pytest.mark.parametrize("name", [name for name in LIFE if name != "fit"])
def test_a_file_that_vanished(name, life, tmp_path, record_property):
    """The command makes it again, or does without it, or says that it is not there."""
    before, was, after = life[name]
    listed = [len(step.files) for step in Run(before).store.manifest.steps.values()]
    record_property("files of a run that vanished before a command", sum(listed))
    for step in Run(before).store.manifest.steps.values():
        for file in step.files:
            path = tmp_path / "run"
            copied(before, path)
            (path / file).unlink()
            code, lines = asked(name, path)
            if code:
                check_one_line(lines, path)
                shutil.copy(before / file, path / file)
                assert seen(path) == was
                LIFE[name](path)
                assert seen(path) == after


def test_a_folder_that_vanishes_in_training(tmp_path, monkeypatch):
    path, model = tmp_path / "run", VAE.model

    def vanishing(self, *args, **options):
        shutil.rmtree(path, ignore_errors=True)
        return model(self, *args, **options)

    monkeypatch.setattr(VAE, "model", vanishing)
    with pytest.raises(OSError, match="No such file or directory") as error:
        fit(path)
    assert Path(error.value.filename).is_relative_to(path)

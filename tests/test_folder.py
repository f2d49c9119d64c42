"""A step of a run is whole or has not happened, whatever interrupts it, and reading changes nothing."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report, summary
from pyrogeo.run import Run
from pyrogeo.run.folder import Folder
from tests.test_run import FAST, some_data

EARLIER = Path(__file__).parent / "data" / "run-1"
CALLS = ("replace", "fsync", "unlink", "mkdir")


class Killed(BaseException):
    """What no code catches, as a kill."""


@pytest.fixture
def folder(tmp_path):
    return Folder.create(tmp_path / "run", {"purpose": "tests"})


def put(folder, name, inputs=(), **files):
    with folder.step(name, tuple(inputs)) as new:
        for file, text in files.items():
            new(f"{file}.txt").write_text(text)


def content(path):
    """Every file with its bytes, but for the lock."""
    files = [f for f in sorted(path.rglob("*")) if f.is_file() and f.name != ".lock"]
    return {str(f.relative_to(path)): f.read_bytes() for f in files}


def killed_at(number, monkeypatch, call):
    """Whether the `number`th file operation, where the call is killed, was reached."""
    left = iter(range(number))
    with monkeypatch.context() as patch:
        for name in CALLS:
            operation = getattr(os, name)

            def one(*args, operation=operation, **options):
                if next(left, None) is None:
                    raise Killed
                return operation(*args, **options)

            patch.setattr(os, name, one)
        try:
            call()
        except Killed:
            return True
    return False


def test_a_step_that_fails_leaves_nothing(folder):
    put(folder, "one", a="first")
    before = content(folder.path)

    def failing():
        with folder.step("one") as new:
            new("a.txt").write_text("second")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        failing()
    assert content(folder.path) == before
    assert Folder(folder.path).file("a.txt").read_text() == "first"


@pytest.mark.parametrize("number", range(40))
def test_killed_before_every_file_operation_of_a_step(folder, monkeypatch, number):
    put(folder, "one", a="first", b="first")

    def second():
        put(Folder(folder.path), "one", a="second", c="second")

    killed = killed_at(number, monkeypatch, second)
    now = Folder(folder.path)
    found = {
        name: now.file(f"{name}.txt").read_text()
        for name in "abc"
        if now.manifest.digest_of(f"{name}.txt")
    }
    assert found in ({"a": "first", "b": "first"}, {"a": "second", "c": "second"})
    second()
    again = Folder(folder.path)
    assert {again.file(f"{name}.txt").read_text() for name in "ac"} == {"second"}
    assert not list(folder.path.glob(".part-*"))
    if number == 39:
        assert not killed  # there are no more operations than were tried


def test_killed_before_the_file_operations_of_a_run(tmp_path, monkeypatch):
    """Fit, sample, diagnose and decode, killed and called again, end as if nothing had happened."""

    def all_of_it(path):
        run = Run(path) if (path / "run.json").is_file() else Run.create(path)
        if run.state != "trained":
            torch.manual_seed(0)
            vae = standard_vae((1, 8, 8), 2, hidden=(4,))
            run.fit(vae, some_data(), epochs=1, seed=0, progress=False)
        run.sample(5, "mixture", seed=0, replace=True)
        run.diagnose()
        run.decode(replace=True)
        return run

    whole = all_of_it(tmp_path / "whole")
    number, killed = 0, True
    while killed:
        path = tmp_path / f"killed-{number}"
        killed = killed_at(number, monkeypatch, lambda path=path: all_of_it(path))
        again = all_of_it(path)
        np.testing.assert_array_equal(again.draws().posterior["z"], whole.draws().posterior["z"])
        assert str(again.diagnosis()) == str(whole.diagnosis())
        for ours, theirs in zip(again.vae().parameters(), whole.vae().parameters(), strict=True):
            assert torch.equal(ours, theirs)
        shutil.rmtree(path)
        number += 5
    assert number > 50


def test_inputs_that_were_replaced_make_stale(folder):
    put(folder, "draws", z="1")
    put(folder, "verdict", ["z.txt"], v="pass")
    put(folder, "page", ["v.txt"], p="pass!")
    assert not folder.manifest.is_stale("page")
    put(folder, "draws", z="2")
    assert folder.manifest.is_stale("verdict")
    assert folder.manifest.is_stale("page")
    put(folder, "verdict", ["z.txt"], v="disagree")
    assert not folder.manifest.is_stale("verdict")
    assert folder.manifest.is_stale("page")


def test_one_process_writes_at_a_time(folder):
    with folder.writing(), pytest.raises(ValueError, match="written by another process"):
        put(Folder(folder.path), "one", a="1")


def test_several_sets_of_draws(tmp_path):
    run = Run.create(tmp_path / "run")
    torch.manual_seed(0)
    vae = standard_vae((1, 8, 8), 2, hidden=(16,))
    run.fit(vae, some_data(), epochs=1, seed=0, progress=False)
    run.sample(8, "nuts", **FAST)
    run.sample(50, "mixture", name="clean", metric=run.make_metric(20), seed=0)
    run.sample(10, "prior", num_chains=3, seed=0)
    assert run.sets.names == ("nuts", "clean", "prior")
    assert run.draws().posterior.sizes["chain"] == 3
    assert (run.metric("nuts").n_centroids, run.metric("clean").n_centroids) == (60, 20)
    assert run.sets.settings("nuts")["warmup_steps"] == 10
    run.diagnose("nuts")
    assert run.diagnosis("nuts") is not None
    assert run.diagnosis("clean") is None
    with pytest.raises(ValueError, match="no draws by exact; it has nuts, clean, prior"):
        run.draws("exact")
    with pytest.raises(ValueError, match="nuts has no setting num_step; it has"):
        run.sample(5, "nuts", name="other", num_step=3)
    with pytest.raises(ValueError, match="name: expected letters"):
        run.sample(5, "nuts", name="../elsewhere")
    said = summary(run)
    assert said.index("draws nuts: 2 chains of 8") < said.index("draws clean: 4 chains of 50")
    before = content(run.folder)
    page = report(run.folder, tmp_path / "page.html").read_text()
    for words in ("The verdict on nuts", "The verdict on prior", "was not asked for"):
        assert words in page
    assert content(run.folder) == before  # reading changes nothing
    run.sample(9, "nuts", replace=True, **FAST)
    assert run.diagnosis("nuts") is None
    assert "stale, of earlier draws" in summary(run)


def test_draws_of_one_s_own(tmp_path):
    run = Run.create(tmp_path / "run")
    vae = standard_vae((5,), 2, hidden=(8,), likelihood="normal")
    run.fit(vae, some_data((5,)), epochs=1, seed=0, progress=False)

    def diffusion(metric, num_samples, **settings):
        from pyrogeo.sampling.draws import to_arviz

        z = np.random.default_rng(settings["start"]).normal(size=(2, num_samples, 2))
        return to_arviz({"z": z}, {})

    run.sample(30, diffusion, start=3)
    assert run.sets.names == ("diffusion",)
    assert run.diagnose().verdict in ("pass", "too short", "cannot tell", "disagree")


def test_a_folder_of_an_earlier_version(tmp_path):
    path = shutil.copytree(EARLIER, tmp_path / "run")
    before = content(path)
    run = Run(path)
    assert run.state == "trained"
    assert run.classes == ("a", "b", "c")
    assert run.sets.names == ("draws",)
    assert run.draws().posterior.sizes["draw"] == 10
    assert run.diagnosis().verdict in summary(run)
    assert run.metric().n_centroids == 40
    page = " ".join(report(path, tmp_path / "page.html").read_text().split())
    assert content(path) == before
    assert "too little of the chains to tell whether they agree" in page  # R-hat 1.21, ESS 16
    assert "Nothing speaks against" not in page
    run.sample(5, "mixture", seed=0)
    assert Run(path).sets.names == ("draws", "mixture")
    assert Run(path).draws("draws").posterior.sizes["draw"] == 10

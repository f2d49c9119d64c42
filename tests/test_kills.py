"""Whatever kills a command at whichever file operation, the same command ends as if nothing had happened.

Each command of a short life of a run is killed before, and after or halfway through, every one of its file
operations, and called again: arrays, figures and steps are then those of the undisturbed run, to the bit.
Only dates and times may differ, and what a reader sees in between is the state before or the one after.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from pyrogeo._files import write_bytes
from pyrogeo.jobs import demo
from pyrogeo.jobs.fit import train
from pyrogeo.jobs.sample import sample_run
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import page, pictures, report, summary
from pyrogeo.run import Run
from pyrogeo.sampling.draws import group_arrays, read_draws
from tests.dying import Dying
from tests.test_run import some_data

DATA = some_data((3,))
EITHER = ("before", "after")


def fit(path, **options):
    torch.manual_seed(0)
    vae = standard_vae((3,), 2, hidden=(2,), likelihood="normal")
    train(path, DATA, vae, batch_size=60, progress=False, **{"epochs": 1, **options})


def sample(path, n=4, **options):
    sample_run(path, n, "mixture", n_centroids=5, settings={"num_chains": 2}, **options)


#: a life of a run, in which every command has what it needs from those before
LIFE = {
    "fit": fit,
    "fit, one epoch more": lambda path: fit(path, epochs=2),
    "sample": sample,
    "diagnose": lambda path: Run(path).diagnose(),
    "decode": lambda path: Run(path).decode(),
    "report": lambda path: report(path),
    "plot": lambda path: pictures.draw(path),
    "sample other draws": lambda path: sample(path, 5, replace=True),
    "sample from the prior": lambda path: sample_run(path, 4, "prior"),
    "decode the other draws": lambda path: Run(path).decode("mixture", replace=True),
    "report anew": lambda path: report(path, replace=True),
    "plot without a metric": lambda path: pictures.draw(path, name="prior", replace=True),
    "fit anew": lambda path: fit(path, learning_rate=0.1, force=True),
    "sample anew": lambda path: sample(path, 5, replace=True),
}


@pytest.fixture(autouse=True)
def _pictures_of_a_word(monkeypatch):
    """What matplotlib draws is the same bytes whatever happened, and takes its time."""
    monkeypatch.setattr(page, "_image", lambda picture: picture.name)
    monkeypatch.setattr(pictures, "save", lambda figure, path: write_bytes(path, b"a picture"))
    monkeypatch.setattr(pictures.Picture, "make", lambda self: None, raising=False)


def seen(path):
    """All that a run tells its reader, without dates and times."""
    if not (path / "run.json").exists():
        return {}
    run = Run(path)
    found = {"statement": run.statement, "info": undated(summary(run))}
    for name, step in run.store.manifest.steps.items():
        found[name] = (sorted(step.files), step.settings, run.store.manifest.is_stale(name))
        for file in step.files:
            found[file] = content(run.store.file(file))
    if run.has("history"):
        found["vae"] = {k: v.tolist() for k, v in run.vae().state_dict().items()}
    if (path / "report.html").exists():
        found["report.html"] = undated((path / "report.html").read_text())
    return found


def content(file):
    if file.suffix == ".nc":
        draws = read_draws(file)
        groups = {group: group_arrays(draws, group) for group in ("posterior", "sample_stats")}
        return {g: {k: v.tolist() for k, v in arrays.items()} for g, arrays in groups.items()}
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {k: v.tolist() for k, v in arrays.items()}
    return file.read_bytes()


def undated(text):
    text = re.sub(r"created \S+|, \d+ s$|content=\"[0-9a-f]{64}", "", text, flags=re.MULTILINE)
    return re.sub(r"^.*(/| )(run|killed)\b", "run", text, flags=re.MULTILINE)


def files(path):
    return {str(f.relative_to(path)) for f in path.rglob("*") if f.name != ".lock"}


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The folder before each command and after the last, of a run that nothing disturbed."""
    places = tmp_path_factory.mktemp("life")
    with pytest.MonkeyPatch.context() as patch:
        _pictures_of_a_word.__wrapped__(patch) if hasattr(_pictures_of_a_word, "__wrapped__") else None
        path = places / "run"
        found = {}
        for number, (name, command) in enumerate(LIFE.items()):
            before = places / str(number) / "run"
            if path.exists():
                shutil.copytree(path, before)
            command(path)
            found[name] = before, seen(path), files(path)
    return found


@pytest.mark.filterwarnings("ignore:the draws by:pyrogeo.errors.SamplingWarning")
@pytest.mark.parametrize("name", LIFE)
def test_every_command_killed_at_every_file_operation(name, life, tmp_path, monkeypatch):
    before, expected, expected_files = life[name]
    path = tmp_path / "run"
    earlier, done, number = (seen(before) if before.exists() else {}), set(), 0
    while True:
        for where in EITHER:
            shutil.rmtree(path, ignore_errors=True)
            if before.exists():
                shutil.copytree(before, path)
            dying = Dying(number, where)
            with dying.process(monkeypatch):
                LIFE[name](path)
            state = on_disk(path)
            if state in done:
                continue
            done.add(state)
            there = seen(path)
            for key in there.keys() - {"info", "statement"}:
                assert there[key] in (earlier.get(key), expected.get(key)), (number, where, key)
            LIFE[name](path)
            assert seen(path) == expected, (number, where)
            assert files(path) == expected_files, (number, where)
        if not dying.dead:
            break
        number += 1
    assert number > 5


def on_disk(path):
    """The state of a folder, in which a part's random name does not count."""
    found = []
    for file in sorted(path.rglob("*")):
        name = re.sub(r"\.part-\w+", ".part-", str(file.relative_to(path)))
        text = file.read_bytes() if file.is_file() else b""
        found.append((name, re.sub(rb"\.part-\w+|\d\d:\d\d:\d\d|\d+\.\d+", b"", text)))
    return tuple(found)

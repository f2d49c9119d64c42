"""Whatever kills a command at whichever file operation, the same command ends as if nothing had happened.

The folder is looked at before, after and halfway through every file operation of every command of a short life
of a run. Whatever is there then is what a kill leaves: a reader sees the state before the command or the one
after, and the same command ends in the arrays, figures and steps of the undisturbed run, to the bit. Only
dates and times may differ.
"""

import hashlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import time
import warnings
from functools import partial
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pyrogeo import plots
from pyrogeo._files import write_bytes
from pyrogeo.errors import SamplingWarning
from pyrogeo.jobs import demo
from pyrogeo.jobs.fit import train
from pyrogeo.jobs.sample import sample_run
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import page, pictures, report
from pyrogeo.reports.pictures import Picture
from pyrogeo.run import Run
from tests.dying import moments
from tests.test_run import some_data

DATA = some_data((3,))


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
    "sample from the prior": lambda path: sample_run(path, 4, "prior", settings={"num_chains": 2}),
    "plot fewer pictures": lambda path: pictures.draw(path, name="prior", replace=True),
    "fit anew": lambda path: fit(path, learning_rate=0.1, force=True),
    "sample anew": lambda path: sample(path, 5, replace=True),
    "report anew": lambda path: report(path, replace=True),
}


@pytest.fixture(scope="module", autouse=True)
def _without_matplotlib():
    """A picture is a word, the same bytes whatever happened."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_image", lambda picture: picture.name)
        patch.setattr(pictures, "save", lambda figure, path: write_bytes(path, b"a picture"))
        patch.setattr(demo, "save", pictures.save)
        for plot in ("history", "reconstructions", "latent_space", "images", "chains", "spectrum"):
            patch.setattr(plots, plot, lambda *args, **options: None)
        patch.setattr(pictures, "_latent", lambda run, sets: Picture("latent", *"...", make=str))
        yield


def seen(path):
    """All that a run tells its reader, without dates and times."""
    if not (path / "run.json").exists():
        return {}
    run = Run(path)
    found = {}
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
    """Of arrays, their bytes; of other files, theirs."""
    if file.suffix == ".nc":
        with h5py.File(file) as draws:
            groups = [draws["posterior"], draws["sample_stats"]] if "sample_stats" in draws else []
            found = [(name, x[()]) for g in groups for name, x in g.items()]
        # of words the array holds pointers
        return [(n, x.tolist() if x.dtype == object else x.tobytes()) for n, x in found]
    if file.suffix == ".npz":
        with np.load(file) as arrays:
            return {name: array.tobytes() for name, array in arrays.items()}
    return file.read_bytes()


def undated(text):
    text = re.sub(r"created \S+|, \d+ s$|content=\"[0-9a-f]{64}", "", text, flags=re.MULTILINE)
    return re.sub(r"[^\s>]*/run: ", "run: ", text, flags=re.MULTILINE)


def files(path):
    return {str(f.relative_to(path)) for f in path.rglob("*") if f.name != ".lock"}


class States:
    """Copies of a folder at all moments at which it was in another state."""

    def __init__(self, path, places):
        self.path, self.places, self.known, self.moments = path, places, set(), 0

    def __call__(self):
        self.moments += 1
        if not self.path.exists():
            return
        state = self._state()
        if state not in self.known:
            shutil.copytree(self.path, self.places / str(len(self.known)) / "run")
            self.known.add(state)

    def _state(self):
        """Every file with its bytes; but of what no reader looks at, only that it is there."""
        manifest = self.path / "run.json"
        listed = manifest.read_text() if manifest.exists() else ""
        found = []
        for file in self.path.rglob("*"):
            part = re.search(r"\.part-\w+", str(file))
            if file.name.endswith(".part"):
                found.append(file.name)
            elif part and part[0] not in listed:
                found.append(".part-")
            else:
                text = file.read_bytes() if file.is_file() else b""
                found.append((str(file), hashlib.sha256(text).digest()))
        return frozenset(found)


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """The states during each command, what it ends in, and the number of moments."""
    path, found = tmp_path_factory.mktemp("life") / "run", {}
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        for name, command in LIFE.items():
            before = seen(path)
            states = States(path, tmp_path_factory.mktemp("states"))
            if path.exists():
                shutil.copytree(path, states.places / "before" / "run")
            with moments(patch, states):
                command(path)
            found[name] = states, before, seen(path), files(path)
    return found


@pytest.mark.filterwarnings("ignore:the draws by:pyrogeo.errors.SamplingWarning")
@pytest.mark.parametrize("name", LIFE)
def test_every_command_killed_at_every_file_operation(name, life, record_property):
    states, before, after, expected_files = life[name]
    assert states.moments > 10
    # Nothing but what the manifest lists.
    assert {f for f in expected_files if Path(f).suffix} - {"run.json"} == {
        f for f in after if "." in f
    }
    for state in sorted(states.places.glob("[0-9]*"), key=lambda place: int(place.name)):
        path = state / "run"
        there = seen(path)
        for key in there:
            assert there[key] in (before.get(key), after.get(key)), (state.name, key)
        LIFE[name](path)
        again = seen(path)
        assert again.keys() == after.keys()
        assert [k for k in after if again[k] != after[k]] == [], state.name
        assert files(path) == expected_files, state.name
    record_property(
        "moments of a command, before, halfway and after each file operation", states.moments
    )
    record_property(
        "folders that a kill can leave: the same command ends in the same bits", len(states.known)
    )


def test_a_demo_killed_now_and_then(tmp_path, monkeypatch):
    """At some five of its moments; the same demo goes on from there, to the same figures."""
    monkeypatch.setattr(demo, "digits", lambda: some_data((1, 8, 8)))
    vae = partial(standard_vae, hidden=(4,))
    monkeypatch.setattr(demo, "standard_vae", vae)
    quick = {"epochs": 1, "num_samples": 6, "num_chains": 2, "progress": False}
    run = partial(demo.run, method="mixture", **quick)
    states = States(tmp_path / "run", tmp_path / "states")
    with moments(monkeypatch, states):
        run(tmp_path / "run")
    after = seen(tmp_path / "run")
    numbers = sorted(int(place.name) for place in states.places.iterdir())
    for number in numbers[:: max(1, len(numbers) // 4)]:
        path = states.places / str(number) / "run"
        run(path)
        assert seen(path) == after, number
        assert files(path) == files(tmp_path / "run"), number


def test_a_demo_of_other_settings_begins_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "digits", lambda: some_data((1, 8, 8)))
    monkeypatch.setattr(demo, "standard_vae", partial(standard_vae, hidden=(4,)))
    quick = {"epochs": 1, "num_samples": 6, "progress": False}
    demo.run(tmp_path / "run", method="mixture", **quick)
    (tmp_path / "run" / "notes.txt").write_text("the user's own")
    demo.run(tmp_path / "run", method="exact", **quick)
    assert (tmp_path / "run" / "notes.txt").exists()
    assert not (tmp_path / "run" / "draws" / "mixture.nc").exists()
    assert Run(tmp_path / "run").sets.names == ("exact",)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:the draws by:pyrogeo.errors.SamplingWarning")
@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_sixty_kills_at_random_times(life, tmp_path, record_property):
    """Real ones, of processes of their own."""
    rng, path, killed = random.Random(0), tmp_path / "run", 0
    names = [name for name in LIFE for _ in range(5)][:60]
    for name in names:
        states, _, after, expected_files = life[name]
        took = _seconds(name, states, path)
        _put_before(states, path)
        process = multiprocessing.get_context("fork").Process(target=LIFE[name], args=(path,))
        process.start()
        time.sleep(rng.uniform(0, took))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        LIFE[name](path)
        assert seen(path) == after, name
        assert files(path) == expected_files, name
    assert killed > 30
    record_property("SIGKILLs at random times, of commands that had not ended", killed)


def _put_before(states, path):
    shutil.rmtree(path, ignore_errors=True)
    if (states.places / "before").exists():
        shutil.copytree(states.places / "before" / "run", path)


def _seconds(name, states, path):
    _put_before(states, path)
    start = time.monotonic()
    LIFE[name](path)
    return time.monotonic() - start

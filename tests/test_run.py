import json
import shutil

import numpy as np
import pytest
import torch
from torch import nn

import pyrogeo as pg
from pyrogeo.datasets import Dataset
from pyrogeo.errors import BrokenFileError
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import pictures as figures
from pyrogeo.reports import summary
from pyrogeo.run import Run
from pyrogeo.run.manifest import Manifest, digest
from tests.conftest import small_vae

FAST = {"num_chains": 2, "warmup_steps": 10, "seed": 0, "progress": False}


def some_data(event=(1, 8, 8), labels=True):
    generator = torch.Generator().manual_seed(0)
    parts = [torch.rand(n, *event, generator=generator) for n in (60, 10, 10)]
    return Dataset(*parts, *((torch.arange(len(p)) % 3 for p in parts) if labels else ()))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with everything in it."""
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", note="digits of chance")
    torch.manual_seed(0)
    run.fit(standard_vae((1, 8, 8), 2, hidden=(16,)), some_data(), epochs=3, seed=0, progress=False)
    run.sample(20, **FAST)
    run.diagnose()
    return run.folder


@pytest.fixture
def copy(finished, tmp_path):
    return Run(shutil.copytree(finished, tmp_path / "elsewhere"))


def test_a_folder_that_was_moved_holds_everything(copy):
    data = some_data()
    vae = copy.vae()
    posterior = copy.posterior()
    torch.testing.assert_close(posterior.mean, vae.embed(data.train).mean)
    torch.testing.assert_close(posterior.stddev, vae.embed(data.train).stddev)
    embeddings, labels = copy.embeddings()
    assert torch.equal(labels, data.train_labels)
    assert torch.equal(embeddings, posterior.mean)
    assert torch.equal(copy.examples(), data.test)
    assert copy.history().table.shape == (3, 3)
    assert copy.draws().posterior["z"].shape == (2, 20, 2)
    assert copy.metric().n_centroids == 60
    assert copy.statement == {"note": "digits of chance"}
    said = summary(copy)
    for words in (
        "trained",
        "digits of chance",
        "3 epochs",
        "2 chains of 20",
        "verdict: ",
        "torch 2",
    ):
        assert words in said
    assert not list(copy.folder.rglob("*.pt")) + list(copy.folder.rglob("*.pkl"))


def test_full_covariances_are_kept(tmp_path):
    run = Run.create(tmp_path / "run")
    vae = standard_vae((5,), 3, hidden=(8,), guide="full", likelihood="normal")
    run.fit(vae, some_data((5,), labels=False), epochs=1, seed=0, progress=False)
    assert isinstance(run.posterior(), torch.distributions.MultivariateNormal)
    run.sample(5, **FAST)
    assert type(run.metric()).__name__ == "FullCentroidMetric"
    assert run.embeddings()[1] is None


def test_nothing_is_replaced_silently(copy):
    for call, message in [
        (lambda: Run.create(copy.folder), "holds something already"),
        (lambda: copy.fit(small_vae(), some_data()), "holds a trained VAE already"),
        (lambda: copy.sample(5), "has draws already"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()
    copy.sample(6, replace=True, **FAST)
    assert copy.draws().posterior.sizes["draw"] == 6
    assert not copy.has("diagnosis")  # that was of other draws
    path = copy.decode()
    with np.load(path) as decoded:
        assert decoded["data"].shape == (2, 6, 1, 8, 8)
        expected = copy.vae().decode(torch.from_numpy(decoded["z"][1])).mean
        np.testing.assert_allclose(decoded["data"][1], expected, atol=1e-6)
    assert copy.decode() == path
    copy.sample(7, replace=True, **FAST)
    with pytest.raises(ValueError, match="exists already, .* its input was made anew"):
        copy.decode()
    copy.decode(replace=True)


def test_pictures(copy):
    paths = figures.draw(copy.folder)
    assert {p.stem for p in paths} == {
        "history", "reconstructions", "latent", "chains", "spectrum", "samples",
    }  # fmt: skip
    assert figures.draw(copy.folder) == paths
    copy.sample(6, replace=True, **FAST)
    with pytest.raises(ValueError, match=r"has history.png, .* already"):
        figures.draw(copy.folder)
    assert figures.draw(copy.folder, replace=True) == paths


def test_an_interrupted_run_continues(tmp_path, monkeypatch):
    torch.manual_seed(0)
    vae = standard_vae((1, 8, 8), 2, hidden=(16,))
    start = {k: v.clone() for k, v in vae.state_dict().items()}
    options = {"epochs": 4, "seed": 0, "progress": False}
    whole = Run.create(tmp_path / "whole").fit(vae, some_data(), **options)
    run = Run.create(tmp_path / "broken")
    calls = iter(range(10**6))
    model = pg.VAE.model

    def interrupted(self, *args):
        if next(calls) == 4:
            raise KeyboardInterrupt
        return model(self, *args)

    monkeypatch.setattr(pg.VAE, "model", interrupted)
    vae.load_state_dict(start)
    assert run.fit(vae, some_data(), **options).stopped == "interrupted"
    assert run.state == "interrupted"
    again = Run(run.folder)
    vae.load_state_dict(start)
    history = again.fit(vae, some_data(), **options)
    np.testing.assert_array_equal(history.table, whole.table)
    assert again.state == "trained"
    assert not (run.folder / "checkpoint.safetensors").exists()
    for ours, theirs in zip(
        Run(tmp_path / "whole").vae().parameters(), again.vae().parameters(), strict=True
    ):
        assert torch.equal(ours, theirs)


def test_parts_of_one_s_own(tmp_path):
    run = Run.create(tmp_path / "run")
    vae = small_vae()
    run.fit(vae, some_data(), epochs=1, seed=0, progress=False)
    run.sample(5, **FAST)
    with pytest.raises(ValueError, match="its author's own parts"):
        run.vae()
    with pytest.raises(ValueError, match="its author's own parts"):
        run.decode()
    other = small_vae()
    other.load_weights(run.folder / "vae")
    run.decode(vae=other)
    figures.draw(run.folder, other)


@pytest.mark.parametrize(
    ("spoil", "call", "message"),
    [
        (lambda f: (f / "run.json").unlink(), Run, "it has no run.json"),
        (lambda f: (f / "run.json").write_text("{"), Run, "not a whole a pyrogeo run|not a whole"),
        (
            lambda f: (f / "run.json").write_text('{"kind": "x"}'),
            Run,
            "holds x, expected a pyrogeo run",
        ),
        (
            lambda f: (f / "run.json").write_text('{"kind": "a pyrogeo run", "format": 7}'),
            Run,
            "written by a newer pyrogeo",
        ),
        (
            lambda f: (f / "draws" / "nuts.nc").write_bytes(b"CDF"),
            lambda f: Run(f).draws(),
            "nuts.nc is not the file that run.json lists",
        ),
        (
            lambda f: (f / "draws" / "nuts.nc").unlink(),
            lambda f: Run(f).draws(),
            "nuts.nc does not exist, though run.json lists it",
        ),
        (
            lambda f: (f / "posterior.safetensors").unlink(),
            lambda f: Run(f).posterior(),
            "posterior.safetensors does not exist, though run.json lists it",
        ),
        (
            lambda f: (f / "draws" / "nuts.metric.safetensors").write_bytes(b"0"),
            lambda f: Run(f).metric(),
            "metric.safetensors is not the file that run.json lists",
        ),
        (
            lambda f: (f / "history.json").write_text(json.dumps({"kind": "a training history"})),
            lambda f: Run(f).history(),
            "history.json is not the file that run.json lists",
        ),
    ],
)
def test_broken_folders(copy, spoil, call, message):
    spoil(copy.folder)
    with pytest.raises(ValueError, match=message):
        call(copy.folder)


@pytest.mark.parametrize(
    ("file", "content", "call", "message"),
    [
        ("draws/nuts.nc", "CDF", Run.draws, "not a whole file"),
        ("draws/nuts.metric.safetensors", "0", Run.metric, "not a whole safetensors"),
        ("history.json", '{"kind": "a training history"}', Run.history, "does not say the version"),
        ("history.json", '{"kind": "a diagnosis"}', Run.history, "holds a diagnosis, expected"),
        ("history.json", "[" * 10**5, Run.history, "nested too deeply"),
    ],
)
def test_broken_files_that_the_manifest_vouches_for(copy, file, content, call, message):
    (copy.folder / file).write_text(content)
    manifest = Manifest.read(copy.folder)
    for step in manifest.steps.values():
        if file in step.files:
            step.files[file] = digest(copy.folder / file)
    manifest.write(copy.folder)
    with pytest.raises(BrokenFileError, match=message):
        call(Run(copy.folder))


def test_files_outside_of_the_run_are_not_read(copy, tmp_path):
    file = copy.folder / "history.json"
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(BrokenFileError, match="a link to somewhere outside of the run"):
        copy.history()
    for name in ("../elsewhere.json", str(tmp_path / "elsewhere.json"), "a/../../b", "a//b", ""):
        text = (copy.folder / "run.json").read_text().replace('"history.json"', json.dumps(name))
        (tmp_path / "other").mkdir(exist_ok=True)
        (tmp_path / "other" / "run.json").write_text(text)
        with pytest.raises(BrokenFileError, match="not a whole pyrogeo run"):
            Run(tmp_path / "other")


def test_statements_are_json(tmp_path):
    with pytest.raises(ValueError, match="statement: .*not JSON serializable"):
        Run.create(tmp_path / "run", network=nn.Linear(1, 1))
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="holds nothing to draw yet"):
        figures.draw(Run.create(tmp_path / "run").folder)

"""The main job, at its real size but for shorter chains."""

import json
import os

import pytest
from typer.testing import CliRunner

import pyrogeo as pg
from pyrogeo.cli import app
from pyrogeo.jobs import demo
from pyrogeo.run import Run
from pyrogeo.sampling.methods import METHODS


@pytest.mark.slow
def test_sixteen_dimensions_end_to_end(tmp_path):
    """Four NUTS chains on the digits disagree, and no longer chains will help; exact draws pass."""
    both = demo.run(tmp_path, latent_dim=16, num_samples=250, warmup_steps=150, progress=False)
    found, exact = both.values()
    assert found.verdict == "disagree"
    assert any("Longer chains are unlikely to cross" in reason for reason in found.reasons)
    assert exact.passed
    for name in demo.FILES:
        assert (tmp_path / name).exists()
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["draws"]["nuts"]["verdict"] == found.verdict
    assert summary["draws"]["exact"]["verdict"] == "pass"
    assert summary["draws"]["nuts"]["table"]["lp"]["r_hat"] == pytest.approx(
        found.table.loc["lp", "r_hat"]
    )
    metric = pg.CentroidMetric.load(tmp_path / "draws" / "nuts.metric.safetensors")
    assert metric.centroids.shape == (100, 16)
    assert metric.decay.item() == pytest.approx(summary["metric"]["decay"])
    data = pg.datasets.digits()
    again = pg.CentroidMetric.from_posterior(pg.recipes.load(tmp_path / "vae").embed(data.train))
    assert again.bandwidth.item() == pytest.approx(summary["metric"]["bandwidth"])
    assert Run(tmp_path).diagnose("nuts").reasons == found.reasons


@pytest.mark.slow
def test_the_same_seed_prints_the_same_figures_twice(tmp_path, monkeypatch):
    quick = {"epochs": 3, "num_samples": 20, "warmup_steps": 20}
    run = demo.run
    monkeypatch.setattr(demo, "run", lambda *args, **options: run(*args, **options, **quick))
    prints, pictures = [], []
    for name in "ab":
        result = CliRunner().invoke(app, ["demo", "--no-progress", "--out", str(tmp_path / name)])
        assert result.exit_code == 0, result.output
        prints.append(result.output.replace(str(tmp_path / name), ""))
        pictures.append((tmp_path / name / "latent.png").read_bytes())
    assert prints[0] == prints[1]
    assert pictures[0] == pictures[1]
    assert prints[0].count("verdict:") == 2
    assert "exact draws from the uniform density" in prints[0]
    # An earlier demo's folder is written again; a stranger's is not.
    assert (
        CliRunner().invoke(app, ["demo", "--no-progress", "--out", str(tmp_path / "a")]).exit_code
        == 0
    )


@pytest.mark.filterwarnings("ignore::pyrogeo.errors.SamplingWarning")
# Fitted laws are drawn from in `sampling/test_methods.py`, and take longest.
@pytest.mark.parametrize("method", ["exact", "hmc", "batch", "mixture", "protocol", "prior"])
def test_every_kind_of_method(tmp_path, method):
    quick = {"epochs": 2, "num_samples": 20, "warmup_steps": 10, "progress": False}
    found = demo.run(tmp_path, method=method, **quick)
    assert list(found) == list(dict.fromkeys([METHODS[method].summary, METHODS["exact"].summary]))
    sizes = Run(tmp_path).draws(method).posterior.sizes
    assert sizes["chain"] == {"exact": 8, "batch": 128}.get(method, 4)
    said = " ".join(found[METHODS[method].summary].reasons)
    assert ("geometric mixture" in said) == (method == "mixture")
    assert ("last states of short chains" in said) == (method == "protocol")


def test_a_method_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="method: expected one of exact, nuts, hmc, batch"):
        demo.run(tmp_path, method="gibbs")


@pytest.fixture
def _untrained(monkeypatch):
    def fail(*args, **options):
        raise AssertionError("trained before the folder was looked at")

    monkeypatch.setattr(Run, "fit", fail)


@pytest.mark.usefixtures("_untrained")
@pytest.mark.parametrize("kind", ["a file", "a stranger's folder", "below a file"])
def test_an_output_folder_that_will_not_do_is_refused_before_training(tmp_path, kind):
    out = tmp_path / "out"
    if kind == "a stranger's folder":
        out.mkdir()
        (out / "thesis.tex").touch()
    else:
        out.touch()
    out = out / "deeper" if kind == "below a file" else out
    result = CliRunner().invoke(app, ["demo", "--out", str(out)])
    assert result.exit_code == 1
    assert result.output.startswith(f"error: {out} ")
    assert len(result.output.strip().splitlines()) == 1


@pytest.mark.usefixtures("_untrained")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_refused_before_training(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="cannot be written"):
        demo.run(tmp_path / "out")

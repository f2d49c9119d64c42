"""The same command again returns what is there, another one is refused with what differs, and stale is said."""

import warnings
from functools import partial

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR
from typer.testing import CliRunner

import pyrogeo as pg
from pyrogeo.cli import app
from pyrogeo.errors import PyrogeoWarning, SamplingWarning
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report, summary
from pyrogeo.run import Run
from pyrogeo.sampling.collected import Collected
from tests.test_run import FAST, some_data

DATA = some_data((5,))
QUIET = {"seed": 0, "progress": False}


def made(hidden=4, seed=0):
    torch.manual_seed(seed)
    return standard_vae((5,), 2, hidden=(hidden,), likelihood="normal")


def bits(vae):
    return torch.cat([t.flatten() for t in vae.state_dict().values()])


@pytest.fixture
def run(tmp_path):
    run = Run.create(tmp_path / "run")
    run.fit(made(), DATA, epochs=2, **QUIET)
    return run


@pytest.mark.parametrize("finished", [False, True])
@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"data": some_data((5,), labels=True).train + 1e-6}, "data|other data"),
        ({"learning_rate": 0.01}, r"learning_rate \(0.001 then, 0.01 now\)"),
        ({"optimizer": torch.optim.SGD}, r"optimizer \(Adam then, SGD now\)"),
        ({"optimizer": partial(torch.optim.Adam, betas=(0.5, 0.9))}, "optimizer.betas"),
        ({"objective": pg.objectives.IWAE(3)}, r"objective \(Trace_ELBO then, IWAE now\)"),
        ({"scheduler": None}, "scheduler"),
        ({"batch_size": 7}, r"batch_size \(100 then, 7 now\)"),
        ({"seed": 1}, r"seed \(0 then, 1 now\)"),
        ({"vae": made(5)}, "does not fit this vae"),
        ({"vae": standard_vae((5,), 2, hidden=(4,), likelihood="normal", beta=2.0)}, "vae.beta"),
    ],
)
def test_another_training_is_refused_with_what_differs(tmp_path, change, named, finished):
    train = change.get("data", DATA.train)
    data = pg.datasets.Dataset(train, DATA.validation, DATA.test, DATA.train_labels)
    same = pg.datasets.Dataset(DATA.train, DATA.validation, DATA.test, DATA.train_labels)
    vae, change = change.get("vae"), {k: v for k, v in change.items() if k not in ("vae", "data")}
    run = Run.create(tmp_path / "run")
    if finished:
        run.fit(made(), same, epochs=2, **QUIET)
    else:
        checkpoint = run.folder / "checkpoint.safetensors"
        pg.fit(made(), DATA.train, DATA.validation, epochs=1, checkpoint=checkpoint, **QUIET)
    with pytest.raises(ValueError, match=named):
        run.fit(vae or made(), data, **{"epochs": 2, **QUIET, **change})
    again = vae or made()
    run.fit(again, data, force=True, **{"epochs": 2, **QUIET, **change})
    torch.testing.assert_close(bits(run.vae()), bits(again), rtol=0, atol=0)


def test_a_hundred_epochs_and_then_two_hundred(tmp_path, run):
    whole = made()
    Run.create(tmp_path / "whole").fit(whole, DATA, epochs=5, **QUIET)
    again = made()
    history = run.fit(again, DATA, epochs=5, **QUIET)
    assert len(history.table) == 5
    assert torch.equal(bits(again), bits(whole))
    assert torch.equal(bits(run.vae()), bits(whole))
    with pytest.raises(ValueError, match=r"has 5 already, expected at least as many, got 3"):
        run.fit(made(), DATA, epochs=3, **QUIET)


def test_the_same_training_is_returned(run):
    before = {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file()}
    again = made()
    assert len(run.fit(again, DATA, epochs=2, **QUIET).table) == 2
    assert torch.equal(bits(again), bits(run.vae()))
    run.fit(again, DATA, epochs=2, **QUIET)  # which has the weights that it was left with
    assert {f: f.read_bytes() for f in run.folder.rglob("*") if f.is_file()} == before


def _falling(epochs):
    return lambda optimizer: LambdaLR(optimizer, lambda epoch: 1 - epoch / epochs)


@pytest.mark.parametrize(
    ("make", "name"),
    [(lambda n: partial(CosineAnnealingLR, T_max=n), "CosineAnnealingLR"), (_falling, "LambdaLR")],
)
def test_a_scheduler_that_depends_on_the_number_of_epochs(tmp_path, make, name):
    path = tmp_path / "c.safetensors"
    fit = partial(pg.fit, data=DATA.train, checkpoint=path, **QUIET)
    fit(made(), epochs=2, scheduler=make(2))
    with pytest.raises(ValueError, match=f"a {name} that depends on the number of epochs"):
        fit(made(), epochs=4, scheduler=make(4))
    assert len(fit(made(), epochs=3, scheduler=make(2)).table) == 3  # which it does not here


def test_other_weights_to_begin_with_are_said(tmp_path):
    path = tmp_path / "c.safetensors"
    fit = partial(pg.fit, data=DATA.train, checkpoint=path, **QUIET)
    whole, other = made(), made(seed=1)
    fit(whole, epochs=2)
    with pytest.warns(PyrogeoWarning, match="began with other weights"):
        fit(other, epochs=2)
    assert torch.equal(bits(other), bits(whole))


def test_values_that_are_not_trained_are_part_of_what_was_asked(tmp_path):
    def fixed(scale):
        vae = made()
        vae.register_buffer("extra", torch.tensor(scale))
        return vae

    fit = partial(pg.fit, data=DATA.train, checkpoint=tmp_path / "c.safetensors", **QUIET)
    fit(fixed(1.0), epochs=1)
    with pytest.raises(ValueError, match="other values of extra, which are not trained"):
        fit(fixed(2.0), epochs=2)


def test_the_same_draws_are_returned_and_others_refused(run):
    first = run.sample(6, **FAST)
    for same in ({}, {"num_workers": 1}, {"max_tree_depth": 10}):
        again = run.sample(6, **{**FAST, **same})
        np.testing.assert_array_equal(again.posterior["z"], first.posterior["z"])
    for other, named in [
        ({"warmup_steps": 11}, r"warmup_steps \(10 then, 11 now\)"),
        ({"seed": 1}, r"seed \(0 then, 1 now\)"),
        ({"metric": run.make_metric(7)}, "metric"),
    ]:
        with pytest.raises(ValueError, match=named):
            run.sample(6, **{**FAST, **other})


def lines(run):
    return summary(run).split("\n", 1)[1]  # without the path


def test_what_is_stale_is_said(run, tmp_path):
    run.sample(6, "mixture", seed=0)
    run.diagnose()
    run.decode()
    report(run.folder)
    assert "stale" not in lines(run)
    run.fit(made(), DATA, epochs=3, **QUIET)
    said = summary(run)
    for words in (
        "draws mixture: 4 chains of 6; stale, of an earlier training",
        "verdict: stale, of earlier draws",
        "decoded mixture: stale",
        "report: stale",
    ):
        assert words in said
    for use in (run.diagnose, lambda: report(run.folder, tmp_path / "page.html")):
        with pytest.warns(SamplingWarning, match="the draws by mixture are stale"):
            use()
    page = (tmp_path / "page.html").read_text()
    assert "are stale: they are of an earlier training" in page
    with (
        pytest.warns(SamplingWarning, match="are stale"),
        pytest.raises(ValueError, match="made anew since"),
    ):
        run.decode()
    with pytest.raises(ValueError, match="made anew since; replace them"):
        run.sample(6, "mixture", seed=0)
    with pytest.raises(ValueError, match="reports other draws or an earlier state"):
        report(run.folder)
    run.sample(6, "mixture", seed=0, replace=True)
    run.diagnose()
    run.decode(replace=True)
    report(run.folder, replace=True)
    assert "stale" not in lines(run)


def test_draws_that_were_interrupted_are_drawn_anew(run, monkeypatch):
    command = ["sample", str(run.folder), "-n", "9", "--chains", "2", "--warmup", "4"]
    command += ["--no-progress"]
    calls, collect = iter(range(10**6)), Collected.__call__

    def interrupted(self, *args):
        if next(calls) == 20:
            raise KeyboardInterrupt
        return collect(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(Collected, "__call__", interrupted)
        result = CliRunner().invoke(app, command)
    assert result.exit_code == 130, result.output
    assert "the same command draws all of them" in result.output
    assert "interrupted" in summary(Run(run.folder))
    assert Run(run.folder).draws().posterior["z"].size < 2 * 9 * 2
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    assert dict(Run(run.folder).draws().posterior.sizes) == {"chain": 2, "draw": 9, "z_dim": 2}


def test_force_from_the_command_line(tmp_path):
    table = tmp_path / "table.npy"
    np.save(table, np.random.default_rng(0).normal(size=(40, 3)))
    fit = ["fit", str(table), "-o", str(tmp_path / "run"), "--hidden", "4", "--latent-dim", "2"]
    fit += ["--no-progress", "--epochs"]

    def call(*more, code=0):
        result = CliRunner().invoke(app, [*fit, *more])
        assert result.exit_code == code, (result.output, result.exception)
        return result.output

    first = call("2")
    assert call("2") == first
    assert "3 epochs" in call("3")
    assert Run(tmp_path / "run").statement["epochs"] == 3
    refused = call("3", "--learning-rate", "0.1", code=1)
    assert "learning_rate (0.001 then, 0.1 now); choose a new folder, or --force trains" in refused
    assert "3 epochs" in call("3", "--learning-rate", "0.1", "--force")
    assert Run(tmp_path / "run").statement["learning_rate"] == 0.1
    np.save(table, np.random.default_rng(1).normal(size=(40, 3)))
    assert "other data" in call("3", "--learning-rate", "0.1", code=1)


def test_draws_without_warnings(run):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.sample(5, "prior", seed=0)
        run.sample(5, "prior", seed=0)

import pkgutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

import pyrogeo as pg
from pyrogeo.sampling import methods
from pyrogeo.sampling.draws import read_draws, to_arviz, write_draws
from pyrogeo.sampling.methods import METHODS, Method, chosen, record_of
from tests.geometry.metrics import diagonal

QUICK = {"warmup_steps": 10, "num_iterations": 3, "epochs": 2, "n_components": 2}
INDEPENDENT = [name for name, record in METHODS.items() if record.independent]


def normal() -> MultivariateNormal:
    """The law of embeddings and prior, which every way that is fitted can hit."""
    loc = torch.tensor([1.0, -2.0], dtype=torch.float64)
    return MultivariateNormal(loc, torch.tensor([[1.0, 0.6], [0.6, 2.0]], dtype=torch.float64))


def draw(name: str, metric, num_samples: int, embeddings=None, **settings):
    record, prior = METHODS[name], normal()
    options = QUICK | {"seed": 3, "progress": False} | settings
    given = {key: value for key, value in options.items() if key in record.settings}
    own = {"embeddings": embeddings, "prior": prior}
    return record.draw(
        metric, num_samples, **given, **{k: own[k] for k in own if k in record.needs}
    )


@pytest.fixture
def metric():
    return diagonal(6, 2, bandwidth=1.5)


def test_every_file_of_the_folder_is_a_way_or_says_what_it_is():
    files = {found.name.replace("_", "-") for found in pkgutil.iter_modules(methods.__path__)}
    assert files == {*METHODS, "record"}
    assert list(METHODS)[:4] == ["exact", "nuts", "hmc", "batch"]
    orders = [record.order for record in METHODS.values()]
    assert orders == sorted(set(orders))


@pytest.mark.parametrize("name", METHODS)
def test_a_record_is_whole(name):
    record = METHODS[name]
    assert record.name == name
    assert record.summary
    assert not record.summary.endswith(".")
    assert record.words.endswith(".")
    assert record.title[0].isupper()
    assert record.uniform or record.note.endswith("not of the uniform density.")
    assert {"num_chains", "seed"} <= set(record.settings)
    assert set(record.needs) <= {"metric", "embeddings", "prior"}


@pytest.mark.filterwarnings("ignore::pyrogeo.errors.SamplingWarning")
@pytest.mark.parametrize("name", METHODS)
def test_every_way_draws_and_says_so(name, metric, tmp_path):
    embeddings = normal().sample((200,))
    run = partial(draw, name, metric, 6, embeddings, num_chains=4)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    draws = run()
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)
    assert dict(draws.posterior.sizes) == {"chain": 4, "draw": 6, "z_dim": 2}
    assert draws.posterior["z"].dtype == np.float64
    assert "lp" in draws.sample_stats
    torch.manual_seed(5)
    np.testing.assert_array_equal(run().posterior["z"], draws.posterior["z"])
    assert (run(seed=4).posterior["z"] != draws.posterior["z"]).any()
    write_draws(tmp_path / "draws.nc", draws)
    assert record_of(read_draws(tmp_path / "draws.nc")) is METHODS[name]


@pytest.mark.parametrize("name", [n for n, record in METHODS.items() if not record.needs_metric])
def test_without_a_metric_there_is_no_log_density(name):
    draws = draw(name, None, 6, normal().sample((200,)))
    assert draws.posterior["z"].shape == (4, 6, 2)
    assert not hasattr(draws, "sample_stats") or "lp" not in draws.sample_stats


@pytest.mark.parametrize("name", ["prior", "gaussian-mixture", "flow", "two-stage"])
def test_a_law_that_is_known_is_hit(name):
    """Means and covariances of a Gaussian, fitted to 2,000 of its points and drawn 20,000 times.

    The embeddings' own means err by √(σ²/2000) ≤ 0.032 and covariances by √(2σ⁴/2000) ≤ 0.063: five
    deviations are allowed, α < 3e-6 for the five numbers. A flow and a second VAE get a little more, for
    what they do not fit; a standard normal law, or one without the correlation of 0.42, would not pass.
    """
    fitted = {"flow": {"epochs": 15}, "two-stage": {"epochs": 25}}.get(name, {"n_components": 1})
    record = METHODS[name]
    options = {"progress": False, "seed": 0} | fitted
    given = {key: value for key, value in options.items() if key in record.settings}
    law = normal()
    given |= {"prior": law} if name == "prior" else {"embeddings": law.sample((2000,))}
    z = record.draw(None, 5000, **given).posterior["z"].to_numpy().reshape(-1, 2)
    slack = 0.15 if name in ("flow", "two-stage") else 0
    np.testing.assert_allclose(z.mean(0), law.loc, atol=0.16 + slack)
    np.testing.assert_allclose(np.cov(z.T), law.covariance_matrix, atol=0.32 + slack)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", INDEPENDENT)
def test_draws_come_in_the_precision_of_what_they_are_made_of(name, dtype, metric):
    record, law = METHODS[name], Independent(Normal(torch.zeros(2, dtype=dtype), 1.0), 1)
    given = {"embeddings": torch.randn(50, 2, dtype=dtype), "prior": law}
    given = {key: value for key, value in given.items() if key in record.needs}
    given |= {key: value for key, value in QUICK.items() if key in record.settings}
    given |= {"progress": False} if "progress" in record.settings else {}
    draws = record.draw(metric, 5, seed=0, **given)
    expected = torch.float64 if record.needs_metric else dtype
    assert draws.posterior["z"].dtype == str(expected).removeprefix("torch.")
    assert draws.sample_stats["lp"].dtype == np.float64


def test_the_mixture_is_the_geometric_one(metric):
    """Four means of 8,000 draws, α = 1e-6: 5.2 standard errors, a shift of 0.06 deviations."""
    z = METHODS["mixture"].draw(metric, 2000, seed=0).posterior["z"].to_numpy().reshape(-1, 2)
    error = z.std(0) / np.sqrt(len(z))
    assert (np.abs(z.mean(0) - metric.centroids.mean(0).numpy()) < 5.2 * error).all()


def test_a_name_a_record_or_a_function():
    assert chosen("nuts") is METHODS["nuts"]
    assert chosen(METHODS["flow"]) is METHODS["flow"]
    for other in ("gibbs", 3, None):
        with pytest.raises(ValueError, match="method: expected one of exact, nuts, hmc, batch"):
            chosen(other)


def origin(metric, num_samples, *, num_chains=2, seed=None):
    z = np.random.default_rng(seed).normal(size=(num_chains, num_samples, 2))
    return to_arviz({"z": z}, {})


def test_a_function_of_the_user_s_own():
    own = chosen(origin)
    assert (own.name, own.settings, own.needs) == ("origin", ("num_chains", "seed"), ("metric",))
    draws = own.draw(None, 100, seed=0)
    assert draws.posterior.attrs["method"] == "origin"
    assert record_of(draws).name == "origin"
    assert record_of(draws).uniform
    assert chosen(lambda metric, n: origin(metric, n)).name == "lambda"
    exact = chosen(partial(METHODS["mixture"].draw, num_chains=3))
    assert record_of(exact.draw(diagonal(3, 2), 5)) is METHODS["mixture"]
    with pytest.raises(ValueError, match="origin_: expected ArviZ data with a posterior"):
        chosen(Method("origin_", "none", lambda metric, n: 3)).draw(None, 3)


def test_a_record_of_the_user_s_own_travels_with_its_draws(tmp_path):
    mine = Method("mine", "mine", origin, independent=True, uniform=False, note="Not uniform.")
    write_draws(tmp_path / "mine.nc", chosen(mine).draw(None, 600, num_chains=4, seed=0))
    draws = read_draws(tmp_path / "mine.nc")
    again = record_of(draws)
    assert (again.name, again.independent, again.uniform) == ("mine", True, False)
    assert "Not uniform." in pg.diagnose(draws).reasons


@pytest.mark.parametrize("given", [{}, {"method": "chains"}, {"method": "of-another-version"}])
def test_draws_that_say_nothing_are_markov_chains(given):
    record = record_of(to_arviz({"z": np.zeros((2, 5, 1))}, {}, given))
    assert (record.name, record.independent, record.uniform) == ("chains", False, True)
    assert record_of(None) is record
    assert record_of(to_arviz({"z": np.zeros((2, 5, 1))}, {}, {"method": "smc"})).name == "exact"


def test_a_list_of_the_ways_loads_no_torch():
    code = (
        "import sys, pyrogeo.sampling.methods as m; [r.settings for r in m.METHODS.values()];"
        "print([n for n in ('torch', 'pyro', 'arviz', 'numpy', 'matplotlib') if n in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_they_are_at_hand():
    code = "import pyrogeo as pg; print(pg.methods['exact'].title)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "Exact draws"


def test_what_is_no_law_of_points():
    with pytest.raises(ValueError, match=r"event shape \(d,\)"):
        METHODS["prior"].draw(None, 5, prior=pg.priors.StandardNormal(2))
    with pytest.raises(ValueError, match="num_chains must be a positive integer, got True"):
        METHODS["prior"].draw(None, 5, prior=normal(), num_chains=True)

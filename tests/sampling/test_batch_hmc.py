import math
from functools import partial

import numpy as np
import pytest
import torch
from pyro.infer import MCMC

import pyrogeo as pg
from pyrogeo.distributions import StartingLaw
from pyrogeo.sampling import BatchHMC
from tests.geometry.metrics import HalfPlane, diagonal, full

quiet = partial(pg.sample, progress=False)


def gaussian(params):
    """A user's potential, of N(0, diag(1, 4))."""
    z = params["z"]
    return 0.5 * (z[:, 0] ** 2 + z[:, 1] ** 2 / 4)


def started(potential, z, warmup=0, **options):
    kernel = BatchHMC(potential, seed=1, **options)
    kernel.initial_params = {"z": z}
    kernel.setup(warmup)
    return kernel


TARGETS = {
    "diagonal": lambda: diagonal(12, 2, bandwidth=1.5, regularization=0.0),
    "full": lambda: full(12, 2, regularization=0.0),
    "sixteen dimensions": lambda: diagonal(20, 16, regularization=0.0),
}


@pytest.mark.parametrize("name", TARGETS)
def test_chains_with_jumps_agree_with_exact_draws(name):
    metric = TARGETS[name]()
    density = pg.RiemannianUniform(metric)
    kernel = partial(BatchHMC, jump_every=2, adapt_mass_matrix=True)
    draws = quiet(density, 150, kernel, 60, warmup_steps=80, seed=0)
    found = pg.diagnose(draws)
    assert found.passed, found.reasons
    exact = pg.diagnose(pg.sample_smc(density, 2000, 8, seed=0, progress=False))
    assert exact.passed, exact.reasons
    difference = found.table["mean"] - exact.table["mean"]
    error = found.table["mcse_mean"] + exact.table["sd"] / exact.table["ess_between"] ** 0.5
    assert (difference.abs() / error).max() < 5.5  # up to 17 quantities, α < 1e-6


def test_names_shapes_and_groups():
    density = pg.RiemannianUniform(diagonal(12, 2))
    draws = quiet(density, 20, BatchHMC, 48, warmup_steps=20, seed=0)
    assert draws.posterior["z"].shape == (48, 20, 2)
    np.testing.assert_array_equal(draws.sample_stats["superchain"], np.repeat(range(12), 4))
    stats = draws.sample_stats
    assert set(stats.data_vars) == {
        "lp", "energy", "diverging", "acceptance_rate", "step_size", "n_steps",
        "superchain", "seed", "incomplete", "jumps",
    }  # fmt: skip
    z = torch.from_numpy(draws.posterior["z"].to_numpy())
    np.testing.assert_allclose(stats["lp"], density.log_density(z))
    kinetic = stats["energy"].to_numpy()[:, 1:] + stats["lp"].to_numpy()[:, :-1]
    assert kinetic.mean() == pytest.approx(1, abs=0.17)  # d/2; 912 exponentials: α < 1e-6
    assert float(stats["acceptance_rate"].mean()) == pytest.approx(0.8, abs=0.12)
    again = quiet(density, 20, BatchHMC, 48, warmup_steps=20, seed=0)
    np.testing.assert_array_equal(again.posterior["z"], draws.posterior["z"])


def test_pyro_s_mcmc_runs_it():
    mcmc = MCMC(
        BatchHMC(gaussian, seed=0),
        200,
        100,
        initial_params={"z": torch.zeros(50, 2, dtype=torch.float64)},
        disable_progbar=True,
    )
    mcmc.run()
    z = mcmc.get_samples()["z"]
    assert z.shape == (200, 50, 2)
    np.testing.assert_allclose(z.flatten(0, 1).var(0), [1, 4], rtol=0.2)
    assert mcmc._diagnostics[0]["acceptance rate"] == pytest.approx(0.8, abs=0.1)


def test_the_scale_is_learned():
    kernel = started(gaussian, torch.randn(200, 2).double(), 200, adapt_mass_matrix=True)
    z = kernel.initial_params["z"]
    for _ in range(200):
        z = kernel.sample({"z": z})["z"]
    np.testing.assert_allclose(kernel.inverse_mass_matrix["z",], [1, 4], rtol=0.2)


def test_its_own_generator():
    state = torch.get_rng_state()
    z = torch.zeros(4, 2).double()
    a, b = (started(gaussian, z).sample({"z": z})["z"] for _ in range(2))
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), state)


def test_ctrl_c_keeps_the_draws_so_far(monkeypatch):
    from pyrogeo.errors import SamplingWarning

    sample, calls = BatchHMC.sample, iter(range(10**6))

    def interrupted(self, params):
        if next(calls) == 17:
            raise KeyboardInterrupt
        return sample(self, params)

    monkeypatch.setattr(BatchHMC, "sample", interrupted)
    with pytest.warns(SamplingWarning, match="6 chains of 7 draws"):
        draws = quiet(
            pg.RiemannianUniform(diagonal(12, 2)), 20, BatchHMC, 6, warmup_steps=10, seed=0
        )
    assert draws.posterior["z"].shape == (6, 7, 2)


def raising(params):
    raise LookupError("the user's own words")


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda z: BatchHMC(), ValueError, "potential_fn: expected a function, got None"),
        (lambda z: BatchHMC(gaussian, num_steps=0), ValueError, "num_steps must be a positive"),
        (lambda z: BatchHMC(gaussian, step_size=0.0), ValueError, "step_size must be positive"),
        (lambda z: BatchHMC(gaussian, jitter=1.0), ValueError, "jitter"),
        (lambda z: BatchHMC(gaussian, jump_every=2), ValueError, "potential of a CentroidMetric"),
        (lambda z: started(gaussian, z * math.nan), ValueError, "not finite at 4 of 4 starts"),
        (lambda z: started(gaussian, z[0]), ValueError, r"z of shape \(C, d\)"),
        (lambda z: started(lambda p: p["z"].sum(), z), ValueError, r"to \(4,\), got \(\)"),
        (lambda z: started(raising, z), LookupError, "the user's own words"),
        (
            lambda z: quiet(pg.RiemannianUniform(diagonal(12, 2)), 5, BatchHMC, 13),
            ValueError,
            "13 chains cannot be shared out",
        ),
        (
            lambda z: quiet(
                pg.RiemannianUniform(diagonal(12, 2)), 5, BatchHMC, 12, num_superchains=5
            ),
            ValueError,
            "num_superchains must divide 12 chains, got 5",
        ),
        (
            lambda z: pg.sample_smc(pg.RiemannianUniform(HalfPlane(), 2), 5),
            ValueError,
            "exact draws need the density of a CentroidMetric",
        ),
        (
            lambda z: pg.sample_smc(pg.RiemannianUniform(diagonal()), 0),
            ValueError,
            "num_samples must be a positive integer",
        ),
    ],
)
def test_bad_input(make, error, message):
    with pytest.raises(error, match=message):
        make(torch.zeros(4, 2, dtype=torch.float64))


def test_runs_and_what_they_say():
    import json

    density = pg.RiemannianUniform(diagonal(12, 2, bandwidth=1.5))
    draws = pg.sample_smc(density, 500, 4, seed=0, progress=False)
    assert draws.posterior["z"].shape == (4, 500, 2)
    stats = draws.sample_stats
    assert stats["log_volume"].dims == ("chain",)
    assert all(json.loads(str(run))[-1] == 1 for run in stats["temperatures"].to_numpy())
    np.testing.assert_allclose(stats["log_volume"], density.log_volume, atol=0.1)
    again = pg.sample_smc(density, 500, 4, seed=0, progress=False)
    np.testing.assert_array_equal(again.posterior["z"], draws.posterior["z"])
    assert (
        pg.diagnose(pg.sample_smc(density, 500, 1, seed=0, progress=False)).verdict == "cannot tell"
    )


def test_superchains_that_do_not_divide():
    draws = quiet(pg.RiemannianUniform(diagonal(12, 2)), 10, BatchHMC, 12, warmup_steps=5, seed=0)
    with pytest.raises(ValueError, match="5 superchains do not divide 12 chains"):
        pg.diagnose(draws, superchains=5)


@pytest.mark.filterwarnings("ignore:exact draws start from a law that may miss")
def test_a_hard_density_is_said_with_its_numbers(monkeypatch):
    from pyrogeo.errors import SamplingWarning

    monkeypatch.setattr("pyrogeo.distributions.smc._MANY_STAGES", 1)
    metric = diagonal(100, 16, spread=0.3, bandwidth=2.0)
    density = pg.RiemannianUniform(metric, proposal=StartingLaw(metric))
    with pytest.warns(SamplingWarning, match=r"took \d+ stages and accepted \d+% of its last"):
        density.sample((10,))
    with pytest.warns(SamplingWarning, match=r"took \d+ stages"):
        pg.sample_smc(density, 10, 2, seed=0, progress=False)

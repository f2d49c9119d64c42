import math
import subprocess
import sys
import threading
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from pyro.infer import HMC, MCMC, NUTS
from pyro.infer.mcmc import RandomWalkKernel
from torch.distributions import Normal

import pyrogeo as pg
from pyrogeo.errors import SamplingWarning
from pyrogeo.sampling import mcmc
from tests.distributions.test_uniform import quadrature
from tests.geometry.metrics import HalfPlane, diagonal

quiet = partial(pg.sample, progress=False)


OF_CHAINS = {"superchain", "seed", "incomplete"}


@pytest.fixture
def density():
    return pg.RiemannianUniform(diagonal(6, 2, bandwidth=1.5))


def test_names_shapes_and_energies(density):
    draws = quiet(density, 30, num_chains=3, warmup_steps=20, seed=0)
    assert dict(draws.posterior.sizes) == {"chain": 3, "draw": 30, "z_dim": 2}
    stats = draws.sample_stats
    assert set(stats.data_vars) == {
        "lp", "energy", "diverging", "acceptance_rate", "step_size", "n_steps", "tree_depth",
    } | OF_CHAINS | {"jumps", "max_tree_depth"}  # fmt: skip
    z = torch.from_numpy(draws.posterior["z"].to_numpy())
    np.testing.assert_allclose(stats["lp"], density.log_density(z))
    # The kinetic energy is what the energy has above the potential of the draw before.
    kinetic = stats["energy"].to_numpy()[:, 1:] + stats["lp"].to_numpy()[:, :-1]
    assert (kinetic > 0).all()
    assert kinetic.mean() == pytest.approx(1, abs=0.5)  # d/2; 87 exponentials: α < 1e-5
    assert (stats["n_steps"] < 2 ** stats["tree_depth"]).all()
    assert (stats["n_steps"] >= 2 ** (stats["tree_depth"] - 1)).all()
    assert float(stats["acceptance_rate"].max()) <= 1


@pytest.mark.parametrize(("size", "steps"), [(0.03, 15), (0.1, 11), (0.05, 22), (0.01, 10)])
def test_hmc_takes_the_steps_it_was_asked_for(density, size, steps):
    kernel = partial(HMC, step_size=size, num_steps=steps, adapt_step_size=False)
    stats = quiet(density, 4, kernel, 2, warmup_steps=0, seed=0).sample_stats
    assert (stats["n_steps"] == steps).all()
    assert "tree_depth" not in stats


def test_one_seed_one_result_whatever_the_number_of_workers(density):
    run = partial(quiet, density, 10, num_chains=2, warmup_steps=10)
    state = torch.get_rng_state()
    first = run(seed=3).posterior["z"]
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(9)
    np.testing.assert_array_equal(run(seed=3).posterior["z"], first)
    np.testing.assert_array_equal(run(seed=3, num_workers=2).posterior["z"], first)
    assert (run(seed=4).posterior["z"] != first).any()


def test_a_configured_backend_gets_the_chains(density, monkeypatch):
    """Threads too, though chains share torch's one generator: they wait for each other."""
    run = partial(quiet, density, 5, num_chains=3, warmup_steps=5, seed=3)
    first = run().posterior["z"]
    monkeypatch.setattr(mcmc, "in_turn", _interrupt)  # is not asked
    with joblib.parallel_config(backend="threading", n_jobs=3):
        np.testing.assert_array_equal(run().posterior["z"], first)
    with joblib.parallel_config(backend="threading"):
        np.testing.assert_array_equal(run(num_workers=2).posterior["z"], first)


def test_a_kernel_without_a_name_goes_to_workers_too(density):
    run = partial(quiet, density, 5, lambda potential_fn: NUTS(potential_fn=potential_fn), 2)
    first = run(warmup_steps=5, seed=3).posterior["z"]
    found = run(warmup_steps=5, seed=3, num_workers=2).posterior["z"]
    np.testing.assert_array_equal(found, first)


CELL = """
import torch, pyrogeo as pg
class Sphere(pg.Metric):
    def forward(self, z):
        return 4 / (1 + (z**2).sum(-1)[..., None, None]) ** 2 * torch.eye(2, dtype=z.dtype)
density = pg.RiemannianUniform(Sphere(), dimension=2)
torch.manual_seed(0)
starts = {"initial_params": torch.randn(2, 2), "num_chains": 2, "warmup_steps": 5}
draws = [pg.sample(density, 5, num_workers=n, seed=0, progress=False, **starts) for n in (1, 2)]
assert (draws[0].posterior["z"] == draws[1].posterior["z"]).all()
print("done")
"""


def test_a_metric_of_a_script_s_own_goes_to_workers_without_a_main_guard(tmp_path):
    (tmp_path / "script.py").write_text(CELL)
    script = [sys.executable, str(tmp_path / "script.py")]
    found = subprocess.run(script, capture_output=True, text=True)
    assert found.stdout.split() == ["done"], found.stderr


def test_ctrl_c_among_workers_keeps_the_chains_that_are_done(density, monkeypatch):
    calls = iter(range(10**6))
    update = mcmc.Collected.__call__

    def interrupted(self, *args):
        if next(calls) == 25:
            raise KeyboardInterrupt
        update(self, *args)

    monkeypatch.setattr(mcmc.Collected, "__call__", interrupted)
    with pytest.warns(SamplingWarning, match="2 chains of 5 draws are returned, of 3 chains of 5"):
        draws = quiet(density, 5, num_chains=3, warmup_steps=5, seed=0, num_workers=2)
    assert draws.posterior.attrs["incomplete"] == 1


def test_a_failure_in_a_worker_is_reported(density):
    with pytest.raises(RuntimeError, match="(?s)a worker failed.*minus zero"):
        quiet(density, 5, _failing, 2, warmup_steps=0, num_workers=2)


def _failing(potential_fn):
    kernel = NUTS(potential_fn=potential_fn)
    kernel.setup = _raise
    return kernel


def _raise(*args, **kwargs):
    raise ArithmeticError("minus zero")


@pytest.mark.parametrize(("after", "shape"), [(25, (1, 5, 2)), (55, (1, 20, 2)), (78, (2, 18, 2))])
def test_ctrl_c_returns_the_draws_so_far(density, monkeypatch, after, shape):
    calls = iter(range(10**6))
    update = mcmc.Collected.__call__

    def interrupted(self, *args):
        if next(calls) == after:
            raise KeyboardInterrupt
        update(self, *args)

    monkeypatch.setattr(mcmc.Collected, "__call__", interrupted)
    with pytest.warns(SamplingWarning, match=f"{shape[0]} chains of {shape[1]} draws"):
        draws = quiet(density, 20, num_chains=3, warmup_steps=20, seed=0)
    assert draws.posterior["z"].shape == shape
    assert draws.posterior.attrs["incomplete"] == 1


def test_ctrl_c_in_warm_up_has_nothing_to_return(density, monkeypatch):
    monkeypatch.setattr(mcmc, "in_turn", _interrupt)
    with pytest.raises(KeyboardInterrupt):
        quiet(density, 20)


def _interrupt(*args):
    raise KeyboardInterrupt


def test_a_metric_of_the_user_s_own():
    class Round(pg.Metric):
        """√det G is a Gaussian."""

        def forward(self, z):
            return (-(z**2).sum(-1)).exp()[..., None, None] * torch.eye(2, dtype=z.dtype)

    draws = quiet(
        pg.RiemannianUniform(Round(), dimension=2),
        200,
        num_chains=2,
        warmup_steps=100,
        initial_params=torch.zeros(2, 2, dtype=torch.float64),
        seed=0,
    )
    assert float(draws.posterior["z"].var()) == pytest.approx(0.5, abs=0.2)


def test_long_chains_agree_with_quadrature():
    """Twelve features of an overlapping density, chains against quadrature.

    z-values by ArviZ's Monte Carlo standard error; the largest of twelve exceeds 5.5 with
    probability 5e-7, doubled for the error's own uncertainty. The effective sample sizes are above
    400: a shift of a quarter standard deviation is seen.
    """
    centroids = torch.tensor([[-0.6, 0.0], [0.6, 0.2], [0.0, 0.7], [0.1, -0.6]]).double()
    variances = torch.tensor([[0.3, 0.2], [0.2, 0.3], [0.25, 0.25], [0.3, 0.3]]).double()
    density = pg.RiemannianUniform(
        pg.geometry.DiagonalCentroidMetric(centroids, variances, 1.2, regularization=0.0)
    )
    z, log_density, _ = quadrature(density.metric, 8, 1201)
    mass = log_density.softmax(0)
    draws = quiet(density, 700, warmup_steps=200, seed=1)

    def features(z, lp):
        x, y = z[..., 0], z[..., 1]
        return [
            x,
            y,
            x * x,
            x * y,
            y * y,
            lp,
            x > 0,
            y > 0,
            x + y > 0.5,
            x > 0.7,
            np.sin(2 * x),
            lp**2,
        ]

    exact = [(mass.numpy() * f).sum() for f in features(z.numpy(), log_density.numpy())]
    table = pg.diagnose(
        _as_draws(features(draws.posterior["z"].to_numpy(), draws.sample_stats["lp"].to_numpy()))
    ).table
    scores = (table["mean"] - exact) / table["mcse_mean"]
    assert table["ess_bulk"].min() > 400
    assert scores.abs().max() < 5.5


def _as_draws(columns):
    from pyrogeo.sampling.draws import to_arviz

    return to_arviz({"f": np.stack([np.asarray(c, float) for c in columns], -1)}, {})


class Walk:
    """A random walk: the least that a kernel of one's own must have."""

    initial_params = None

    def __init__(self, potential_fn):
        self.potential_fn = potential_fn

    def setup(self, warmup_steps):
        pass

    def sample(self, params):
        z = params["z"] + 0.3 * torch.randn_like(params["z"])
        change = self.potential_fn({"z": z}) - self.potential_fn(params)
        return {"z": z} if torch.rand(()) < (-change).exp() else params

    def diagnostics(self):
        return {}

    logging = diagnostics
    cleanup = diagnostics


def test_a_kernel_of_one_s_own(density):
    draws = quiet(density, 20, Walk, 2, warmup_steps=5, seed=0)
    assert set(draws.sample_stats.data_vars) == {"lp", "diverging", "n_steps"} | OF_CHAINS
    assert len(np.unique(draws.posterior["z"])) > 20


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_samples_all_the_same(density, mode):
    expected = quiet(density, 5, num_chains=2, warmup_steps=5, seed=0).posterior["z"]
    with mode():
        found = quiet(density, 5, num_chains=2, warmup_steps=5, seed=0).posterior["z"]
    np.testing.assert_array_equal(found, expected)


def test_a_trial_step_out_of_the_domain_is_a_divergence_and_no_crash():
    class Round(pg.Metric):
        def forward(self, z):
            return (-(z**2).sum(-1)).exp()[..., None, None] * torch.eye(2, dtype=z.dtype)

    draws = quiet(
        pg.RiemannianUniform(Round(), 2),
        5,
        partial(HMC, step_size=40.0, num_steps=1, adapt_step_size=False),
        2,
        warmup_steps=0,
        initial_params=torch.zeros(2, 2, dtype=torch.float64),
        seed=0,
    )
    assert bool(draws.sample_stats["diverging"].any())


def test_progress_is_shown(density, capsys):
    pg.sample(density, 5, num_chains=1, warmup_steps=5, seed=0)
    shown = capsys.readouterr().err
    assert "10/10" in shown
    assert "divergences" in shown
    assert "step size" in shown


STARTS = torch.zeros(4, 2, dtype=torch.float64)


def _beside(other, potential_fn):
    return NUTS(potential_fn=potential_fn)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_samples": 0}, "num_samples must be a positive integer, got 0"),
        ({"num_chains": 0}, "num_chains must be"),
        ({"warmup_steps": -1}, "warmup_steps must be"),
        ({"num_workers": 1.5}, "num_workers must be"),
        ({"num_samples": True}, "num_samples must be a positive integer, got True"),
        ({"num_chains": 7}, "7 chains need 7 different starts, the metric has 6"),
        ({"initial_params": STARTS[:3]}, r"tensor of shape \(4, 2\), got \(3, 2\)"),
        ({"initial_params": STARTS * math.nan}, "expected finite numbers"),
        ({"initial_params": {"z": STARTS / 0}}, "expected finite numbers"),
        ({"kernel": 3}, r"called as kernel\(potential_fn=...\)"),
        ({"kernel": lambda potential_fn: 3}, "not a Pyro MCMCKernel"),
        ({"kernel": partial(_beside, threading.Lock()), "num_workers": 2}, "kernel: .*be pickled"),
        ({"kernel": RandomWalkKernel}, "RandomWalkKernel is not called as kernel.potential_fn="),
        ({"kernel": MCMC}, "MCMC is not called as kernel.potential_fn="),
        ({"kernel": partial(HMC, length=3)}, "HMC is not called as kernel.* 'length'"),
        ({"seed": -2}, "seed must be"),
        ({"kernel": NUTS(potential_fn=len)}, r"called as kernel\(potential_fn=...\)"),
        ({"initial_params": {"x": STARTS}}, "expected a tensor"),
    ],
)
def test_bad_input(density, options, message):
    with pytest.raises(ValueError, match=message):
        quiet(density, **{"num_samples": 5, **options})


@pytest.mark.parametrize("name", ["num_samples", "num_chains", "warmup_steps", "num_superchains"])
def test_numpy_s_numbers_are_numbers(density, name):
    options = {"num_samples": 5, "num_chains": 2, "warmup_steps": 2, "num_superchains": 2}
    plain = quiet(density, seed=0, **options)
    found = quiet(density, seed=np.int64(0), **options | {name: np.int32(options[name])})
    np.testing.assert_array_equal(found.posterior["z"], plain.posterior["z"])


@pytest.mark.parametrize("kernel", [NUTS, pg.BatchHMC])
def test_starts_of_another_precision_are_taken_in_the_density_s(density, kernel):
    starts = torch.tensor([[0.5, 0.25], [-1.0, 0.0]])
    run = partial(quiet, density, 5, kernel, 2, warmup_steps=5, seed=0)
    found = run(initial_params=starts).posterior["z"]
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, run(initial_params=starts.double()).posterior["z"])


def test_a_start_where_there_is_no_density():
    density = pg.RiemannianUniform(HalfPlane(), dimension=2)
    starts = torch.tensor([[0.0, 1.0], [0.0, 0.0]]).double()
    with pytest.raises((ValueError, ArithmeticError), match="not finite|positive definite"):
        quiet(density, 5, num_chains=2, initial_params=starts)


def test_normal_posteriors_of_any_library_are_enough():
    metric = pg.CentroidMetric.from_posterior(Normal(torch.randn(9, 2), 0.5), None)
    assert (
        quiet(pg.RiemannianUniform(metric), 5, num_chains=2, warmup_steps=5).posterior is not None
    )

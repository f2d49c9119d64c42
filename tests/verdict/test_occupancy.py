import numpy as np
import pytest
import torch

import pyrogeo as pg
from pyrogeo.sampling.draws import to_arviz
from pyrogeo.verdict.occupancy import nearest_centroids, perplexity
from tests.distributions.test_uniform import separate
from tests.geometry.metrics import diagonal, full


@pytest.mark.parametrize("make", [diagonal, full])
def test_each_centroid_belongs_to_itself_where_they_are_apart(make):
    metric = make(9, 3, spread=20.0, bandwidth=1.0)
    np.testing.assert_array_equal(nearest_centroids(metric, metric.centroids.numpy()), range(9))


def test_perplexity():
    assert perplexity(np.arange(8), 20) == pytest.approx(8)
    assert perplexity(np.zeros(8, int), 20) == 1


def test_chains_that_all_sit_in_one_mode_pass_alone_and_fail_beside_exact_draws():
    density = pg.RiemannianUniform(separate())
    starts = density.metric.centroids[:1].repeat(4, 1)
    draws = pg.sample(
        density,
        1500,
        pg.BatchHMC,
        4,
        warmup_steps=100,
        initial_params=starts,
        seed=0,
        progress=False,
    )
    assert pg.diagnose(draws).passed
    found = pg.diagnose(draws, density=density)
    assert found.verdict == "disagree"
    assert found.reasons[0].startswith("Modes are missed: 6 centroids")
    assert "hold 8" in found.reasons[0]  # five of six modes: 83%
    assert any(
        "spread over 1 centroids (perplexity), exact draws over 6" in r for r in found.reasons
    )


def test_exact_draws_miss_nothing():
    """Twenty sets; α = 1e-4 each."""
    torch.manual_seed(1)
    density = pg.RiemannianUniform(separate())
    for _ in range(20):
        z = density.sample((4, 500)).numpy()
        lp = density.log_density(torch.from_numpy(z)).numpy()
        found = pg.diagnose(to_arviz({"z": z}, {"lp": lp}), density=density)
        assert found.passed, found.reasons


def test_one_mode_of_six_that_all_chains_miss_is_seen():
    torch.manual_seed(2)
    density = pg.RiemannianUniform(separate())
    exact = density.sample((4096,)).numpy()
    for missed in range(6):
        others = exact[nearest_centroids(density.metric, exact) != missed]
        found = pg.diagnose(to_arviz({"z": others[:2000].reshape(4, 500, 2)}, {}), density=density)
        assert found.verdict == "disagree"
        assert "Modes are missed" in found.reasons[0]


def test_exact_runs_too():
    density = pg.RiemannianUniform(separate())
    draws = pg.sample_smc(density, 1000, 4, seed=0, progress=False)
    found = pg.diagnose(draws, density=density)
    assert found.passed
    assert not any("spread over" in reason for reason in found.reasons)


def test_a_crowd_is_said():
    torch.manual_seed(0)
    centroids = torch.cat([0.05 * torch.randn(15, 16), 30 * torch.randn(285, 16)]).double()
    metric = pg.geometry.DiagonalCentroidMetric(centroids, torch.ones(300, 16).double(), 4.0)
    density = pg.RiemannianUniform(metric)
    z = density.sample((4, 500)).numpy()
    found = pg.diagnose(to_arviz({"z": z}, {}), density=density)
    assert any(reason.startswith("The density itself concentrates") for reason in found.reasons)

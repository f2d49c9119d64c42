import pytest
import torch

import pyrogeo as pg
from pyrogeo.sampling import paper_protocol
from tests.geometry.metrics import diagonal


def test_long_chains_of_it_have_the_law_of_the_density():
    """Many larger steps from exact draws leave them where they are: it is a valid HMC."""
    metric = diagonal(12, 2, bandwidth=1.5, regularization=0.0)
    exact = pg.RiemannianUniform(metric).sample((4000,))
    z = paper_protocol(metric, exact, 4000, num_iterations=30, step_size=0.1, seed=0)
    for f in (lambda z: z[:, 0], lambda z: z[:, 1], lambda z: z.prod(1), metric.log_volume_element):
        a, b = f(exact), f(z)
        # Four differences of means of 4,000 draws each, α = 1e-6: 5.2 standard errors.
        assert (a.mean() - b.mean()).abs() < 5.2 * ((a.var() + b.var()) / 4000).sqrt()


def test_the_paper_s_settings_stay_near_their_starts_and_allow_no_decay():
    metric = diagonal(12, 3, decay=0.0)
    starts = metric.centroids[:1]
    z = paper_protocol(metric, starts, 50, seed=0)
    assert z.shape == (50, 3)
    assert (z - starts).norm(dim=1).max() < 6
    assert torch.equal(z, paper_protocol(metric, starts, 50, seed=0))
    assert (z != starts).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3).double(), 5), r"shape \(N, d\), got \(3,\)"),
        ((torch.full((2, 3), torch.inf).double(), 5), "expected finite numbers"),
        ((torch.zeros(2, 3).double(), 0), "of at least 1"),
        ((torch.zeros(2, 3).half(), 5), "metric is torch.float64"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        paper_protocol(diagonal(), *arguments)

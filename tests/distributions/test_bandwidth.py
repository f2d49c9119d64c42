import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

import pyrogeo as pg
from pyrogeo.distributions import choose_bandwidth
from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric, FullCentroidMetric
from tests.geometry.metrics import diagonal, full


@pytest.mark.parametrize("make", [diagonal, full])
def test_the_choice_maximises_what_the_mixture_says(make):
    metric = make(9, 3)
    z = pg.GeometricMixture(metric.with_bandwidth(0.7)).sample((4000,))
    choice = choose_bandwidth(metric, z)

    def likelihood(rho):
        return pg.GeometricMixture(metric.with_bandwidth(rho)).log_prob(z).mean().item()

    assert choice.log_likelihood == pytest.approx(likelihood(choice.bandwidth), abs=1e-9)
    assert choice.log_likelihood >= max(likelihood(choice.bandwidth * f) for f in (0.98, 1.02))
    assert choice.bandwidth == pytest.approx(0.7, rel=0.03)  # the draws' own
    assert choice.curve.max() <= choice.log_likelihood + 1e-12
    assert len(choice.bandwidths) == len(choice.curve)


def test_one_centroid_has_a_closed_form():
    z = torch.randn(500, 4, dtype=torch.float64) * 1.7
    one = DiagonalCentroidMetric(torch.zeros(1, 4).double(), torch.ones(1, 4).double(), 1.0)
    assert choose_bandwidth(one, z).bandwidth ** 2 == pytest.approx(
        (z**2).sum(1).mean().item(), rel=1e-4
    )


def test_another_bandwidth_keeps_the_rest():
    metric = diagonal(9, 3)
    other = metric.with_bandwidth(0.5)
    assert torch.equal(other.variances, metric.variances)
    assert other.bandwidth == 0.5
    assert other.regularization == metric.regularization
    assert other.decay != metric.decay  # fits the new volume
    assert metric.with_bandwidth(0.5, decay=0.1).decay == 0.1


def test_local_covariances(embedded):
    posterior = embedded[16]
    metric = CentroidMetric.from_posterior(posterior, 20, covariance="local", n_neighbors=30)
    assert type(metric) is FullCentroidMetric
    points, own = posterior.mean.double(), posterior.stddev.double() ** 2
    for centroid, covariance in zip(metric.centroids, metric.covariances, strict=True):
        near = (points - centroid).norm(dim=1).argsort()[:30]
        expected = points[near].T.cov() + own[near[0]].diag()
        torch.testing.assert_close(covariance, expected)
    factor = torch.diag_embed(posterior.stddev)
    twin = CentroidMetric.from_posterior(
        MultivariateNormal(posterior.mean, scale_tril=factor), 20, covariance="local"
    )
    torch.testing.assert_close(twin.covariances, metric.covariances)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose_bandwidth(diagonal(), torch.zeros(3).double()), r"shape \(N, d\)"),
        (lambda: choose_bandwidth(diagonal(), torch.zeros(0, 3).double()), "at least one point"),
        (
            lambda: choose_bandwidth(diagonal(), torch.full((4, 3), torch.nan).double()),
            "all finite",
        ),
        (
            lambda: CentroidMetric.from_posterior(
                Normal(torch.randn(9, 2), 1.0), 5, covariance="mine"
            ),
            "'posterior' or 'local', got 'mine'",
        ),
        (
            lambda: CentroidMetric.from_posterior(
                Normal(torch.randn(9, 2), 1.0), 5, covariance="local"
            ),
            "n_neighbors: expected 2 to 9, got 30",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()

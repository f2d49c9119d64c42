import pytest
import torch

from pyrogeo.distributions import GeometricMixture
from tests.geometry.metrics import diagonal, full


@pytest.mark.parametrize("make", [diagonal, full])
def test_the_mixture_equals_torch_s(make):
    metric = make(7, 3)
    covariances = torch.diag_embed(metric.variances) if make is diagonal else metric.covariances
    reference = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(7, dtype=torch.float64)),
        torch.distributions.MultivariateNormal(
            metric.centroids, covariances * metric.bandwidth**2 / 3
        ),
    )
    mixture = GeometricMixture(metric)
    z = torch.randn(30, 3, dtype=torch.float64, requires_grad=True)
    expected = reference.log_prob(z)
    torch.testing.assert_close(mixture.log_prob(z), expected)
    value, gradient = mixture.log_prob_and_grad(z.detach())
    torch.testing.assert_close(value, expected.detach())
    torch.testing.assert_close(gradient, torch.autograd.grad(expected.sum(), z)[0])
    draws = mixture.sample((50_000,))
    error = reference.stddev / 50_000**0.5
    assert ((draws.mean(0) - reference.mean).abs() < 5.2 * error).all()  # three z-tests, α = 1e-6
    assert (draws.var(0) / reference.variance - 1).abs().max() < 0.05


def test_shapes():
    mixture = GeometricMixture(diagonal())
    assert mixture.sample().shape == (3,)
    assert mixture.expand((4,)).sample((2,)).shape == (2, 4, 3)
    assert mixture.log_prob(torch.zeros(2, 4, 3).double()).shape == (2, 4)

import pytest
import torch

from pyrogeo.distributions import GeometricMixture
from tests.geometry.metrics import diagonal, full


def torch_s(metric):
    """The same mixture, of torch's own parts."""
    is_full = hasattr(metric, "covariances")
    covariances = metric.covariances if is_full else torch.diag_embed(metric.variances)
    width = metric.bandwidth**2 / metric.dimension
    return torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(metric.n_centroids, dtype=torch.float64)),
        torch.distributions.MultivariateNormal(metric.centroids, covariances * width),
    )


@pytest.mark.parametrize("make", [diagonal, full])
def test_the_mixture_equals_torch_s(make):
    metric = make(7, 3)
    reference = torch_s(metric)
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


@pytest.mark.parametrize("make", [diagonal, full])
def test_mean_and_variance_are_torch_s(make):
    metric = make(7, 3)
    reference = torch_s(metric)
    mixture = GeometricMixture(metric)
    torch.testing.assert_close(mixture.mean, reference.mean)
    torch.testing.assert_close(mixture.variance, reference.variance)
    torch.testing.assert_close(mixture.expand((2,)).mean, reference.mean.expand(2, 3))
    assert GeometricMixture(metric, dtype=torch.float32).variance.dtype == torch.float32


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("spread", [0.05, 0.5, 1.0, 3.0, 30.0])
def test_the_entropy_lies_between_its_bounds(make, spread):
    """By 20,000 draws, whose mean is off by more than six standard errors once in 10⁹."""
    mixture = GeometricMixture(make(9, 2, spread=spread, bandwidth=0.6))
    lower, upper = mixture.entropy_bounds()
    surprise = -mixture.log_prob(mixture.sample((20_000,)))
    error = 6 * surprise.std().item() / 20_000**0.5
    assert lower - error < surprise.mean().item() < upper + error
    assert 0 <= upper - lower < 0.7


@pytest.mark.parametrize("make", [diagonal, full])
def test_the_bounds_are_those_of_torch_s_divergences(make):
    metric = make(5, 3)
    covariances = torch.diag_embed(metric.variances) if make is diagonal else metric.covariances
    covariances = covariances * metric.bandwidth**2 / 3
    laws = [
        torch.distributions.MultivariateNormal(c, s)
        for c, s in zip(metric.centroids, covariances, strict=True)
    ]
    inner = torch.stack([law.entropy() for law in laws]).mean()
    kl = torch.stack(
        [torch.stack([torch.distributions.kl_divergence(p, q) for q in laws]) for p in laws]
    )
    delta = metric.centroids[:, None] - metric.centroids
    mean = 0.5 * (covariances[:, None] + covariances)
    bhattacharyya = 0.125 * torch.einsum("ijk,ijkl,ijl->ij", delta, mean.inverse(), delta)
    bhattacharyya += 0.5 * mean.logdet()
    bhattacharyya -= 0.25 * (covariances.logdet()[:, None] + covariances.logdet())
    lower, upper = ((inner - ((-x).exp().mean(1)).log().mean()).item() for x in (bhattacharyya, kl))
    z = metric.centroids - metric.centroids.mean(0)
    normal = torch.distributions.MultivariateNormal(
        metric.centroids.mean(0), z.mT @ z / 5 + covariances.mean(0)
    )
    found = GeometricMixture(metric).entropy_bounds()
    assert found.lower == pytest.approx(lower, abs=1e-10)
    assert found.upper == pytest.approx(min(upper, normal.entropy().item()), abs=1e-10)


@pytest.mark.parametrize("make", [diagonal, full])
def test_where_the_entropy_is_known_the_bounds_meet(make, monkeypatch):
    """One component, and components far apart; and blocks make no difference."""
    one = GeometricMixture(make(1, 3, bandwidth=0.6)).entropy_bounds()
    apart = GeometricMixture(make(6, 3, spread=100.0, bandwidth=0.6))
    assert one.lower == pytest.approx(one.upper, abs=1e-12)
    whole = apart.entropy_bounds()
    assert whole.lower == pytest.approx(whole.upper, abs=1e-8)
    monkeypatch.setattr("pyrogeo.distributions.entropy._NUMBERS", 20)
    parts = apart.entropy_bounds()
    assert (parts.lower, parts.upper) == pytest.approx((whole.lower, whole.upper), abs=1e-10)

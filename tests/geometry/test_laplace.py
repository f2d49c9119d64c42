"""Deterministic encoders: covariances that are local, given, or from the decoder's pull-back."""

import pyro.distributions as dist
import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

import pyrogeo as pg
from pyrogeo.geometry import CentroidMetric, FullCentroidMetric, laplace_covariances
from pyrogeo.sampling.protocol import paper_protocol


def test_a_linear_decoder_s_covariance_is_the_posterior_s():
    """Exactly, for p(x|z) = N(W z, s² I) and p(z) = N(0, I/α), whatever x."""
    weight, s, alpha = torch.randn(7, 3).double(), 0.3, 2.0

    def decoder(z):
        loc = z @ weight.T
        return Independent(Normal(loc, torch.full_like(loc, s)), 1)

    found = laplace_covariances(decoder, torch.randn(20, 3).double(), alpha, batch_size=7)
    expected = torch.linalg.inv(weight.T @ weight / s**2 + alpha * torch.eye(3))
    torch.testing.assert_close(found, expected.expand(20, 3, 3))


def test_where_the_decoder_is_flat_the_prior_remains():
    found = laplace_covariances(lambda z: 0 * z[:, :1], torch.randn(5, 2), 4.0, fisher=False)
    torch.testing.assert_close(found, 0.25 * torch.eye(2).expand(5, 2, 2))


@pytest.fixture(scope="module")
def autoencoder(digits):
    """Points of an encoder without variances, as a point mass, and its decoder."""
    torch.manual_seed(0)
    vae = pg.VAE(
        pg.priors.StandardNormal(4),
        pg.guides.DiagonalNormal(pg.networks.mlp((1, 8, 8), 32, 8)),
        pg.likelihoods.Normal(pg.networks.mlp(4, 32, (1, 8, 8)), scale=0.2),
    )
    pg.fit(vae, digits.train[:300], epochs=30, learning_rate=5e-3, seed=0, progress=False)
    z = vae.embed(digits.train[:300]).mean
    return dist.Delta(z, event_dim=1), vae.eval().likelihood


def given(point, decoder):
    return CentroidMetric.from_posterior(
        MultivariateNormal(point.mean, 0.04 * torch.eye(4).expand(300, 4, 4)), 20
    )


def local(point, decoder):
    return CentroidMetric.from_posterior(point, 20, covariance="local")


def pulled_back(point, decoder):
    covariances = laplace_covariances(decoder, point.mean)
    return CentroidMetric.from_posterior(MultivariateNormal(point.mean, covariances), 20)


@pytest.mark.parametrize("make", [given, local, pulled_back])
def test_every_sampler_of_ours_works_on_a_deterministic_encoder(make, autoencoder):
    metric = make(*autoencoder)
    assert isinstance(metric, FullCentroidMetric)
    starts = autoencoder[0].mean.double()
    draws = [
        pg.RiemannianUniform(metric).sample((200,)),
        pg.GeometricMixture(metric).sample((200,)),
        paper_protocol(metric, starts, 200, num_iterations=5, seed=0),
    ]
    # Each follows the embeddings: the median distance to the nearest is below theirs to their mean.
    spread = (starts - starts.mean(0)).norm(dim=1).median()
    for z in draws:
        assert z.shape == (200, 4)
        assert torch.cdist(z, starts).amin(1).median() < spread


def test_local_covariances_of_a_point_mass_are_the_scatter(autoencoder):
    point, _ = autoencoder
    tiny = Normal(point.mean, torch.full_like(point.mean, 1e-6))
    ours = CentroidMetric.from_posterior(point, 20, covariance="local")
    theirs = CentroidMetric.from_posterior(tiny, 20, covariance="local")
    torch.testing.assert_close(ours.covariances, theirs.covariances, rtol=1e-6, atol=1e-9)


def test_what_a_point_mass_lacks_is_said():
    point = dist.Delta(torch.randn(40, 5), event_dim=1)
    with pytest.raises(ValueError, match="of a point mass are 0.*covariance='local'"):
        CentroidMetric.from_posterior(point, 10)
    with pytest.raises(ValueError, match="no inverse in 5 dimensions; expected at least 6"):
        CentroidMetric.from_posterior(point, 10, covariance="local", n_neighbors=5)


@pytest.mark.parametrize(
    ("z", "options", "message"),
    [
        (torch.randn(3), {}, "shape"),
        (torch.full((3, 2), torch.nan), {}, "finite"),
        (torch.randn(3, 2), {"prior_precision": 0.0}, "prior_precision"),
        (torch.randn(3, 2), {"batch_size": 0}, "batch_size"),
        (torch.randn(3, 2), {"fisher": True}, "fisher"),
    ],
)
def test_bad_input(z, options, message):
    with pytest.raises(ValueError, match=message):
        laplace_covariances(lambda z: 2 * z, z, **options)

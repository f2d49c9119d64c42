"""float64 manifolds beside float32 programs: cast at the door, in both directions, gradients included."""

import copy
import pickle

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.infer import MCMC, NUTS, Predictive, Trace_ELBO

import pyrogeo as pg
from tests.conftest import small_vae

LIKELIHOODS = [pg.likelihoods.Bernoulli, pg.likelihoods.ContinuousBernoulli, pg.likelihoods.Normal]


@pytest.fixture(scope="module")
def metric():
    torch.manual_seed(0)
    means = torch.randn(20, 2).double()
    return pg.CentroidMetric.from_posterior(dist.Normal(means, 0.3), 10, seed=0)


@pytest.mark.parametrize("make", LIKELIHOODS)
def test_a_likelihood_casts_points_and_gradients_pass(make):
    likelihood = make(pg.networks.mlp(2, 16, 5))
    z = torch.randn(7, 2).double().requires_grad_()
    law = likelihood(z)
    assert law.mean.dtype == torch.float32
    assert torch.equal(law.mean, likelihood(z.float()).mean)
    (gradient,) = torch.autograd.grad(law.log_prob(torch.rand(7, 5)).sum(), z)
    assert gradient.dtype == torch.float64
    assert gradient.abs().sum() > 0
    assert likelihood.double()(z.float()).mean.dtype == torch.float64


def test_a_network_without_parameters_takes_points_as_they_are():
    law = pg.likelihoods.Normal(torch.nn.Identity())(torch.ones(3, 2).double())
    assert law.mean.dtype == torch.float64


def test_nuts_on_a_manifold_with_a_float32_likelihood(metric):
    vae, density = small_vae(event=(5,)), pg.RiemannianUniform(metric)
    x = vae.decode(torch.zeros(1, 2)).mean

    def model():
        z = pyro.sample("z", density)
        pyro.sample("x", vae.likelihood(z), obs=x[0])

    mcmc = MCMC(
        NUTS(model), 5, 5, disable_progbar=True, initial_params={"z": torch.zeros(2).double()}
    )
    mcmc.run()
    z = mcmc.get_samples()["z"]
    assert z.shape == (5, 2)
    assert torch.isfinite(z).all()
    assert z.std() > 0


@pytest.mark.parametrize("name", ["mixture", "uniform"])
def test_a_fixed_prior_speaks_the_vae_s_precision(name, metric):
    law = pg.GeometricMixture(metric) if name == "mixture" else pg.RiemannianUniform(metric)
    small = small_vae(event=(5,))
    vae = pg.VAE(pg.priors.Fixed(law), small.posterior, small.likelihood)
    z = torch.randn(6, 2)
    prior = vae.prior()
    assert prior.sample((3,)).dtype == torch.float32
    assert prior.log_prob(z).dtype == torch.float32
    torch.testing.assert_close(prior.log_prob(z), law.log_prob(z.double()).float())
    assert prior.expand((6,)).log_prob(z).shape == (6,)
    assert prior.expand((6,)).sample().shape == (6, 2)
    assert Predictive(vae.model, num_samples=4)(size=2)["z"].dtype == torch.float32
    x = torch.rand(20, 5)
    assert pg.fit(vae, x, epochs=1, seed=0, progress=False).stopped == "finished"
    assert vae.model(size=3).dtype == torch.float32
    assert metric.centroids.dtype == torch.float64
    vae.double()
    assert vae.prior() is law
    pg.fit(vae, x, epochs=1, seed=0, progress=False)
    assert vae.model(size=3).dtype == torch.float64
    assert vae.float().prior().sample().dtype == torch.float32


def test_the_bound_and_its_gradient_are_those_of_one_precision():
    """A float64 law in a float32 VAE against the same law in float32."""
    laplace = [
        dist.Laplace(torch.zeros(2, dtype=t), 1.0).to_event(1)
        for t in (torch.float32, torch.float64)
    ]
    small, x = small_vae(), torch.rand(9, 1, 8, 8)
    found = []
    for law in laplace:
        vae = pg.VAE(pg.priors.Fixed(law), small.posterior, small.likelihood)
        torch.manual_seed(1)
        vae.zero_grad()
        loss = Trace_ELBO().loss_and_grads(vae.model, vae.guide, x)
        found.append([torch.tensor(loss), *(p.grad.clone() for p in vae.parameters())])
    torch.testing.assert_close(*found)


def test_a_float32_law_in_a_double_vae_and_copies():
    law = dist.Laplace(torch.zeros(2), torch.ones(2)).to_event(1)
    prior = pg.priors.Fixed(law).double()
    for twin in (prior, copy.deepcopy(prior), pickle.loads(pickle.dumps(prior))):
        assert twin().sample().dtype == torch.float64
        z = torch.zeros(2).double().requires_grad_()
        assert twin().log_prob(z).dtype == torch.float64
        assert twin().support is not None
    assert not prior.state_dict()
    assert prior().rsample((4,)).shape == (4, 2)
    assert torch.equal(prior().mean, torch.zeros(2).double())

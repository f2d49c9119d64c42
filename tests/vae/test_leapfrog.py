"""The guides of the extended space: their map, their bound, and what they leave as it was."""

import copy
import inspect
import math
from itertools import pairwise

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import nn

import pyrogeo as pg
from pyrogeo.geometry import LearnedMetric
from pyrogeo.vae import guides, likelihoods, priors
from tests.geometry import test_metric_laws
from tests.geometry.metrics import learned

VECTORISED = {"num_particles": 4, "vectorize_particles": True}


@pytest.fixture(autouse=True)
def _clear():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


class Broad(nn.Module):
    """N(0, 1) for every datum, whatever it is: an initial law that the steps have to improve on."""

    def forward(self, x):
        return x.new_zeros(*x.shape[:-1], 4)


def hamiltonian(network, num_steps=3, **options):
    return guides.Hamiltonian(
        network, num_steps, **({"step_size": 0.1, "tempering": 1.0} | options)
    )


def riemannian(network, num_steps=3, **options):
    metric = learned(20, 2, temperature=1.0, regularization=0.5)
    options = {"step_size": 0.1, "tempering": 1.0, "num_iterations": 12} | options
    return guides.Riemannian(network, metric, None, num_steps, **options)


GUIDES = {"Hamiltonian": hamiltonian, "Riemannian": riemannian}
both = pytest.mark.parametrize("make", GUIDES.values(), ids=GUIDES)


def linear_gaussian(guide, scale=0.8, n=4):
    """A VAE of known evidence."""
    torch.manual_seed(3)
    decoder = nn.Linear(2, n).double()
    w, b = decoder.weight.detach(), decoder.bias.detach()
    vae = pg.VAE(priors.StandardNormal(2), guide, likelihoods.Normal(decoder, scale)).double()
    covariance = w @ w.T + scale**2 * torch.eye(n).double()
    return vae, torch.distributions.MultivariateNormal(b, covariance)


def small(guide, prior=None):
    decoder = pg.networks.mlp(2, 16, 5, activation=nn.Tanh)
    return pg.VAE(prior or priors.StandardNormal(2), guide, likelihoods.Normal(decoder))


def learning(n=30, **options):
    metric = LearnedMetric.empty(n, 2, temperature=1.0, regularization=0.5)
    encoders = pg.networks.mlp(5, 16, 4), pg.networks.mlp(5, 16, 3)
    return guides.Riemannian(encoders[0], metric, encoders[1], 2, step_size=0.1, **options)


def extended_map(vae, x):
    guide = vae.posterior
    dynamics = guide.dynamics(x, guide.initial(x))

    def mapped(both):
        return torch.cat(guide.travel(dynamics, both[..., :2], both[..., 2:], vae._joint(x)), -1)

    return mapped


@both
@pytest.mark.parametrize("tempering", [1.0, 0.3])
def test_the_jacobian_is_that_of_the_tempering(make, tempering):
    vae = small(make(pg.networks.mlp(5, 4), tempering=tempering)).double()
    mapped = extended_map(vae, torch.randn(1, 5).double())
    for start in torch.randn(5, 1, 4).double():
        jacobian = torch.autograd.functional.jacobian(mapped, start)[0, :, 0]
        expected = math.log(tempering)  # (d/2) log β₀
        assert torch.linalg.slogdet(jacobian).logabsdet.item() == pytest.approx(expected, abs=1e-5)


@both
def test_the_map_is_reversible(make):
    vae = small(make(pg.networks.mlp(5, 4))).double()
    mapped, start = extended_map(vae, torch.randn(6, 5).double()), torch.randn(6, 4).double()
    flip = torch.tensor([1.0, 1, -1, -1]).double()
    end = mapped(start)
    assert (end - start).abs().max() > 0.1
    torch.testing.assert_close(flip * mapped(flip * end), start, rtol=0, atol=1e-6)


def test_the_residual_of_a_fixed_point_falls_as_stated():
    errors = []
    for num_iterations in (1, 2, 3, 4):
        torch.manual_seed(0)
        guide = riemannian(pg.networks.mlp(5, 4), 1, num_iterations=num_iterations)
        vae = small(guide).double()
        mapped = extended_map(vae, torch.randn(1, 5).double())
        jacobian = torch.autograd.functional.jacobian(mapped, torch.ones(1, 4).double())
        errors.append(torch.linalg.slogdet(jacobian[0, :, 0]).logabsdet.abs().item())
    assert all(after < 0.5 * before for before, after in pairwise(errors))


@both
@pytest.mark.parametrize("beta", [1.0, 0.4])
def test_the_bound_is_that_of_the_extended_space(make, beta):
    vae = small(make(pg.networks.mlp(5, 4), tempering=0.5)).double()
    vae.beta = beta
    x = torch.randn(6, 5).double()
    torch.manual_seed(1)
    sites = poutine.trace(vae.guide).get_trace(x).nodes
    z0, rho0, z = (sites[n]["value"] for n in ("z_initial", "z_momentum", "z"))
    assert all(sites[n]["infer"]["is_auxiliary"] for n in ("z_initial", "z_momentum"))
    end, rho = extended_map(vae, x)(torch.cat([z0, rho0], -1)).split(2, -1)
    torch.testing.assert_close(end, z)
    zero = torch.zeros(2).double()

    def momentum(at):
        metric = getattr(vae.posterior, "metric", None)
        covariance = torch.eye(2).double().expand(6, 2, 2) if metric is None else metric(at)
        return torch.distributions.MultivariateNormal(zero, covariance).log_prob

    # N(ρ₀; 0, M/β₀) = β₀^{d/2} N(√β₀ ρ₀; 0, M), whose factor the Jacobian takes away.
    latent = (
        vae.prior().log_prob(z)
        + momentum(z)(rho)
        - vae.posterior.initial(x).log_prob(z0)
        - momentum(z0)(0.5**0.5 * rho0)
    )
    expected = vae.likelihood(z).log_prob(x) + beta * latent
    torch.manual_seed(1)
    loss = Trace_ELBO().loss(vae.model, vae.guide, x)
    assert -loss == pytest.approx(expected.sum().item(), rel=1e-6)


@both
def test_without_steps_it_is_the_plain_vae(make):
    guide = make(pg.networks.mlp(5, 4), 0)
    vae = small(guide)
    plain = pg.VAE(vae.prior, guide.initial, vae.likelihood)
    x = torch.randn(7, 5)
    for elbo in (Trace_ELBO, lambda: Trace_ELBO(**VECTORISED), TraceMeanField_ELBO):
        losses = []
        for program in (vae, plain):
            torch.manual_seed(1)
            losses.append(elbo().loss(program.model, program.guide, x))
        assert losses[0] == losses[1]
    moments = guide.posterior_moments(x, 40_000, joint=vae._joint(x))
    q = plain.embed(x)
    torch.testing.assert_close(moments.mean, q.mean, rtol=0, atol=0.05)
    torch.testing.assert_close(moments.variance, q.variance, rtol=0.06, atol=0)


@both
def test_more_steps_tighten_the_bound_below_the_evidence(make):
    bounds = []
    for num_steps in (0, 3, 6):
        vae, evidence = linear_gaussian(make(Broad(), num_steps, tempering=0.7))
        x = evidence.sample((30,))
        elbo = Trace_ELBO(num_particles=200, vectorize_particles=True)
        bounds.append(-elbo.loss(vae.model, vae.guide, x) / 30)
    truth = evidence.log_prob(x).mean().item()
    assert bounds == sorted(bounds)
    assert bounds[0] < bounds[-1] - 0.1
    assert bounds[-1] < truth


@both
@pytest.mark.parametrize("tempering", [1.0, 0.5])
def test_the_weights_average_to_the_evidence(make, tempering):
    vae, evidence = linear_gaussian(make(Broad(), 3, tempering=tempering))
    x = evidence.sample((5,))
    found = vae.log_likelihood(x, 4_000, seed=0)
    # The largest of these errors was 0.06; a bound that forgot its Jacobian would be off by 0.69.
    torch.testing.assert_close(found, evidence.log_prob(x), rtol=0, atol=0.1)


@both
def test_moments_are_those_of_draws(make):
    vae, evidence = linear_gaussian(make(Broad(), 3))
    x = evidence.sample((3,))
    found = vae.posterior.posterior_moments(x, 2_000, joint=vae._joint(x))
    z = Predictive(vae.guide, num_samples=2_000, parallel=True)(x)["z"]
    torch.testing.assert_close(found.mean, z.mean(0), rtol=0, atol=0.15)
    expected = torch.stack([torch.cov(z[:, i].T) for i in range(3)])
    torch.testing.assert_close(found.covariance_matrix, expected, rtol=0, atol=0.15)


PROGRAMS = {
    "Hamiltonian": lambda: small(hamiltonian(pg.networks.mlp(5, 16, 4), 2, tempering=0.5)),
    "Hamiltonian, mixture": lambda: small(
        hamiltonian(pg.networks.mlp(5, 16, 4), 2), priors.Mixture(2, 3)
    ),
    "Riemannian": lambda: small(riemannian(pg.networks.mlp(5, 16, 4), 2, num_iterations=3)).float(),
    "Riemannian, learned": lambda: small(learning(tempering=0.5)),
}


@pytest.mark.parametrize("elbo", [Trace_ELBO(), Trace_ELBO(**VECTORISED), RenyiELBO(0.0, 3)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_plain_svi_trains_every_parameter(name, elbo):
    vae, x = PROGRAMS[name](), torch.randn(20, 5)
    before = [p.clone() for p in vae.parameters()]
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), elbo)
    losses = [svi.step(x) for _ in range(20)]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert all((p != b).any() for p, b in zip(vae.parameters(), before, strict=True))


@pytest.mark.parametrize("name", PROGRAMS)
def test_it_fits_is_saved_copied_and_generates(name, tmp_path):
    vae, x = PROGRAMS[name](), torch.randn(40, 5)
    history = pg.fit(vae, x, epochs=2, batch_size=20, seed=0, progress=False)
    assert history.table.loss.map(math.isfinite).all()
    vae.save(tmp_path / "vae")
    other = PROGRAMS[name]()
    other.load_weights(tmp_path / "vae")
    for same in (other, copy.deepcopy(vae)):
        torch.testing.assert_close(same.embed(x).mean, vae.embed(x).mean)
    assert Predictive(vae.model, num_samples=3)(size=4)["x"].shape == (3, 4, 5)
    drawn = Predictive(vae.model, guide=vae.guide, num_samples=3)(x)
    assert drawn["z"].shape == (3, 40, 2)
    assert not vae.embed(x).mean.requires_grad
    assert pg.CentroidMetric.from_posterior(vae.embed(x), 5).dimension == 2


@pytest.mark.parametrize("name", PROGRAMS)
def test_scales_and_particles(name):
    vae, x = PROGRAMS[name]().eval(), torch.randn(10, 5)
    losses = []
    for size in (None, 50):
        torch.manual_seed(1)
        losses.append(Trace_ELBO().loss(vae.model, vae.guide, x, size))
    assert losses[1] == pytest.approx(5 * losses[0], rel=1e-5)
    one = torch.tensor([Trace_ELBO().loss(vae.model, vae.guide, x) for _ in range(100)])
    many = Trace_ELBO(num_particles=100, vectorize_particles=True)
    difference = many.loss(vae.model, vae.guide, x) - one.mean()
    assert abs(difference) < 6 * one.std() / 50**0.5  # once in 1e8, with equal spreads


def test_a_learned_metric_follows_its_encoder():
    vae, x = small(learning(30)), torch.randn(50, 5)
    metric = vae.posterior.metric
    assert len(metric.embeddings) == 0
    torch.testing.assert_close(metric(torch.zeros(2)), 2 * torch.eye(2))
    with torch.no_grad():
        vae.guide(x[:20])
        torch.testing.assert_close(metric.embeddings, vae.posterior.initial(x[:20]).mean)
        vae.guide(x[20:40])
        torch.testing.assert_close(metric.centroids[:10], vae.posterior.initial(x[30:40]).mean)
        vae.guide(x)  # more data than room: the last ones stay
        kept = vae.posterior.initial(x[20:]).mean
    assert set(metric.centroids[:, 0].tolist()) == set(kept[:, 0].tolist())
    before = metric.centroids
    vae.embed(x)
    vae.eval().guide(x)
    assert metric.centroids is before
    assert not metric.factors.requires_grad


def test_a_trained_metric_passes_the_laws_of_metrics():
    vae, x = small(learning()), torch.randn(60, 5)
    pg.fit(vae, x, epochs=3, batch_size=20, seed=0, progress=False)
    laws = [
        law
        for name, law in vars(test_metric_laws).items()
        if name.startswith("test_") and [*inspect.signature(law).parameters] == ["case"]
    ]
    assert len(laws) >= 10
    metric = vae.posterior.metric.double()
    z = torch.cat([metric.embeddings, torch.randn(20, 2).double()])
    for law in laws:
        law((copy.deepcopy(metric), z))


def test_the_sampler_of_a_learned_metric():
    from pyrogeo.sampling.protocol import paper_protocol

    metric = learned(30, 2)
    z = paper_protocol(metric.inverse, metric.embeddings, 200, num_iterations=20, seed=0)
    assert z.shape == (200, 2)
    volume = metric.inverse.log_volume_element
    assert volume(z).mean() > volume(3 * torch.randn(200, 2).double()).mean() + 0.5


def test_the_mean_field_bound_is_refused():
    vae = small(hamiltonian(pg.networks.mlp(5, 4)))
    with pytest.raises(ValueError, match="leaves out auxiliary sites"):
        TraceMeanField_ELBO().loss(vae.model, vae.guide, torch.randn(3, 5))


@both
def test_steps_that_are_too_large_are_named(make):
    vae = small(make(pg.networks.mlp(5, 4), 20, step_size=1e3)).double()
    with pytest.raises(ArithmeticError, match="smaller step_size|not positive definite"):
        Trace_ELBO().loss(vae.model, vae.guide, 1e3 * torch.randn(5, 5).double())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda n: guides.Hamiltonian(n, -1), "num_steps: expected an integer of at least 0"),
        (lambda n: guides.Hamiltonian(n, 1.5), "num_steps: expected an integer"),
        (lambda n: guides.Hamiltonian(n, 1, step_size=0.0), "step_size must be positive"),
        (lambda n: guides.Hamiltonian(n, 1, step_size=math.nan), "step_size must be positive"),
        (lambda n: guides.Hamiltonian(n, 1, tempering=0.0), "0 < β₀ ≤ 1, got 0"),
        (lambda n: guides.Hamiltonian(n, 1, tempering=1.5), "0 < β₀ ≤ 1, got 1.5"),
        (lambda n: guides.Riemannian(n, learned(), num_iterations=0), "num_iterations"),
        (lambda n: guides.Riemannian(n, pg.geometry.Euclidean(), n), "can be learned"),
        (
            lambda n: guides.Riemannian(n, LearnedMetric.empty(5, 3), n).dynamics(
                torch.zeros(2, 5), guides.DiagonalNormal(n)(torch.zeros(2, 5))
            ),
            "end in 6 and 6 numbers, got 4 and 4",
        ),
        (lambda n: LearnedMetric.empty(0, 2), "room for entries"),
        (lambda n: LearnedMetric(torch.zeros(3, 2), torch.zeros(3, 2)), r"factors: expected shape"),
        (lambda n: LearnedMetric.empty(3, 2, temperature=0.0), "temperature must be positive"),
        (lambda n: LearnedMetric.empty(3, 2, regularization=-1.0), "regularization must be"),
        (lambda n: LearnedMetric.empty(3, 2)(torch.zeros(4, 3)), r"shape \(\*, 2\)"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(pg.networks.mlp(5, 4))


def test_under_the_euclidean_metric_it_is_the_hamiltonian_guide(digits):
    """Its leapfrog is then the plain one, whose kinetic energy does not depend on the point."""
    network = pg.networks.mlp((1, 8, 8), 16, 2 * 3)
    decoder = likelihoods.Bernoulli(pg.networks.mlp(3, 16, (1, 8, 8)))
    options = {"num_steps": 3, "step_size": 0.1, "tempering": 0.5}
    losses, gradients = [], []
    for guide in (
        guides.Hamiltonian(network, **options),
        guides.Riemannian(network, pg.geometry.Euclidean(), **options),
    ):
        vae = pg.VAE(priors.StandardNormal(3), guide, decoder)
        vae.zero_grad()
        pyro.set_rng_seed(0)
        losses.append(Trace_ELBO().loss_and_grads(vae.model, vae.guide, digits.train[:20]))
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters()]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    torch.testing.assert_close(*gradients, rtol=1e-3, atol=1e-4)

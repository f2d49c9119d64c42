"""Laws of the guides and priors made of Pyro's transforms, and of the prior that borrows its guide."""

import copy
import math
import pickle

import pyro
import pytest
import torch
from pyro.distributions import transforms
from pyro.infer import SVI, Predictive, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import nn

import pyrogeo as pg
from pyrogeo.vae import guides, likelihoods, priors

TRANSFORMS = {
    "planar": lambda d: [transforms.planar(d), transforms.planar(d)],
    "radial": lambda d: [transforms.radial(d), transforms.radial(d)],
    "IAF": lambda d: [transforms.affine_autoregressive(d, [8]) for _ in range(2)],
    "stable IAF": lambda d: [transforms.affine_autoregressive(d, [8], stable=True)],
    "iterated": lambda d: [transforms.iterated(2, transforms.planar, d)],
}
CONDITIONAL = {
    "conditional planar": lambda d: [transforms.conditional_planar(d, 4, [8]) for _ in range(2)],
    "conditional radial": lambda d: [transforms.conditional_radial(d, 4, [8])],
    "conditional IAF": lambda d: [transforms.conditional_affine_autoregressive(d, 4, [8])],
}
PRIORS = {
    "standard normal": lambda guide: priors.StandardNormal(2),
    "mixture": lambda guide: priors.Mixture(2, 3),
    "vamp": lambda guide: priors.Vamp(torch.randn(6, 5), guide, learn_weights=True),
    "MAF": lambda guide: priors.Flow(2, [transforms.affine_autoregressive(2, [8]).inv]),
    "coupling": lambda guide: priors.Flow(2, [transforms.spline_coupling(2, hidden_dims=[8])]),
}


@pytest.fixture(autouse=True)
def _clear():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


def flow_guide(name, d=2, n=5):
    if name in CONDITIONAL:
        return guides.Flow(pg.networks.mlp(n, 16, 2 * d + 4), CONDITIONAL[name](d), 4)
    return guides.Flow(pg.networks.mlp(n, 16, 2 * d), TRANSFORMS[name](d))


def program(prior="standard normal", guide=None, d=2, n=5):
    guide = guide or guides.DiagonalNormal(pg.networks.mlp(n, 16, 2 * d))
    return pg.VAE(PRIORS[prior](guide), guide, likelihoods.Normal(pg.networks.mlp(d, 16, n)))


def moved(before, module):
    return all((p != b).any() for p, b in zip(module.parameters(), before, strict=True))


@pytest.mark.parametrize("name", [*TRANSFORMS, *CONDITIONAL])
def test_log_determinants_are_those_of_autograd_s_jacobian(name):
    guide = flow_guide(name, d=3)
    for parameter in guide.transforms.parameters():
        parameter.data.add_(torch.randn_like(parameter), alpha=0.2)
    guide, x = guide.double(), torch.randn(1, 5).double()
    q = guide(x)
    z = q.rsample((7,))
    maps = guide(x).transforms

    def mapped(z0):
        for transform in maps:
            z0 = transform(z0)
        return z0

    z0 = torch.randn(7, 1, 3).double()
    jacobians = [torch.autograd.functional.jacobian(mapped, row[None])[0, 0, :, 0, 0] for row in z0]
    jacobians = torch.stack([torch.autograd.functional.jacobian(mapped, row) for row in z0])
    expected = torch.linalg.slogdet(jacobians[:, 0, :, 0]).logabsdet
    found = torch.zeros(7, 1).double()
    for transform in maps:
        after = transform(z0)
        found = found + transform.log_abs_det_jacobian(z0, after)
        z0 = after
    torch.testing.assert_close(found[:, 0], expected)
    assert q.log_prob(z).shape == (7, 1)


@pytest.mark.parametrize("name", [*TRANSFORMS, *CONDITIONAL])
def test_a_flow_s_density_at_its_draws_is_normalised(name):
    torch.manual_seed(1)
    q = flow_guide(name)(torch.randn(5))
    with torch.no_grad():
        z = q.sample((40_000,))
        narrow = torch.distributions.Normal(z.mean(0), 0.7 * z.std(0))
        ratio = (narrow.log_prob(z).sum(-1) - q.log_prob(z)).exp()
    # E_q[h/q] = ∫ h = 1. |t| ≤ 5 fails once in 2e6; an error of 2% would be seen.
    error = ratio.std() / math.sqrt(len(ratio))
    assert error < 0.004
    assert abs(ratio.mean() - 1) < 5 * error


@pytest.mark.parametrize("name", [*TRANSFORMS, *CONDITIONAL])
def test_a_flow_trains_and_is_copied(name):
    vae, x = program(guide=flow_guide(name)), torch.randn(20, 5)
    other = pickle.loads(pickle.dumps(vae))  # before Pyro ties weak references to its parameters
    torch.testing.assert_close(other.embed(x).mean, vae.embed(x).mean)
    before = [p.clone() for p in vae.parameters()]
    vectorised = Trace_ELBO(num_particles=3, vectorize_particles=True)
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), vectorised)
    losses = [svi.step(x) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert moved(before, vae)
    other, before = copy.deepcopy(vae), [p.clone() for p in vae.parameters()]
    torch.testing.assert_close(other.embed(x).mean, vae.embed(x).mean)
    SVI(other.model, other.guide, Adam({"lr": 1e-2}), vectorised).step(x)
    assert all(torch.equal(p, b) for p, b in zip(vae.parameters(), before, strict=True))
    assert torch.isfinite(vae.log_likelihood(x, 3)).all()
    assert Predictive(vae.model, guide=vae.guide, num_samples=3)(x)["z"].shape == (3, 20, 2)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("guide", ["normal", "planar", "IAF"])
def test_the_two_bounds_agree(prior, guide):
    if prior == "vamp" and guide == "planar":
        pytest.skip("without a density at given points")
    torch.manual_seed(3)
    vae = program(prior, flow_guide(guide) if guide != "normal" else None)
    x = torch.randn(10, 5)
    options = {"num_particles": 100, "vectorize_particles": True}
    means = []
    for elbo in (Trace_ELBO(**options), TraceMeanField_ELBO(**options)):
        losses = torch.tensor([elbo.loss(vae.model, vae.guide, x) for _ in range(20)])
        means.append((losses.mean(), losses.std() / math.sqrt(len(losses))))
    (first, error), (second, other) = means
    # t with 19 degrees of freedom, about: 6 standard errors fail once in 1e5.
    assert abs(first - second) < 6 * math.hypot(error, other) + 1e-4
    assert error < 0.02 * abs(first)


def test_the_moments_of_a_flow_are_those_of_its_draws():
    vae = program(guide=flow_guide("IAF", d=3), d=3)
    vae.posterior.transforms.learned[0].arn.layers[-1].bias.data.add_(1.0)
    x = torch.randn(4, 5)
    found = vae.posterior.posterior_moments(x, 20_000)
    z = vae.posterior(x).sample((50_000,))
    torch.testing.assert_close(found.mean, z.mean(0), rtol=0.05, atol=0.1)
    expected = torch.stack([torch.cov(z[:, i].T) for i in range(4)])
    torch.testing.assert_close(found.covariance_matrix, expected, rtol=0.1, atol=0.3)
    assert torch.equal(vae.embed(x).mean, vae.embed(x).mean)
    assert pg.CentroidMetric.from_posterior(vae.embed(x), 3).dimension == 3
    with pytest.raises(ValueError, match=r"at least d \+ 2 = 5, got 4"):
        vae.posterior.posterior_moments(x, 4)


def test_a_planar_flow_knows_its_own_draws_only():
    q = flow_guide("planar")(torch.randn(5))
    z = q.sample()
    assert torch.isfinite(q.log_prob(z))
    with pytest.raises(KeyError, match="cache"):
        q.log_prob(z + 0.1)


def test_what_a_flow_remembers_does_not_outlive_a_step():
    prior = priors.Flow(2, [transforms.affine_autoregressive(2, [8]).inv])
    z = torch.randn(6, 2)
    before = prior().log_prob(z)
    for parameter in prior.parameters():
        parameter.data.add_(0.3)
    assert (prior().log_prob(z) != before).all()


@pytest.mark.parametrize("prior", PRIORS)
def test_a_prior_trains_is_copied_and_saved(prior, tmp_path):
    vae, x = program(prior), torch.randn(20, 5)
    if prior in ("MAF", "coupling", "mixture"):
        assert list(vae.prior.parameters())
    before = [p.clone() for p in vae.parameters()]
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), Trace_ELBO())
    losses = [svi.step(x) for _ in range(30)]
    assert sum(losses[-5:]) < sum(losses[:5])
    assert moved(before, vae)
    assert Predictive(vae.model, num_samples=3)(size=4)["x"].shape == (3, 4, 5)
    vae.save(tmp_path / "saved")
    other = program(prior)
    other.load_weights(tmp_path / "saved")
    z = torch.randn(6, 2)
    for same in (other, copy.deepcopy(vae), pickle.loads(pickle.dumps(other))):
        torch.testing.assert_close(same.prior().log_prob(z), vae.prior().log_prob(z))
    pg.fit(vae, x, epochs=2, progress=False, seed=0)


def test_a_vamp_density_is_its_mixture():
    vae = program("vamp")
    vae.prior.logits.data.normal_()
    z = torch.randn(7, 2)
    u, weights = vae.prior.pseudo_inputs, vae.prior.logits.softmax(0)
    density = sum(w * vae.posterior(v).log_prob(z).exp() for w, v in zip(weights, u, strict=True))
    torch.testing.assert_close(vae.prior().log_prob(z), density.log())


def test_a_vamp_borrows_its_guide():
    vae, x = program("vamp"), torch.randn(10, 5)
    assert not [
        name for name in vae.state_dict() if name.startswith("prior.") and "network" in name
    ]
    assert len(list(vae.parameters())) == 2 + 4 + 4
    for other in (copy.deepcopy(vae), pickle.loads(pickle.dumps(vae))):
        assert other.prior.guide is other.posterior is not vae.posterior
    # Plain SVI steps every parameter once: by the learning rate, as Adam's first step does.
    before = [p.clone() for p in vae.parameters()]
    SVI(vae.model, vae.guide, Adam({"lr": 1e-3}), Trace_ELBO()).step(x)
    for parameter, old in zip(vae.parameters(), before, strict=True):
        assert (parameter - old).abs().max() < 1.001e-3
    with pytest.raises(ValueError, match="a guide of its own, which would not be trained"):
        pg.VAE(vae.prior, flow_guide("IAF"), vae.likelihood)


def test_a_vamp_leaves_batch_norm_alone():
    network = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))
    guide = guides.DiagonalNormal(network)
    prior = priors.Vamp(torch.randn(6, 5), guide)
    assert guide.training
    assert network[1].num_batches_tracked == 0
    assert prior().event_shape == (2,)

import copy
import pickle

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import SVI, Predictive, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from pyro.optim import Adam
from torch import nn

import pyrogeo as pg
from pyrogeo.recipes.standard import standard_vae
from tests.conftest import small_vae

ELBOS = {
    "Trace": Trace_ELBO(),
    "Trace, 3 vectorised particles": Trace_ELBO(num_particles=3, vectorize_particles=True),
    "TraceMeanField": TraceMeanField_ELBO(),
    "Renyi": RenyiELBO(alpha=0.0, num_particles=3),
    "Renyi, vectorised": RenyiELBO(alpha=0.0, num_particles=3, vectorize_particles=True),
}


@pytest.fixture(autouse=True)
def _clear():
    pyro.clear_param_store()
    yield
    pyro.clear_param_store()


@pytest.mark.parametrize("name", ELBOS)
def test_a_hand_written_svi_loop_trains(name, digits):
    vae = small_vae()
    before = [p.clone() for p in vae.parameters()]
    svi = SVI(vae.model, vae.guide, Adam({"lr": 3e-3}), ELBOS[name])
    losses = [svi.step(digits.train[i : i + 100]) for _ in range(3) for i in range(0, 1000, 100)]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert all((p != b).any() for p, b in zip(vae.parameters(), before, strict=True))


def test_two_programs_in_one_process_both_train(digits):
    vaes = [small_vae(), small_vae()]
    vaes.append(copy.deepcopy(vaes[0]))
    for vae in vaes:
        before = [p.clone() for p in vae.parameters()]
        SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), Trace_ELBO()).step(digits.train[:50])
        assert all((p != b).any() for p, b in zip(vae.parameters(), before, strict=True))


def test_convolutions_train_with_vectorised_particles(digits):
    vae = pg.VAE(
        pg.priors.StandardNormal(3),
        pg.guides.FullNormal(pg.networks.conv_encoder((1, 8, 8), 8, 16, 3 + 6)),
        pg.likelihoods.Normal(pg.networks.conv_decoder(3, 16, 8, (1, 8, 8)), learn_scale=True),
    )
    elbo = Trace_ELBO(num_particles=2, vectorize_particles=True)
    svi = SVI(vae.model, vae.guide, Adam({"lr": 1e-2}), elbo)
    losses = [svi.step(digits.train[:100]) for _ in range(15)]
    assert losses[-1] < losses[0]


def test_predictive_generates():
    vae = small_vae()
    draws = Predictive(vae.model, num_samples=4)(size=6)
    assert draws["x"].shape == (4, 6, 1, 8, 8)
    assert draws["z"].shape == (4, 6, 2)
    parallel = Predictive(vae.model, num_samples=4, parallel=True)(size=6)
    assert parallel["x"].shape == (4, 6, 1, 8, 8)


def test_size_scales_a_minibatch_to_the_data_set(digits):
    vae, x = small_vae(), digits.train[:10]
    losses = []
    for size in (None, 50):
        torch.manual_seed(1)
        losses.append(Trace_ELBO().loss(vae.model, vae.guide, x, size))
    assert losses[1] == pytest.approx(5 * losses[0], rel=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_beta_weighs_the_divergence(beta, digits):
    x = digits.train[:20]
    vae = small_vae(beta=beta)
    q = vae.posterior(x)
    kl = torch.distributions.kl_divergence(q, vae.prior().expand(q.batch_shape)).sum()
    torch.manual_seed(1)
    loss = TraceMeanField_ELBO().loss(vae.model, vae.guide, x)
    torch.manual_seed(1)
    z = q.rsample()
    expected = -vae.likelihood(z).log_prob(x).sum() + beta * kl
    assert loss == pytest.approx(expected.item(), rel=1e-5)


def linear_gaussian(scale=0.6, d=2, n=5):
    """A VAE whose evidence is known, with its exact posterior as guide, and one too narrow."""
    torch.manual_seed(3)
    decoder = nn.Linear(d, n).double()
    w, b = decoder.weight.detach(), decoder.bias.detach()
    precision = torch.eye(d).double() + w.T @ w / scale**2
    covariance = torch.linalg.inv(precision)
    factor = torch.linalg.cholesky(covariance)

    class Exact(nn.Module):
        def __init__(self, width):
            super().__init__()
            self.width = width

        def forward(self, x):
            loc = (x - b) @ w @ covariance / scale**2
            tril = torch.tril_indices(d, d, -1)
            below = (self.width * factor)[tril[0], tril[1]]
            rest = torch.cat([2 * (self.width * factor.diagonal()).log(), below])
            return torch.cat([loc, rest.expand(*x.shape[:-1], -1)], -1)

    evidence = torch.distributions.MultivariateNormal(b, w @ w.T + scale**2 * torch.eye(n).double())
    vaes = [
        pg.VAE(
            pg.priors.StandardNormal(d).double(),
            pg.guides.FullNormal(Exact(width)),
            pg.likelihoods.Normal(decoder, scale=scale).double(),
        )
        for width in (1.0, 0.8)
    ]
    return vaes, evidence


def test_log_likelihood_of_a_linear_gaussian_model():
    (exact, narrow), evidence = linear_gaussian()
    x = evidence.sample((30,))
    truth = evidence.log_prob(x)
    # With the exact posterior every importance weight is the evidence.
    torch.testing.assert_close(exact.log_likelihood(x, 1), truth, rtol=0, atol=1e-6)
    torch.testing.assert_close(narrow.log_likelihood(x, 30_000, seed=0), truth, rtol=0, atol=0.05)
    few, many = (narrow.log_likelihood(x, p, seed=0).mean() for p in (1, 50))
    assert few < many < truth.mean() + 0.02


def test_log_likelihood_ignores_beta_and_the_batch_size(digits):
    vae = small_vae()
    first = vae.log_likelihood(digits.test[:7], 5, batch_size=7, seed=0)
    vae.beta = 0.1
    torch.testing.assert_close(vae.log_likelihood(digits.test[:7], 5, batch_size=7, seed=0), first)
    state = torch.get_rng_state()
    assert vae.log_likelihood(digits.test[:7], 5, batch_size=2, seed=0).shape == (7,)
    assert torch.equal(torch.get_rng_state(), state)


def test_embed_and_decode_leave_no_trace():
    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        pg.guides.DiagonalNormal(pg.networks.conv_encoder((1, 8, 8), 4, 4)),
        pg.likelihoods.Bernoulli(pg.networks.conv_decoder(2, 4, (1, 8, 8))),
    )
    vae.likelihood.eval()
    before = copy.deepcopy(vae.state_dict())
    q = vae.embed(torch.rand(30, 1, 8, 8, dtype=torch.float64))
    p = vae.decode(np.zeros((30, 2)))
    assert vae.posterior.training
    assert not vae.likelihood.training
    assert q.mean.dtype == p.mean.dtype == torch.float32
    assert not q.mean.requires_grad
    assert not p.mean.requires_grad
    for name, tensor in vae.state_dict().items():  # batch norm saw nothing
        assert torch.equal(tensor, before[name])


@pytest.mark.parametrize("guide", ["diagonal", "full"])
def test_batches_make_no_difference(guide):
    parts = {
        "diagonal": lambda: pg.guides.DiagonalNormal(pg.networks.mlp(5, 16, 6)),
        "full": lambda: pg.guides.FullNormal(pg.networks.mlp(5, 16, 9)),
    }
    vae = pg.VAE(
        pg.priors.StandardNormal(3), parts[guide](), pg.likelihoods.Normal(pg.networks.mlp(3, 5))
    )
    x = torch.randn(23, 5)
    whole, pieces = vae.embed(x), vae.embed(x, batch_size=4)
    assert type(whole) is type(pieces)
    torch.testing.assert_close(whole.mean, pieces.mean)
    z = torch.randn(7, 4, 3)
    assert vae.decode(z, batch_size=2).batch_shape == (7, 4)
    torch.testing.assert_close(vae.decode(z, batch_size=2).mean, vae.decode(z).mean)
    assert vae.decode(z[0, 0]).event_shape == (5,)


def test_a_posterior_that_cannot_be_joined_is_made_in_one_pass():
    class Skewed(nn.Module):
        def forward(self, x):
            normal = pyro.distributions.Normal(x[..., :2], 1.0)
            transform = torch.distributions.transforms.AffineTransform(x[..., 2:4], 2.0)
            return pyro.distributions.TransformedDistribution(normal, [transform]).to_event(1)

    vae = pg.VAE(
        pg.priors.StandardNormal(2), Skewed(), pg.likelihoods.Normal(pg.networks.mlp(2, 5))
    )
    assert vae.embed(torch.randn(10, 5), batch_size=3).batch_shape == (10,)


def test_pickling_makes_another_program():
    vae = small_vae()
    other = pickle.loads(pickle.dumps(vae))
    assert other._name != vae._name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: small_vae(beta=-1.0), "beta must be finite and not negative, got -1"),
        (lambda: small_vae(beta=float("nan")), "beta must be finite"),
        (
            lambda: pg.VAE(pg.priors.StandardNormal, nn.Identity(), nn.Identity()),
            "the prior must be",
        ),
        (lambda: small_vae().embed(torch.zeros(0, 1, 8, 8)), "N ≥ 1"),
        (lambda: small_vae().embed(torch.zeros(2, 1, 8, 8), batch_size=0), "batch_size"),
        (lambda: small_vae().log_likelihood(torch.zeros(1, 1, 8, 8), 0), "num_particles"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Distributed(nn.Module):
    def __init__(self, make):
        super().__init__()
        self.make = make

    def forward(self, z):
        return self.make(z)


@pytest.mark.parametrize(
    "make",
    [
        lambda z: pyro.distributions.Delta(z, event_dim=1),
        lambda z: pyro.distributions.ContinuousBernoulli(logits=z, lims=(0.4, 0.6)).to_event(1),
        lambda z: pyro.distributions.ContinuousBernoulli(logits=z).to_event(1),
        lambda z: pyro.distributions.Laplace(z, 2.0).to_event(1),
        lambda z: pyro.distributions.StudentT(3.0, z, 2.0).to_event(1),
    ],
)
def test_batches_lose_nothing_of_any_distribution(make):
    vae = pg.VAE(pg.priors.StandardNormal(3), Distributed(make), Distributed(make))
    z = torch.randn(10, 3)
    whole, pieces = vae.decode(z), vae.decode(z, batch_size=3)
    assert (whole.batch_shape, whole.event_shape) == (pieces.batch_shape, pieces.event_shape)
    torch.testing.assert_close(whole.mean, pieces.mean)


def test_batch_norm_in_a_decoder_of_one_s_own():
    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        pg.guides.DiagonalNormal(pg.networks.mlp(5, 4)),
        pg.likelihoods.Normal(nn.Sequential(nn.Linear(2, 8), nn.BatchNorm1d(8), nn.Linear(8, 5))),
    )
    pg.fit(vae, torch.randn(30, 5), epochs=1, seed=0, progress=False)
    assert vae.log_likelihood(torch.randn(3, 5), 7, seed=0).shape == (3,)


@pytest.mark.parametrize("bad", [None, "images", torch.zeros(2, 1, 8, 8, dtype=torch.uint8)])
def test_what_cannot_be_embedded(bad):
    with pytest.raises(ValueError, match="expected"):
        small_vae().embed(bad)


def test_a_folder_and_back(tmp_path):
    for kind in ("diagonal", "full"):
        vae = standard_vae(
            (1, 8, 8), 2, hidden=(8,), guide=kind, likelihood="learned-normal", beta=0.3
        )
        vae.save(tmp_path / kind)
        again = pg.recipes.load(tmp_path / kind)
        x = torch.rand(3, 1, 8, 8)
        assert torch.equal(again.embed(x).mean, vae.embed(x).mean)
        assert again.statement == vae.statement
        assert again.beta == 0.3
    with pytest.raises(ValueError, match="holds a VAE already"):
        vae.save(tmp_path / "full")


def test_a_vae_of_one_s_own_parts_is_built_by_its_author(tmp_path):
    vae, other = small_vae(), small_vae()
    vae.save(tmp_path)
    with pytest.raises(ValueError, match="of its author's own parts; build it"):
        pg.recipes.load(tmp_path)
    other.load_weights(tmp_path)
    x = torch.rand(3, 1, 8, 8)
    assert torch.equal(other.embed(x).mean, vae.embed(x).mean)
    with pytest.raises(ValueError, match="does not fit: likelihood"):
        small_vae(width=16).load_weights(tmp_path)


def test_shared_parts_are_saved_once(tmp_path):
    network = pg.networks.mlp(5, 4)

    class Shared(pg.priors.StandardNormal):
        def __init__(self):
            super().__init__(2)
            self.network = network

    vae = pg.VAE(
        Shared(), pg.guides.DiagonalNormal(network), pg.likelihoods.Normal(pg.networks.mlp(2, 5))
    )
    vae.save(tmp_path)
    with torch.no_grad():
        network[0].weight.zero_()
    vae.load_weights(tmp_path)
    assert network[0].weight.abs().sum() > 0


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "vae.json").unlink(), "vae.json does not exist"),
        (lambda d: (d / "vae.json").write_text("{"), "is not a whole a pyrogeo VAE|is not a whole"),
        (lambda d: (d / "vae.json").write_text('{"kind": "a soup"}'), "holds a soup"),
        (
            lambda d: (d / "vae.json").write_text('{"kind": "a pyrogeo VAE", "format": 9}'),
            "format 9, written by a newer pyrogeo",
        ),
        (
            lambda d: (d / "weights.safetensors").write_bytes(b"12345678"),
            "not a whole safetensors file",
        ),
        (lambda d: (d / "weights.safetensors").unlink(), "does not exist"),
    ],
)
def test_broken_folders(tmp_path, spoil, message):
    standard_vae((5,), 2).save(tmp_path)
    spoil(tmp_path)
    with pytest.raises(ValueError, match=message):
        pg.recipes.load(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"network": "transformer"}, "network: expected one of mlp, conv"),
        ({"guide": "flow"}, "guide: expected one of"),
        ({"likelihood": "poisson"}, "likelihood: expected one of"),
        ({"network": "conv"}, r"needs images \(C, H, W\)"),
        ({"latent_dim": 0}, "latent dimension"),
    ],
)
def test_unknown_words(options, message):
    with pytest.raises(ValueError, match=message):
        standard_vae(**{"event_shape": (5,), "latent_dim": 2, **options})

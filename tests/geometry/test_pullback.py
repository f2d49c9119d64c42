"""The decoder's metric against the Jacobian of autograd, and against the divergence it stands for."""

import pytest
import torch
from torch import nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    Independent,
    Normal,
    Poisson,
    kl_divergence,
)

import pyrogeo as pg
from pyrogeo.geometry import Newton, Pullback, exp_map, geodesic
from tests.conftest import small_vae
from tests.geometry.metrics import Decoder


def network(m=5, d=2):
    return nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, m)).double()


def normal_of_fixed_scale(h):
    return Normal(h, torch.full_like(h, 0.3))


def normal_of_learned_scale(h):
    loc, scale = h.chunk(2, -1)
    return Independent(Normal(loc, (0.5 * scale).exp()), 1)


DECODED = {
    "normal": normal_of_fixed_scale,
    "normal, learned scale": normal_of_learned_scale,
    "Bernoulli": lambda h: Bernoulli(logits=h),
    "Bernoulli, probabilities": lambda h: Bernoulli(torch.sigmoid(h)),
    "continuous Bernoulli": lambda h: ContinuousBernoulli(logits=h),
    "Poisson": lambda h: Poisson(h.exp()),
    "independent of independent": lambda h: Independent(Independent(Bernoulli(logits=h), 1), 0),
}


def by_autograd(decoder, z):
    """JᵀJ, point by point."""
    jacobians = [torch.autograd.functional.jacobian(lambda x: decoder(x[None])[0], x) for x in z]
    return torch.stack([j.flatten(0, -2).T @ j.flatten(0, -2) for j in jacobians])


@pytest.mark.parametrize("d", [1, 2, 7])
def test_the_jacobian_of_autograd(d):
    decoder, z = network(d=d), torch.randn(6, d, dtype=torch.float64)
    expected = by_autograd(decoder, z)
    torch.testing.assert_close(Pullback(decoder)(z), expected)
    u, v = torch.randn(2, 6, d, dtype=torch.float64)
    inner = torch.einsum("bi,bij,bj->b", u, expected, v)
    torch.testing.assert_close(Pullback(decoder).inner(z, u, v), inner)


def test_of_a_distribution_it_is_the_mean_that_moves():
    decoder, z = Decoder(), torch.randn(6, 2, dtype=torch.float64)
    torch.testing.assert_close(Pullback(decoder)(z), by_autograd(lambda z: decoder(z).mean, z))


@pytest.mark.parametrize("name", DECODED)
def test_fisher_information_is_the_divergence_to_second_order(name):
    # KL(z, z + εv) = ½ ε² ‖v‖² + c ε³; the mean over ±v has no term of third order.
    net, z = network(6), torch.randn(5, 2, dtype=torch.float64)
    metric = Pullback(lambda z: DECODED[name](net(z)), fisher=True)
    v, epsilon = torch.randn_like(z), 1e-3

    def divergence(step):
        with torch.no_grad():
            decoded = [DECODED[name](net(x)) for x in (z, z + step)]
        return kl_divergence(*decoded).reshape(5, -1).sum(-1)

    numerical = (divergence(epsilon * v) + divergence(-epsilon * v)) / epsilon**2
    torch.testing.assert_close(metric.inner(z, v, v), numerical, rtol=1e-4, atol=1e-7)


def test_fisher_of_a_fixed_scale_is_the_pullback_over_its_square():
    net, z = network(), torch.randn(5, 2, dtype=torch.float64)
    fisher = Pullback(lambda z: normal_of_fixed_scale(net(z)), fisher=True)
    torch.testing.assert_close(fisher(z), Pullback(net)(z) / 0.3**2)


@pytest.mark.parametrize("fisher", [False, True])
def test_the_decoder_is_called_once_for_a_norm(fisher):
    calls = []

    class Counted(Decoder):
        def forward(self, z):
            calls.append(1)
            return super().forward(z)

    z = torch.randn(3, 2, dtype=torch.float64)
    metric = Pullback(Counted(), fisher)
    metric.norm(z, z)
    assert len(calls) == 1
    metric.inner(z, z, -z)
    assert len(calls) == 3


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_convolutional_decoder(batch_norm):
    net = pg.networks.conv_decoder(2, 8, 4, (1, 9, 7), batch_norm=batch_norm, activation=nn.Tanh)
    net = net.double().eval()
    z = torch.randn(4, 2, dtype=torch.float64)
    metric = Pullback(net)
    torch.testing.assert_close(metric(z), by_autograd(net, z))
    torch.testing.assert_close(metric(z[:1]), metric(z)[:1])  # each row by itself
    assert metric(z.reshape(2, 2, 2)).shape == (2, 2, 2, 2)
    found = geodesic(metric, z[0], z[1], solver=Newton(8))
    assert found.converged


@pytest.mark.parametrize("fisher", [False, True])
def test_the_likelihood_of_a_vae(fisher):
    network = pg.networks.mlp(2, 16, (1, 8, 8), activation=nn.Tanh)  # a ReLU's metric jumps
    guide = pg.guides.DiagonalNormal(pg.networks.mlp((1, 8, 8), 16, 4))
    vae = pg.VAE(pg.priors.StandardNormal(2), guide, pg.likelihoods.Bernoulli(network)).eval()
    metric = Pullback(vae.likelihood, fisher)
    z = torch.randn(4, 2)
    if not fisher:
        expected = by_autograd(lambda z: vae.likelihood(z).mean, z)
        torch.testing.assert_close(metric(z), expected)
        assert torch.equal(Pullback(vae.decode)(z), metric(z))
    assert set(map(id, metric.parameters())) == set(map(id, vae.likelihood.parameters()))
    found = geodesic(metric, 0.1 * z[:2], 0.1 * z[2:], solver=Newton(8))
    assert found.converged.all()


class Reversed(torch.autograd.Function):
    """Differentiable in reverse mode only."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def in_numpy(z):
    return torch.from_numpy(2 * z.detach().numpy())


@pytest.mark.parametrize("decoder", [Reversed.apply, in_numpy, lambda z: Bernoulli(in_numpy(z))])
def test_a_decoder_that_cannot_be_differentiated_forward(decoder):
    with pytest.raises(ValueError, match="cannot be differentiated in forward mode"):
        Pullback(decoder)(0.3 * torch.ones(3, 2))


@pytest.mark.parametrize("layer", [nn.BatchNorm1d(4), nn.Dropout(0.5)])
def test_a_decoder_in_training_mode(layer):
    decoder = nn.Sequential(nn.Linear(2, 4), layer)
    z = torch.randn(3, 2)
    with pytest.raises(ValueError, match=rf"{type(layer).__name__} is in training mode.*eval\(\)"):
        Pullback(decoder)(z)
    metric = Pullback(decoder).eval()
    torch.testing.assert_close(metric(z[:1]), metric(z)[:1])


def test_a_decoder_without_a_graph_gives_no_geodesics():
    metric = Pullback(small_vae(2).decode)
    with pytest.raises(ValueError, match="VAE.decode, keeps no graph"):
        exp_map(metric, torch.zeros(1, 2), torch.ones(1, 2))
    with pytest.raises(ValueError, match="VAE.decode, keeps no graph"):
        geodesic(metric, torch.zeros(2), torch.ones(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda z: Pullback(3), "expected a module or function"),
        (lambda z: Pullback(lambda z: z.sum(0, keepdim=True))(z), r"expected 3 rows .* \(1, 2\)"),
        (lambda z: Pullback(lambda z: z, fisher=True)(z), "Normal, Bernoulli.*got .*Tensor"),
        (lambda z: Pullback(lambda z: Categorical(logits=z), fisher=True)(z), "Categorical"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(torch.ones(3, 2))


def test_the_decoder_s_own_error_is_not_hidden():
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        Pullback(nn.Linear(3, 4))(torch.ones(3, 2))

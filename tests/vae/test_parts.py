"""Laws of the parts: every distribution is normalised and its draws follow it."""

import math

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import transforms
from torch import nn

import pyrogeo as pg
from pyrogeo.vae import guides, likelihoods, priors

GRID = torch.cartesian_prod(*[torch.linspace(-8, 8, 401, dtype=torch.float64)] * 2)
CELL = (16 / 400) ** 2


class Constant(nn.Module):
    """A network that ignores its input."""

    def __init__(self, values):
        super().__init__()
        self.register_buffer("values", torch.tensor(values, dtype=torch.float64))

    def forward(self, x):
        return self.values.expand(*x.shape[:-1], -1)


def flow_prior(*transforms):
    """Smooth transforms: a spline as it starts is too rough for the grid."""
    flow = priors.Flow(2, transforms)
    generator = torch.Generator().manual_seed(1)
    for parameter in flow.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.mul_(0.2).add_(noise, alpha=0.1)
    return flow()


def vamp(guide):
    torch.manual_seed(2)
    u = torch.randn(4, 3, dtype=next(guide.parameters()).dtype)
    prior = priors.Vamp(u, guide, learn_weights=True)
    prior.logits.data.copy_(torch.tensor([0.0, 1.0, -1.0, 0.5]))
    return prior


def seeded_linear(n_out):
    torch.manual_seed(1)
    return nn.Linear(3, n_out).double()


def iaf(context_dim=0):
    torch.manual_seed(1)
    if context_dim:
        transform = transforms.conditional_affine_autoregressive(2, context_dim, [8])
    else:
        transform = transforms.affine_autoregressive(2, [8])
    return guides.Flow(seeded_linear(4 + context_dim).float(), [transform], context_dim)


def mixture():
    torch.manual_seed(1)
    prior = priors.Mixture(2, 3).double()
    prior.logits.data.copy_(torch.tensor([0.0, 1.0, -1.0]))
    prior.log_scale.data.normal_().mul_(0.3)
    return prior


DISTRIBUTIONS = {
    "mixture": lambda: mixture()(),
    "vamp, diagonal": lambda: vamp(guides.DiagonalNormal(seeded_linear(4)))(),
    "vamp, full": lambda: vamp(guides.FullNormal(seeded_linear(5)))(),
    "vamp, flow": lambda: vamp(iaf(3))(),
    "masked autoregressive flow": lambda: flow_prior(
        transforms.affine_autoregressive(2, [8]).inv,
        transforms.permute(2, torch.tensor([1, 0])),
        transforms.affine_autoregressive(2, [8], stable=True).inv,
    ),
    "inverse autoregressive flow": lambda: flow_prior(
        transforms.affine_autoregressive(2, [8]), transforms.affine_autoregressive(2, [8])
    ),
    "coupling flow": lambda: flow_prior(
        transforms.affine_coupling(2, [8]), transforms.spline_coupling(2, hidden_dims=[8])
    ),
    "flow guide": lambda: iaf()(torch.ones(3)),
    "conditional flow guide": lambda: iaf(3)(torch.ones(3)),
    "standard normal": lambda: priors.StandardNormal(2).double()(),
    "fixed": lambda: priors.Fixed(
        dist.Laplace(torch.zeros(2).double(), torch.ones(2).double()).to_event(1)
    )(),
    "diagonal": lambda: guides.DiagonalNormal(Constant([0.5, -1.0, 0.3, -0.7]))(torch.zeros(1)),
    "bounded": lambda: guides.DiagonalNormal(Constant([0.5, -1.0, 9.0, -9.0]), torch.tanh)(
        torch.zeros(1)
    ),
    "full": lambda: guides.FullNormal(Constant([0.5, -1.0, 0.3, -0.7, 0.8]))(torch.zeros(1)),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_densities_integrate_to_one_and_match_their_draws(name):
    distribution = DISTRIBUTIONS[name]()
    grid = GRID.to(distribution.sample().dtype)  # Pyro's autoregressive inverses are float32 only
    with torch.no_grad():
        density = distribution.log_prob(grid).double().exp() * CELL
    assert density.sum().item() == pytest.approx(1, abs=2e-3)
    mean = (density[:, None] * GRID).sum(0)
    covariance = ((density[:, None] * (GRID - mean)).T @ (GRID - mean)).flatten()
    n = 40_000
    z = distribution.sample((n,)).double()
    products = torch.einsum("ni,nj->nij", z - mean, z - mean).flatten(1)
    # Six z-tests at 1e-6 together: |t| ≤ 5.2. A shift of 0.03 standard deviations would be seen.
    for sample, expected in [(z, mean), (products, covariance)]:
        error = sample.std(0) / math.sqrt(n)
        assert ((sample.mean(0) - expected).abs() <= 5.2 * error + 2e-3).all()


def test_full_normal_reads_its_network_as_documented():
    q = guides.FullNormal(Constant([1.0, 2.0, math.log(4.0), math.log(9.0), 0.5]))(
        torch.zeros(3, 1)
    )
    expected = torch.tensor([[2.0, 0.0], [0.5, 3.0]]).double()
    torch.testing.assert_close(q.scale_tril[1], expected)


@pytest.mark.parametrize(
    "part", [likelihoods.Bernoulli, likelihoods.ContinuousBernoulli, likelihoods.Normal]
)
@pytest.mark.parametrize("lead", [(), (5,), (4, 5)])
def test_likelihoods_take_any_leading_shape(part, lead):
    p = part(pg.networks.mlp(3, (2, 7)))(torch.randn(*lead, 3))
    assert (p.batch_shape, p.event_shape) == (lead, (2, 7))


def test_grey_levels_give_the_cross_entropy():
    network = pg.networks.mlp(3, 6)
    z, x = torch.randn(5, 3), torch.rand(5, 6)
    entropy = nn.functional.binary_cross_entropy_with_logits(network(z), x, reduction="none").sum(1)
    torch.testing.assert_close(likelihoods.Bernoulli(network)(z).log_prob(x), -entropy)


def test_continuous_bernoulli_is_normalised():
    p = likelihoods.ContinuousBernoulli(Constant([-3.0]))(torch.zeros(1, 2))
    x = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None]
    assert torch.trapezoid(p.log_prob(x).exp(), x[:, 0]).item() == pytest.approx(1, abs=1e-4)


def test_one_scale_makes_the_loss_of_the_paper():
    network = pg.networks.mlp(3, 6).double()
    z, x = torch.randn(5, 3).double(), torch.randn(5, 6).double()
    p = likelihoods.Normal(network, scale=0.5**0.5).double()(z)
    expected = ((x - network(z)) ** 2).sum(1) + 3 * math.log(math.pi)
    torch.testing.assert_close(-p.log_prob(x), expected, rtol=0, atol=1e-5)


def test_a_learned_scale_is_a_parameter():
    learned = likelihoods.Normal(pg.networks.mlp(1, 1), learn_scale=True)
    fixed = likelihoods.Normal(pg.networks.mlp(1, 1))
    assert len(list(learned.parameters())) == len(list(fixed.parameters())) + 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: priors.StandardNormal(0), "latent dimension is a positive integer, got 0"),
        (lambda: priors.Fixed(dist.Normal(0.0, 1.0)), r"event shape \(d,\)"),
        (
            lambda: priors.Fixed(torch.distributions.Normal(0.0, 1.0)),
            "expected a Pyro distribution",
        ),
        (lambda: priors.Fixed(dist.Normal(0.0, 1.0).expand([3, 2]).to_event(1)), "no batch shape"),
        (lambda: priors.Mixture(2, 0), "n_components is a positive integer, got 0"),
        (lambda: priors.Vamp(torch.zeros(4), nn.Identity()), r"shape \(M, \*event\)"),
        (lambda: priors.Vamp(torch.zeros(4, 3, dtype=int), nn.Identity()), "floating-point"),
        (lambda: priors.Vamp(torch.full((4, 3), math.nan), nn.Identity()), "finite"),
        (
            lambda: priors.Vamp(torch.zeros(4, 5), guides.DiagonalNormal(nn.Linear(3, 4))),
            r"does not take pseudo-inputs of shape \(4, 5\)",
        ),
        (
            lambda: priors.Vamp(torch.zeros(4, 3), guides.Deterministic(nn.Linear(3, 2))),
            "density is known at given points; that of this Deterministic is not",
        ),
        (
            lambda: priors.Vamp(
                torch.zeros(4, 3), guides.Flow(nn.Linear(3, 4), [transforms.planar(2)])
            ),
            "density is known at given points; that of this Flow is not",
        ),
        (
            lambda: priors.Vamp(torch.zeros(4, 3), guides.Hamiltonian(nn.Linear(3, 4))),
            "needs a guide with a density, got Hamiltonian",
        ),
        (lambda: priors.Flow(2, [transforms.planar(2)]), "Planar has no inverse"),
        (lambda: priors.Flow(2, [transforms.planar(2).inv]), "Planar has no inverse"),
        (lambda: priors.Flow(2, [transforms.radial(2)]), "Radial has no inverse"),
        (lambda: priors.Flow(2, [transforms.affine_autoregressive(3)]), "dimension 2"),
        (lambda: priors.Flow(2, [transforms.conditional_planar(2, 3)]), "no context"),
        (lambda: priors.Flow(2, [nn.Identity()]), "expected transforms of Pyro"),
        (lambda: priors.Flow(2, []), "at least one"),
        (lambda: guides.Flow(nn.Linear(3, 4), [transforms.planar(2)], 3), "not conditional"),
        (
            lambda: guides.Flow(nn.Linear(3, 4), [transforms.conditional_planar(2, 3)]),
            "context_dim is 0, and the transforms are conditional",
        ),
        (lambda: guides.Flow(nn.Linear(3, 4), [transforms.planar(2)], -1), "at least 0"),
        (
            lambda: guides.Flow(Constant([1.0] * 5), [transforms.planar(2)])(torch.zeros(1)),
            "got 5",
        ),
        (lambda: likelihoods.Normal(nn.Identity(), scale=0.0), "scale must be positive"),
        (lambda: likelihoods.Normal(nn.Identity(), scale=math.nan), "scale must be positive"),
        (lambda: guides.DiagonalNormal(Constant([1.0] * 3))(torch.zeros(1)), "2 d numbers"),
        (lambda: guides.FullNormal(Constant([1.0] * 4))(torch.zeros(1)), "got 4"),
    ],
)
def test_bad_parts(make, message):
    with pytest.raises(ValueError, match=message):
        make()

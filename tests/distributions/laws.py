"""Every distribution of the package by name, in the plane, for the contract: `LAWS`, and `EXCEPT` with reasons."""

from collections.abc import Callable
from functools import cache
from typing import NamedTuple

import pyro.distributions as dist
import torch
from pyro.distributions import transforms
from torch import nn
from torch.distributions import Distribution

import pyrogeo as pg
from pyrogeo.distributions import GeometricMixture, RiemannianNormal, RiemannianUniform
from pyrogeo.geometry import Constant, Spline
from pyrogeo.latents import fit_flow, fit_gaussian_mixture, fit_two_stage
from tests.geometry.metrics import diagonal, full

#: of ours that are no law over latent points
EXCEPT = {
    "GreyBernoulli": "of data; a cross-entropy, which is not normalised, by its documentation",
    "_Carried": "a point mass, where a leapfrog guide's map ends",
}


class Law(NamedTuple):
    """How to make a distribution in a dtype, and what is to be known of it.

    Attributes:
        make: from a dtype to a distribution.
        independent: how many independent draws one of its own counts for, at least: those of a population
            that was resampled repeat.
        exact: how far half of its integral's difference from one may go.
        single: whether it computes in float32 whatever it is asked for.
        dtypes: in which it can be made; Pyro's autoregressive inverses are float32 only.
    """

    make: Callable[[torch.dtype], Distribution]
    independent: float = 1.0
    exact: float = 2e-3
    single: bool = False
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float32)


def embeddings(dtype: torch.dtype) -> torch.Tensor:
    """A banana, 300 points."""
    u = torch.randn(300, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.stack([1.2 * u[:, 0], 0.5 * u[:, 1] + 0.3 * u[:, 0] ** 2], -1).to(dtype)


def linear(n_out: int) -> nn.Module:
    torch.manual_seed(1)
    return nn.Linear(3, n_out)


def flow_prior(*parts) -> nn.Module:
    """Smooth transforms: a spline as it starts is too rough for quadrature."""
    prior = pg.priors.Flow(2, parts)
    generator = torch.Generator().manual_seed(1)
    for parameter in prior.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        parameter.data.mul_(0.2).add_(noise, alpha=0.1)
    return prior


def mixture_prior() -> nn.Module:
    torch.manual_seed(1)
    return pg.priors.Mixture(2, 3)


def vamp(guide: nn.Module) -> nn.Module:
    """With its guide registered, so that both are cast; in a VAE the guide is."""
    torch.manual_seed(2)
    prior = pg.priors.Vamp(torch.randn(4, 3), guide)
    prior.add_module("of_the_vae", guide)
    return prior


def iaf() -> nn.Module:
    torch.manual_seed(1)
    return pg.guides.Flow(linear(4), [transforms.affine_autoregressive(2, [8])])


def fixed(dtype: torch.dtype, own: torch.dtype) -> Distribution:
    base = dist.Laplace(torch.zeros(2, dtype=own), torch.ones(2, dtype=own)).to_event(1)
    return pg.priors.Fixed(base).to(dtype)()


def of(prior: Callable[[], nn.Module]) -> Callable[[torch.dtype], Distribution]:
    """The law of a prior, which is frozen, as a kernel wants it."""
    return lambda dtype: prior().to(dtype).requires_grad_(False)()


def guided(guide: Callable[[], nn.Module]) -> Callable[[torch.dtype], Distribution]:
    """The law of a guide at one datum."""
    return lambda dtype: guide().to(dtype).requires_grad_(False)(torch.ones(3, dtype=dtype))


def riemannian_normal(dtype: torch.dtype) -> Distribution:
    metric = Constant(torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=dtype))
    loc = torch.tensor([0.3, -0.2], dtype=dtype)
    return RiemannianNormal(metric, loc, 0.5, num_proposals=256, solver=Spline(num_segments=4))


def on_centroids(dtype: torch.dtype) -> Distribution:
    metric = diagonal(3, 2, dtype)
    return RiemannianNormal(
        metric, metric.centroids[0], 0.5, num_proposals=256, solver=Spline(num_segments=4)
    )


QUICK = {"epochs": 3, "progress": False, "batch_size": 50}
LAWS = {
    "RiemannianUniform, diagonal": Law(lambda t: RiemannianUniform(diagonal(5, 2, t)), 0.5, 5e-3),
    "RiemannianUniform, full": Law(lambda t: RiemannianUniform(full(5, 2, t)), 0.5, 5e-3),
    "RiemannianUniform, with a proposal": Law(
        lambda t: RiemannianUniform(
            full(5, 2, t), proposal=GeometricMixture(full(5, 2, t), validate_args=False)
        ),
        0.5,
        5e-3,
    ),
    "RiemannianNormal, constant": Law(riemannian_normal, 0.25, 5e-3),
    "RiemannianNormal, centroids": Law(on_centroids, 0.1),
    "GeometricMixture, diagonal": Law(lambda t: GeometricMixture(diagonal(5, 2, t))),
    "GeometricMixture, full": Law(lambda t: GeometricMixture(full(5, 2, t))),
    "priors.StandardNormal": Law(of(lambda: pg.priors.StandardNormal(2))),
    "priors.Fixed": Law(lambda t: fixed(t, t)),
    "priors.Fixed, of float64": Law(lambda t: fixed(t, torch.float64)),
    "priors.Fixed, of float32": Law(lambda t: fixed(t, torch.float32), single=True),
    "priors.Mixture": Law(of(mixture_prior)),
    "priors.Vamp, diagonal": Law(of(lambda: vamp(pg.guides.DiagonalNormal(linear(4))))),
    "priors.Vamp, full": Law(of(lambda: vamp(pg.guides.FullNormal(linear(5))))),
    "priors.Vamp, flow": Law(of(lambda: vamp(iaf())), single=True, dtypes=(torch.float32,)),
    "priors.Flow, masked": Law(
        of(lambda: flow_prior(transforms.affine_autoregressive(2, [8]).inv)),
        single=True,
        dtypes=(torch.float32,),
    ),
    "priors.Flow, coupling": Law(of(lambda: flow_prior(transforms.affine_coupling(2, [8])))),
    "guides.DiagonalNormal": Law(guided(lambda: pg.guides.DiagonalNormal(linear(4)))),
    "guides.FullNormal": Law(guided(lambda: pg.guides.FullNormal(linear(5)))),
    "guides.Flow": Law(guided(iaf), single=True, dtypes=(torch.float32,)),
    "fit_gaussian_mixture, full": Law(lambda t: fit_gaussian_mixture(embeddings(t), 3)),
    "fit_gaussian_mixture, diagonal": Law(lambda t: fit_gaussian_mixture(embeddings(t), 3, "diag")),
    "fit_flow, masked": Law(lambda t: fit_flow(embeddings(t), num_blocks=2, **QUICK)),
    "fit_flow, inverse": Law(lambda t: fit_flow(embeddings(t), "inverse", num_blocks=2, **QUICK)),
    "fit_two_stage": Law(lambda t: fit_two_stage(embeddings(t), num_particles=256, **QUICK)),
}


@cache
def law(name: str, dtype: torch.dtype | None = None) -> Distribution:
    """Made once for all tests, which do not change it; in float64 if it can be."""
    torch.manual_seed(0)
    return LAWS[name].make(LAWS[name].dtypes[0] if dtype is None else dtype)

"""Guides beyond the normal distribution."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Unpack

from pyro.distributions.transforms import (
    conditional_affine_autoregressive,
    conditional_planar,
    conditional_radial,
)
from pyro.infer import Trace_ELBO
from torch.nn import Module

from pyrogeo._checks import whole
from pyrogeo.geometry import LearnedMetric
from pyrogeo.recipes.book import Made, Parts, recipe
from pyrogeo.recipes.standard import standard_parts
from pyrogeo.vae import VAE, guides, priors

__all__ = ["hvae", "iaf", "planar", "radial", "rhvae"]


def _flow_vae(
    event_shape: Sequence[int],
    latent_dim: int,
    parts: Parts,
    *,
    make: Callable[[int, int], Any],
    **numbers: int,
) -> Made:
    """`make(d, context)` makes one of the `flows` transforms, which get `context` numbers."""
    d = whole("latent_dim", latent_dim)
    flows, context = (whole(name, numbers[name]) for name in ("flows", "context"))
    encoder, likelihood = standard_parts(event_shape, d, 2 * d + context, **parts)
    guide = guides.Flow(encoder, [make(d, context) for _ in range(flows)], context)
    return VAE(priors.StandardNormal(d), guide, likelihood), Trace_ELBO()


@recipe
def planar(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    flows: int = 5,
    context: int = 32,
    **parts: Unpack[Parts],
) -> Made:
    """VAE whose posterior is carried on by planar flows.

    z ↦ z + u tanh(wᵀz + b), `flows` times; u, w and b are functions of `context` numbers that the
    encoder gives for each datum.

    Source: Rezende, Mohamed, *Variational inference with normalizing flows*, 2015.

    >>> type(planar((5,), 2)[0].posterior).__name__
    'Flow'
    """

    def make(d: int, context: int) -> Module:
        made: Module = conditional_planar(d, context, [context])
        return made

    return _flow_vae(event_shape, latent_dim, parts, make=make, flows=flows, context=context)


@recipe
def radial(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    flows: int = 5,
    context: int = 32,
    **parts: Unpack[Parts],
) -> Made:
    """VAE whose posterior is carried on by radial flows.

    z ↦ z + β (z − z₀) / (α + ‖z − z₀‖), `flows` times; z₀, α and β are functions of `context`
    numbers, as in `planar`.

    Source: Rezende, Mohamed, *Variational inference with normalizing flows*, 2015.

    >>> type(radial((5,), 2)[0].posterior).__name__
    'Flow'
    """

    def make(d: int, context: int) -> Module:
        made: Module = conditional_radial(d, context, [context])
        return made

    return _flow_vae(event_shape, latent_dim, parts, make=make, flows=flows, context=context)


@recipe
def iaf(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    flows: int = 2,
    units: int = 64,
    context: int = 32,
    **parts: Unpack[Parts],
) -> Made:
    """VAE whose posterior is carried on by inverse autoregressive flows.

    zᵢ ↦ μᵢ(z₁, …, zᵢ₋₁, h) + σᵢ(z₁, …, zᵢ₋₁, h) zᵢ, `flows` times, by networks of `units` hidden units;
    h are `context` numbers that the encoder gives for each datum.

    Source: Kingma et al., *Improving variational inference with inverse autoregressive flow*, 2016.

    >>> type(iaf((5,), 2)[0].posterior).__name__
    'Flow'
    """
    make = partial(conditional_affine_autoregressive, hidden_dims=[whole("units", units)])
    return _flow_vae(event_shape, latent_dim, parts, make=make, flows=flows, context=context)


@recipe
def hvae(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    num_steps: int = 3,
    step_size: float = 0.05,
    tempering: float = 0.5,
    **parts: Unpack[Parts],
) -> Made:
    """Hamiltonian VAE: leapfrog steps of log p(x, z) after a normal draw.

    z_K of K = `num_steps` leapfrog steps, with momentum tempered from β₀ = `tempering` to 1; the
    step size is learned, from `step_size`.

    Source: Caterini, Doucet, Sejdinovic, *Hamiltonian variational auto-encoder*, 2018.

    >>> hvae((5,), 2)[0].posterior.num_steps
    3
    """
    encoder, likelihood = standard_parts(event_shape, latent_dim, 2 * latent_dim, **parts)
    guide = guides.Hamiltonian(encoder, num_steps, step_size, tempering)
    return VAE(priors.StandardNormal(latent_dim), guide, likelihood), Trace_ELBO()


@recipe
def rhvae(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    num_steps: int = 3,
    step_size: float = 0.005,
    tempering: float = 0.5,
    centroids: int = 100,
    temperature: float = 1.5,
    regularization: float = 0.01,
    **parts: Unpack[Parts],
) -> Made:
    """Riemannian Hamiltonian VAE, which learns the metric of its momentum.

    As `hvae` with its `num_steps`, `step_size` and `tempering`, with momentum N(0, G(z)) and
    G(z)⁻¹ = Σᵢ Lᵢ Lᵢᵀ exp(−‖z − cᵢ‖²/T²) + λ I at the latest `centroids` means; T = `temperature`,
    λ = `regularization`. `vae.posterior.metric` is a `Metric`.

    Source: Chadebec et al., *Data augmentation in high dimensional low sample size setting using a
    geometry-based variational autoencoder*, 2022.

    >>> rhvae((5,), 2)[0].posterior.metric
    LearnedMetric(N=100, d=2, temperature=1.5, regularization=0.01)
    """
    d, centroids = whole("latent_dim", latent_dim), whole("centroids", centroids)
    encoder, likelihood = standard_parts(event_shape, d, 2 * d, **parts)
    metric_network, _ = standard_parts(event_shape, d, d * (d + 1) // 2, **parts)
    metric = LearnedMetric.empty(centroids, d, temperature, regularization)
    guide = guides.Riemannian(encoder, metric, metric_network, num_steps, step_size, tempering)
    return VAE(priors.StandardNormal(d), guide, likelihood), Trace_ELBO()

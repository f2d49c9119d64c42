"""Priors that are learned."""

from collections.abc import Sequence
from typing import Unpack

import torch
from pyro.distributions.transforms import affine_autoregressive
from pyro.infer import Trace_ELBO
from torch import Tensor

from pyrogeo._checks import whole
from pyrogeo.recipes.book import Made, Parts, recipe
from pyrogeo.recipes.standard import standard_parts
from pyrogeo.vae import VAE, guides, priors

__all__ = ["flow_prior", "mixture_prior", "vamp"]


@recipe
def vamp(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    data: Tensor,
    pseudo_inputs: int = 50,
    **parts: Unpack[Parts],
) -> Made:
    """VAE whose prior is a mixture of its own posteriors at learned pseudo-inputs.

    p(z) = (1/M) Σₘ q(z|uₘ). The M = `pseudo_inputs` points uₘ start at `data` drawn from torch's
    generator without replacement.

    Raises:
        ValueError: for data of another shape, or fewer of them than pseudo-inputs.

    Source: Tomczak, Welling, *VAE with a VampPrior*, 2018.

    >>> vamp((5,), 2, data=torch.rand(100, 5), pseudo_inputs=20)[0].prior
    Vamp(pseudo_inputs=(20, 5))
    """
    pseudo_inputs = whole("pseudo_inputs", pseudo_inputs)
    if tuple(data.shape[1:]) != tuple(event_shape):
        raise ValueError(
            f"data: expected events of shape {tuple(event_shape)}, got {tuple(data.shape[1:])}"
        )
    if pseudo_inputs > len(data):
        raise ValueError(
            f"pseudo_inputs: expected at most as many as there are data, {len(data)}, "
            f"got {pseudo_inputs}"
        )
    encoder, likelihood = standard_parts(event_shape, latent_dim, 2 * latent_dim, **parts)
    guide = guides.DiagonalNormal(encoder)
    start = data[torch.randperm(len(data))[:pseudo_inputs]].to(torch.get_default_dtype())
    return VAE(priors.Vamp(start, guide), guide, likelihood), Trace_ELBO()


@recipe
def mixture_prior(
    event_shape: Sequence[int], latent_dim: int, *, components: int = 10, **parts: Unpack[Parts]
) -> Made:
    """VAE with a learned Gaussian mixture as prior.

    p(z) = Σₖ wₖ N(z; mₖ, diag sₖ²) of `components` normals, learned with the rest.

    Source: Jiang et al., *Variational deep embedding*, 2017.

    >>> mixture_prior((5,), 2, components=4)[0].prior
    Mixture(d=2, n_components=4)
    """
    encoder, likelihood = standard_parts(event_shape, latent_dim, 2 * latent_dim, **parts)
    prior = priors.Mixture(latent_dim, components)
    return VAE(prior, guides.DiagonalNormal(encoder), likelihood), Trace_ELBO()


@recipe
def flow_prior(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    flows: int = 2,
    units: int = 64,
    **parts: Unpack[Parts],
) -> Made:
    """VAE with a learned masked autoregressive flow as prior.

    z = T_K ∘ … ∘ T_1(ε), ε ~ N(0, I), K = `flows`, each T the inverse of an affine autoregressive map
    with `units` hidden units, so that densities take one pass.

    Source: Papamakarios et al., *Masked autoregressive flow for density estimation*, 2017.

    >>> type(flow_prior((5,), 2)[0].prior).__name__
    'Flow'
    """
    encoder, likelihood = standard_parts(event_shape, latent_dim, 2 * latent_dim, **parts)
    latent_dim, flows = whole("latent_dim", latent_dim), whole("flows", flows)
    hidden = [whole("units", units)]
    transforms = [affine_autoregressive(latent_dim, hidden).inv for _ in range(flows)]
    prior = priors.Flow(latent_dim, transforms)
    return VAE(prior, guides.DiagonalNormal(encoder), likelihood), Trace_ELBO()

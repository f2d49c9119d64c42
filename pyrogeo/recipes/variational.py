"""A normal guide and a standard normal prior under different objectives."""

from collections.abc import Sequence
from typing import Unpack

from pyro.infer import Trace_ELBO

from pyrogeo._checks import whole
from pyrogeo.recipes.book import Made, Parts, recipe
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.vae import networks, objectives

__all__ = ["beta_vae", "iwae", "vae", "vae_gan"]


@recipe
def vae(event_shape: Sequence[int], latent_dim: int, **parts: Unpack[Parts]) -> Made:
    """Variational autoencoder.

    −E_q[log p(x|z)] + KL(q(z|x) ‖ N(0, I)).

    Source: Kingma, Welling, *Auto-encoding variational Bayes*, 2014.

    >>> vae((5,), 2)[0].statement["recipe"]
    'vae'
    """
    return standard_vae(event_shape, latent_dim, **parts), Trace_ELBO()


@recipe
def beta_vae(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    beta: float = 4.0,
    warmup: int = 0,
    **parts: Unpack[Parts],
) -> Made:
    """VAE with a weighed divergence, which may be warmed up.

    −E_q[log p(x|z)] + β KL(q(z|x) ‖ N(0, I)), β = `beta`; with `warmup`, it rises linearly from 0 in so
    many steps.

    Source: Higgins et al., *β-VAE: learning basic visual concepts*, 2017.

    >>> beta_vae((5,), 2, warmup=100)[1].weight
    0.0
    """
    vae = standard_vae(event_shape, latent_dim, beta=beta, **parts)
    warmup = whole("warmup", warmup, 0)
    return vae, objectives.Warmup(steps=warmup) if warmup else Trace_ELBO()


@recipe
def iwae(
    event_shape: Sequence[int], latent_dim: int, *, num_particles: int = 8, **parts: Unpack[Parts]
) -> Made:
    """Importance-weighted autoencoder.

    −log (1/K) Σₖ p(x, zₖ) / q(zₖ|x) in expectation, K = `num_particles`.

    Source: Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, 2016.

    >>> iwae((5,), 2, num_particles=3)[1].num_particles
    3
    """
    return standard_vae(event_shape, latent_dim, **parts), objectives.IWAE(num_particles)


@recipe
def vae_gan(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    beta: float = 0.1,
    weight: float = 0.1,
    discriminator: tuple[int, ...] = (256,),
    learning_rate: float = 1e-3,
    **parts: Unpack[Parts],
) -> Made:
    """VAE whose decoder is judged by a discriminator and its features.

    β KL(q ‖ N(0, I)) + ½‖f(x) − f(x̂)‖² − `weight` · [log D(x̂) + log D(x̃)], β = `beta`; f are the
    features of D, x̃ decoded prior draws. `discriminator` are its hidden units, `learning_rate` is its own.

    Source: Larsen et al., *Autoencoding beyond pixels using a learned similarity metric*, 2016.

    >>> sorted(vae_gan((5,), 2)[1].state_dict())
    ['discriminator', 'optimizer']
    """
    network = networks.mlp(tuple(event_shape), *discriminator, 1)
    objective = objectives.DataAdversarial(network, weight=weight, learning_rate=learning_rate)
    return standard_vae(event_shape, latent_dim, beta=beta, **parts), objective

"""Autoencoders: deterministic guides, regularised or matched to a prior."""

from collections.abc import Sequence
from typing import Unpack

from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from pyrogeo.recipes.book import Made, Parts, recipe
from pyrogeo.recipes.standard import standard_parts
from pyrogeo.vae import VAE, guides, networks, objectives, priors

__all__ = ["aae", "ae", "rae", "rae_gp", "rae_l2", "rae_sn", "wae_mmd"]


def _autoencoder(event_shape: Sequence[int], latent_dim: int, beta: float, parts: Parts) -> VAE:
    encoder, likelihood = standard_parts(event_shape, latent_dim, latent_dim, **parts)
    prior = priors.StandardNormal(latent_dim)
    return VAE(prior, guides.Deterministic(encoder), likelihood, beta)


@recipe
def ae(event_shape: Sequence[int], latent_dim: int, **parts: Unpack[Parts]) -> Made:
    """Autoencoder: reconstruction alone.

    −log p(x|f(x)). The prior stands for nothing; sample from a density fitted to the embeddings.

    Source: Hinton, Salakhutdinov, *Reducing the dimensionality of data with neural networks*, 2006.

    >>> vae, objective = ae((5,), 2)
    >>> vae.beta
    0.0
    """
    return _autoencoder(event_shape, latent_dim, 0.0, parts), objectives.Reconstruction()


@recipe
def rae(
    event_shape: Sequence[int], latent_dim: int, *, beta: float = 0.01, **parts: Unpack[Parts]
) -> Made:
    """Regularised autoencoder: reconstruction and small latent points.

    −log p(x|z) + (β/2)‖z‖², z = f(x), β = `beta`.

    Source: Ghosh et al., *From variational to deterministic autoencoders*, 2020.

    >>> vae, objective = rae((5,), 2, beta=0.1)
    >>> vae.beta
    0.1
    """
    return _autoencoder(event_shape, latent_dim, beta, parts), objectives.Reconstruction()


@recipe
def rae_l2(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    beta: float = 0.01,
    weight_decay: float = 1e-3,
    **parts: Unpack[Parts],
) -> Made:
    """RAE with weight decay on the decoder.

    −log p(x|z) + (β/2)‖z‖² + `weight_decay` ‖θ‖², β = `beta`, θ the decoder's parameters.

    Source: Ghosh et al., *From variational to deterministic autoencoders*, 2020.

    >>> rae_l2((5,), 2)[1].weight_decay
    0.001
    """
    objective = objectives.Reconstruction(weight_decay=weight_decay)
    return _autoencoder(event_shape, latent_dim, beta, parts), objective


@recipe
def rae_gp(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    beta: float = 0.01,
    gradient_penalty: float = 0.1,
    **parts: Unpack[Parts],
) -> Made:
    """RAE with a penalty on the decoder's Jacobian.

    −log p(x|z) + (β/2)‖z‖² + `gradient_penalty` ‖∂x̂/∂z‖², β = `beta`, the norm exact.

    Source: Ghosh et al., *From variational to deterministic autoencoders*, 2020.

    >>> rae_gp((5,), 2)[1].gradient_penalty
    0.1
    """
    objective = objectives.Reconstruction(gradient_penalty=gradient_penalty)
    return _autoencoder(event_shape, latent_dim, beta, parts), objective


@recipe
def rae_sn(
    event_shape: Sequence[int], latent_dim: int, *, beta: float = 0.01, **parts: Unpack[Parts]
) -> Made:
    """RAE with a spectral norm of one in each layer of the decoder.

    −log p(x|z) + (β/2)‖z‖², β = `beta`, the decoder's weights divided by their largest singular
    values, which power iterations follow during training. So an mlp of ReLUs has Lipschitz constant
    at most 1; of a convolution the norm is that of its weights as a matrix.

    Source: Ghosh et al., *From variational to deterministic autoencoders*, 2020.

    >>> vae, objective = rae_sn((5,), 2)
    >>> vae.likelihood.network[0].parametrizations.weight[0]
    _SpectralNorm()
    """
    vae = _autoencoder(event_shape, latent_dim, beta, parts)
    for module in vae.likelihood.modules():
        if isinstance(module, (nn.Linear, nn.ConvTranspose2d)):
            spectral_norm(module)
    return vae, objectives.Reconstruction()


@recipe
def wae_mmd(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    kernel: str = "imq",
    weight: float = 10.0,
    scale: float = 1.0,
    **parts: Unpack[Parts],
) -> Made:
    """Wasserstein autoencoder: the embeddings' law matches the prior's by MMD.

    −log p(x|z) + `weight` · MMD²(q(z), N(0, I)), z = f(x), of each batch; `kernel` is `"imq"` or
    `"rbf"`, `scale` its width in standard deviations of the prior.

    Source: Tolstikhin et al., *Wasserstein auto-encoders*, 2018.

    >>> wae_mmd((5,), 2, kernel="rbf")[1].weight
    10.0
    """
    objective = objectives.WassersteinMMD(kernel, weight, scale)
    return _autoencoder(event_shape, latent_dim, 1.0, parts), objective


@recipe
def aae(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    weight: float = 1.0,
    discriminator: tuple[int, ...] = (64, 64),
    learning_rate: float = 2e-3,
    **parts: Unpack[Parts],
) -> Made:
    """Adversarial autoencoder: a discriminator in latent space matches embeddings and prior.

    −log p(x|z) − `weight` · log D(z), z = f(x); D tells draws of N(0, I) from embeddings. `discriminator`
    are its hidden units, `learning_rate` is its own.

    Source: Makhzani et al., *Adversarial autoencoders*, 2016.

    >>> sorted(aae((5,), 2)[1].state_dict())
    ['discriminator', 'optimizer']
    """
    network = networks.mlp(latent_dim, *discriminator, 1)
    objective = objectives.LatentAdversarial(network, weight=weight, learning_rate=learning_rate)
    return _autoencoder(event_shape, latent_dim, 1.0, parts), objective

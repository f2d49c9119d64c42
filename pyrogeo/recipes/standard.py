"""A VAE from plain words: what the command line builds, and what a run folder can build again."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import nn

from pyrogeo._checks import whole
from pyrogeo.recipes.statement import stated
from pyrogeo.vae import VAE, guides, likelihoods, networks, priors

__all__ = ["standard_parts", "standard_vae"]

LIKELIHOODS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "bernoulli": likelihoods.Bernoulli,
    "continuous-bernoulli": likelihoods.ContinuousBernoulli,
    "normal": likelihoods.Normal,
    # One unit of loss for one unit of squared error, as in the paper.
    "squared-error": partial(likelihoods.Normal, scale=0.5**0.5),
    "learned-normal": partial(likelihoods.Normal, learn_scale=True),
}


def standard_vae(
    event_shape: Sequence[int],
    latent_dim: int,
    *,
    network: str = "mlp",
    hidden: Sequence[int] = (256, 256),
    guide: str = "diagonal",
    likelihood: str = "bernoulli",
    beta: float = 1.0,
) -> VAE:
    """A VAE with a standard normal prior, built from words and numbers.

    The words are kept as `vae.statement`, with which `recipes.load` builds it again.

    Args:
        event_shape: shape of one datum.
        latent_dim: d, the number of latent dimensions.
        network: `"mlp"`, or `"conv"` for images `(C, H, W)`.
        hidden: units, or channels, of the encoder's layers; the decoder has them in reverse.
        guide: `"diagonal"` or `"full"`.
        likelihood: `"bernoulli"`, `"continuous-bernoulli"`, `"normal"` (standard deviation 1),
            `"squared-error"` (the paper's loss) or `"learned-normal"`.
        beta: β.

    Raises:
        ValueError: for a word that is not known, or sizes that do not fit.

    >>> standard_vae((1, 8, 8), 2, hidden=(32,)).statement["hidden"]
    [32]
    """
    latent_dim = whole("the latent dimension", latent_dim)
    _check_word("guide", guide, ("diagonal", "full"))
    full = guide == "full"
    outputs = latent_dim * (latent_dim + 3) // 2 if full else 2 * latent_dim
    encoder, decoder = standard_parts(
        event_shape, latent_dim, outputs, network=network, hidden=hidden, likelihood=likelihood
    )
    vae = VAE(
        priors.StandardNormal(latent_dim),
        (guides.FullNormal if full else guides.DiagonalNormal)(encoder),
        decoder,
        beta,
    )
    statement = {
        "event_shape": tuple(event_shape),
        "latent_dim": latent_dim,
        "network": network,
        "hidden": tuple(hidden),
        "guide": guide,
        "likelihood": likelihood,
        "beta": vae.beta,
    }
    return stated(vae, statement)


def standard_parts(
    event_shape: Sequence[int],
    latent_dim: int,
    outputs: int,
    *,
    network: str = "mlp",
    hidden: Sequence[int] = (256, 256),
    likelihood: str = "bernoulli",
) -> tuple[nn.Module, nn.Module]:
    """The network of a guide, from data to `outputs` numbers, and a likelihood; words as above.

    >>> encoder, likelihood = standard_parts((1, 8, 8), 2, 4, hidden=(32,))
    >>> type(likelihood).__name__
    'Bernoulli'
    """
    event_shape, hidden = tuple(event_shape), tuple(hidden)
    latent_dim = whole("the latent dimension", latent_dim)
    _check_word("network", network, ("mlp", "conv"))
    _check_word("likelihood", likelihood, tuple(LIKELIHOODS))
    if network == "conv" and len(event_shape) != 3:
        raise ValueError(f"a convolution needs images (C, H, W), got events of shape {event_shape}")
    encoder, decoder = _networks(network, event_shape, hidden, latent_dim, outputs)
    return encoder, LIKELIHOODS[likelihood](decoder)


def _check_word(name: str, word: str, known: tuple[str, ...]) -> None:
    if word not in known:
        raise ValueError(f"{name}: expected one of {', '.join(known)}, got {word!r}")


def _networks(
    network: str, event_shape: tuple[int, ...], hidden: tuple[int, ...], d: int, outputs: int
) -> tuple[nn.Module, nn.Module]:
    back = tuple(reversed(hidden))
    if network == "conv":
        return (
            networks.conv_encoder(event_shape, *hidden, outputs),
            networks.conv_decoder(d, *back, event_shape),
        )
    return networks.mlp(event_shape, *hidden, outputs), networks.mlp(d, *back, event_shape)

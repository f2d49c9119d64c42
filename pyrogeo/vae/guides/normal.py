"""Guides whose distribution the network states outright: a point, a diagonal or a full normal."""

from collections.abc import Callable
from math import isqrt

import pyro.distributions as dist
import torch
from torch import Tensor, nn

__all__ = ["Deterministic", "DiagonalNormal", "FullNormal", "lower_triangular"]


class Deterministic(nn.Module):
    """q(z|x) = δ(z − f(x)), a point mass: the guide of an autoencoder.

    It has no entropy, and counts as density one at its point: under `Trace_ELBO` the bound is
    log p(x|f(x)) + β log p(f(x)), that of a maximum a posteriori estimate and no bound of log p(x).

    Args:
        network: from data to the `d` numbers of f(x).

    Source: Ghosh et al., *From variational to deterministic autoencoders*, 2020.

    >>> from pyrogeo.vae import networks
    >>> Deterministic(networks.mlp((1, 8, 8), 16, 3))(torch.zeros(5, 1, 8, 8)).mean.shape
    torch.Size([5, 3])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        return dist.Delta(self.network(x), event_dim=1)


class DiagonalNormal(nn.Module):
    """q(z|x) = N(μ(x), diag σ²(x)), the usual guide of a VAE.

    Args:
        network: from data to `2 d` numbers, the location and then the log-variance.
        log_variance_activation: applied to the log-variance; `torch.tanh` bounds it as the paper
            does on OASIS.

    Raises:
        ValueError: in use, for a network that ends in an odd number.

    >>> from pyrogeo.vae import networks
    >>> DiagonalNormal(networks.mlp((1, 8, 8), 16, 2 * 3))(torch.zeros(5, 1, 8, 8)).batch_shape
    torch.Size([5])
    """

    def __init__(
        self,
        network: nn.Module,
        log_variance_activation: Callable[[Tensor], Tensor] | None = None,
    ):
        super().__init__()
        self.network = network
        self.log_variance_activation = log_variance_activation

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        parameters = self.network(x)
        if parameters.shape[-1] % 2:
            raise ValueError(
                "the network of a DiagonalNormal ends in 2 d numbers, location and log-variance, "
                f"got {parameters.shape[-1]}"
            )
        loc, log_variance = parameters.chunk(2, -1)
        if self.log_variance_activation is not None:
            log_variance = self.log_variance_activation(log_variance)
        normal: dist.TorchDistribution = dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1)
        return normal


class FullNormal(nn.Module):
    """q(z|x) = N(μ(x), L(x) L(x)ᵀ) with L lower triangular.

    Args:
        network: from data to `d + d (d + 1) / 2` numbers: the location, twice the logarithms of
            L's diagonal (log-variances, as in `DiagonalNormal`), then L's entries below the
            diagonal, row by row.

    Raises:
        ValueError: in use, for a network that ends in another number, for any d.

    >>> from pyrogeo.vae import networks
    >>> FullNormal(networks.mlp((1, 8, 8), 16, 3 + 6))(torch.zeros(5, 1, 8, 8)).event_shape
    torch.Size([3])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        parameters = self.network(x)
        d = _dimension(parameters.shape[-1])
        loc, factor = parameters.split([d, d * (d + 1) // 2], -1)
        return dist.MultivariateNormal(loc, scale_tril=lower_triangular(factor, d))


def lower_triangular(parameters: Tensor, d: int) -> Tensor:
    """L from twice the logarithms of its diagonal, then the entries below it, row by row.

    Args:
        parameters: of shape `(*, d (d + 1) / 2)`.

    Returns:
        lower triangular matrices with a positive diagonal, of shape `(*, d, d)`.
    """
    log_variance, below = parameters.split([d, d * (d - 1) // 2], -1)
    row, column = torch.tril_indices(d, d, -1, device=parameters.device)
    strict = parameters.new_zeros(*log_variance.shape, d)
    strict[..., row, column] = below
    return strict + torch.diag_embed((0.5 * log_variance).exp())


def _dimension(n: int) -> int:
    d = (isqrt(9 + 8 * n) - 3) // 2
    if d < 1 or d * (d + 3) // 2 != n:
        raise ValueError(
            f"the network of a FullNormal ends in d + d (d + 1) / 2 numbers (2, 5, 9, 14, …), got {n}"
        )
    return d

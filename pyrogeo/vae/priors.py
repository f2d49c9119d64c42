"""Priors: an `nn.Module` whose `forward()` returns a Pyro distribution with event shape `(d,)`."""

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import nn

__all__ = ["Fixed", "StandardNormal"]


class StandardNormal(nn.Module):
    """N(0, I) in `d` dimensions.

    >>> StandardNormal(3)().event_shape
    torch.Size([3])
    """

    def __init__(self, d: int):
        super().__init__()
        if not isinstance(d, int) or d < 1:
            raise ValueError(f"the latent dimension is a positive integer, got {d!r}")
        self.register_buffer("loc", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def forward(self) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)

    def extra_repr(self) -> str:
        return str(len(self.loc))


class Fixed(nn.Module):
    """Any Pyro distribution as a prior, without parameters to learn.

    Args:
        distribution: event shape `(d,)`, no batch shape. It stays on the device and in the dtype
            in which it was made.

    Raises:
        ValueError: for a distribution that cannot be a Pyro sample site, or of another shape.

    >>> Fixed(dist.Laplace(torch.zeros(2), torch.ones(2)).to_event(1))().event_shape
    torch.Size([2])
    """

    def __init__(self, distribution: dist.TorchDistribution):
        super().__init__()
        if not isinstance(distribution, TorchDistributionMixin):
            raise ValueError(
                f"expected a Pyro distribution, got {type(distribution)}; for torch's own take the "
                "class of the same name in pyro.distributions"
            )
        if len(distribution.event_shape) != 1 or distribution.batch_shape:
            raise ValueError(
                "a prior has event shape (d,) and no batch shape, got event shape "
                f"{tuple(distribution.event_shape)} and batch shape "
                f"{tuple(distribution.batch_shape)}; .to_event(1) moves a dimension"
            )
        self.distribution = distribution

    def forward(self) -> dist.TorchDistribution:
        return self.distribution

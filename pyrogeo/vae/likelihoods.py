"""Likelihoods: an `nn.Module` whose `forward(z)` returns the Pyro distribution p(x|z).

Its event shape is that of one datum; its batch shape the leading shape of z. Points of another
precision are cast to that of the network, as a density on a float64 manifold gives them to a float32 VAE.
"""

import itertools

import pyro.distributions as dist
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from pyrogeo._checks import positive

__all__ = ["Bernoulli", "ContinuousBernoulli", "Normal", "picture"]


class GreyBernoulli(dist.Bernoulli):
    """log p(x) = x log p + (1 − x) log(1 − p) for x in [0, 1], and not only in {0, 1}."""

    support = constraints.unit_interval
    has_enumerate_support = False


class Bernoulli(nn.Module):
    """Independent pixels with log p(x|z) = Σ x log π + (1 − x) log(1 − π), π = sigmoid(network(z)).

    Grey levels in [0, 1] are allowed, as is usual for VAEs: the value is then the cross-entropy
    and no longer a normalised log-density, so bounds are not comparable with those of a
    `ContinuousBernoulli`, which is normalised. Draws are 0 or 1; `mean` is the picture.

    Args:
        network: from `(*, d)` to logits of shape `(*, *event)`.

    >>> two_pixels = Bernoulli(nn.Identity())(torch.zeros(3, 2))  # logits 0: both π are ½
    >>> two_pixels.log_prob(torch.tensor([0.0, 0.3]))  # 2 log ½ for each z, in nats
    tensor([-1.3863, -1.3863, -1.3863])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return _independent(GreyBernoulli(logits=_called(self.network, z)), z)


class ContinuousBernoulli(nn.Module):
    """Independent pixels in [0, 1] with the normalised density C(π) π^x (1 − π)^(1 − x).

    Args:
        network: from `(*, d)` to logits of shape `(*, *event)`.

    Source: G. Loaiza-Ganem, J. P. Cunningham, *The continuous Bernoulli*, NeurIPS 2019.

    >>> ContinuousBernoulli(nn.Identity())(torch.tensor([[4.0, -4.0]])).mean  # no sigmoid(±4)
    tensor([[0.7687, 0.2313]])
    """

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        return _independent(dist.ContinuousBernoulli(logits=_called(self.network, z)), z)


class Normal(nn.Module):
    """Independent pixels N(network(z), scale²).

    With `scale=0.5**0.5` the loss −ELBO is ‖x − x̂‖² + β KL(q(z|x) ‖ p(z)) + (D/2) log π, the
    paper's up to a constant.

    Args:
        network: from `(*, d)` to locations of shape `(*, *event)`.
        scale: standard deviation of every pixel, in units of the data.
        learn_scale: whether `scale` is a parameter, shared by all pixels, or stays as given.

    Raises:
        ValueError: for a scale that is not positive and finite.

    >>> plane = Normal(nn.Identity(), scale=0.5**0.5)(torch.zeros(1, 2))
    >>> plane.log_prob(torch.ones(2))  # −‖x − x̂‖² − log π
    tensor([-3.1447])
    """

    def __init__(self, network: nn.Module, scale: float = 1.0, learn_scale: bool = False):
        super().__init__()
        self.network = network
        log_scale = torch.tensor(positive("scale", scale)).log()
        if learn_scale:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def forward(self, z: Tensor) -> dist.TorchDistribution:
        loc = _called(self.network, z)
        return _independent(dist.Normal(loc, self.log_scale.exp().expand_as(loc)), z)


def picture(distribution: Distribution) -> Tensor:
    """What a distribution of data looks like: its mean, or its mode where it has none.

    Classes have no mean (torch calls it NaN), and neither has a Cauchy distribution.

    Args:
        distribution: of a likelihood, batch shape `(*,)`.

    Returns:
        data of shape `(*, *event)`.

    Raises:
        ValueError: for a distribution with neither.

    >>> picture(dist.Categorical(torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.2, 0.2]])).to_event(1))
    tensor([2., 0.])
    """
    mean = _or_none(distribution, "mean")
    if mean is not None and mean.isfinite().all():
        return mean
    mode = _or_none(distribution, "mode")
    if mode is not None and (mean is None or not mode.isnan().any()):
        return mode if mean is None else mode.to(mean.dtype)
    if (
        mean is not None and mean.isfinite().any()
    ):  # it has one, and the network went astray here and there
        return mean
    raise ValueError(
        f"{_innermost(distribution)} has neither a finite mean nor a mode, so that there is no picture of it; give "
        "the likelihood's distribution a property mean, or decode(z).sample() draws data"
    )


def _or_none(distribution: Distribution, name: str) -> Tensor | None:
    try:
        found: Tensor | None = getattr(distribution, name)
    except (NotImplementedError, AttributeError):
        return None
    return found


def _innermost(distribution: Distribution) -> str:
    while isinstance(distribution, torch.distributions.Independent):
        distribution = distribution.base_dist
    return type(distribution).__name__


def _called(network: nn.Module, z: Tensor) -> Tensor:
    """network(z), with z in the dtype of its parameters, if it has some."""
    tensors = itertools.chain(network.parameters(), network.buffers())
    like = next((t for t in tensors if t.is_floating_point()), z)
    called: Tensor = network(z.to(like.dtype))
    return called


def _independent(distribution: dist.TorchDistribution, z: Tensor) -> dist.TorchDistribution:
    """All dimensions that the network put behind the leading shape of z belong to one datum."""
    one: dist.TorchDistribution = distribution.to_event(len(distribution.batch_shape) - z.dim() + 1)
    return one

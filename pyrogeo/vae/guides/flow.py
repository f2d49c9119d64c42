"""The guide whose normal distribution is carried on by a normalising flow."""

from collections.abc import Callable, Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.conditional import ConditionalTransform
from torch import Tensor, nn
from torch.distributions import Transform

from pyrogeo._checks import whole
from pyrogeo.vae._moments import matched_normal
from pyrogeo.vae._transforms import Transformed, Transforms

__all__ = ["Flow"]


class Flow(nn.Module):
    """q(z|x): z = T_K ∘ … ∘ T_1(z₀) with z₀ ~ N(μ(x), diag σ²(x)).

    log q(z|x) = log N(z₀; μ, diag σ²) − Σₖ log abs(det ∂Tₖ). Of an `affine_autoregressive` this is an
    inverse autoregressive flow: drawing takes one pass.

    Planar and radial transforms have no inverse. Pyro remembers where a distribution's latest draw
    came from, so that `log_prob` knows that draw (the same tensor), which is all that an ELBO needs,
    and raises `KeyError` for every other point.

    Args:
        network: from data to `2 d + context_dim` numbers: location, log-variance, context.
        transforms: of `pyro.distributions.transforms`, in the order of application; each is made
            for dimension d. Conditional ones get the context.
        context_dim: numbers that the network gives to conditional transforms.

    Raises:
        ValueError: for what is no transform, a context that no transform takes or that is missing,
            and a network of another number of outputs.

    Source: Rezende, Mohamed, *Variational inference with normalizing flows*, 2015; Kingma et al.,
    *Improving variational inference with inverse autoregressive flow*, 2016.

    >>> from pyro.distributions.transforms import planar
    >>> from pyrogeo.vae import networks
    >>> guide = Flow(networks.mlp(5, 16, 2 * 3), [planar(3), planar(3)])
    >>> guide(torch.zeros(7, 5)).rsample().shape
    torch.Size([7, 3])
    """

    def __init__(
        self,
        network: nn.Module,
        transforms: Sequence[Transform | ConditionalTransform],
        context_dim: int = 0,
    ):
        super().__init__()
        self.network = network
        self.transforms = Transforms(transforms)
        context_dim = whole("context_dim", context_dim, 0)
        if self.transforms.conditional != (context_dim > 0):
            raise ValueError(
                f"context_dim is {context_dim}, and the transforms are "
                f"{'' if self.transforms.conditional else 'not '}conditional"
            )
        self.context_dim = context_dim

    def forward(self, x: Tensor) -> dist.TorchDistribution:
        parameters = self.network(x)
        both = parameters.shape[-1] - self.context_dim
        if both < 2 or both % 2:
            raise ValueError(
                f"the network of a Flow ends in 2 d + {self.context_dim} numbers, location, "
                f"log-variance and context, got {parameters.shape[-1]}"
            )
        loc, log_variance, context = parameters.split([both // 2, both // 2, self.context_dim], -1)
        base = dist.Normal(loc, (0.5 * log_variance).exp()).to_event(1)
        carried: dist.TorchDistribution = Transformed(base, self.transforms(context))
        return carried

    @torch.no_grad()
    def posterior_moments(
        self, x: Tensor, num_samples: int = 200, joint: Callable[[Tensor], Tensor] | None = None
    ) -> dist.TorchDistribution:
        """The normal distribution with the mean and covariance of `num_samples` draws.

        Args:
            x: data of shape `(B, *event)`.
            num_samples: at least `d + 2`.
            joint: not needed.

        Returns:
            a `MultivariateNormal`, batch shape `(B,)`.
        """
        q = self(x)
        return matched_normal(lambda n: q.sample((n,)), num_samples, q.batch_shape + q.event_shape)

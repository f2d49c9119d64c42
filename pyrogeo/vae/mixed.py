"""Mixtures of one family, as programs and kernels need them."""

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import constraints

from pyrogeo._numbers import log_sum_exp

__all__ = ["Mixed"]


class Mixed(dist.MixtureSameFamily):
    """Pyro's `MixtureSameFamily`, for HMC, NUTS and autoguides too, and for flows as components.

    Its support is that of the components: ℝᵈ is `constraints.real_vector`. Torch says otherwise, with a
    constraint of its own, from which no map to unconstrained space is known.

    Components see as many points as there are components, which a flow's need.

    >>> components = dist.Normal(torch.zeros(4, 2), 1.0).to_event(1)
    >>> Mixed(dist.Categorical(torch.ones(4)), components).support is constraints.real_vector
    True
    """

    @property
    def support(self) -> constraints.Constraint:
        """Where the components have their mass; torch's, where each may have it elsewhere."""
        own: constraints.Constraint = self.component_distribution.support
        base = own
        while isinstance(base, constraints.independent):
            base = base.base_constraint
        if base is constraints.real:
            return constraints.real_vector if own.event_dim == 1 else own
        if any(torch.is_tensor(value) for value in vars(base).values()):
            own = super().support  # bounds with a batch shape
        return own

    def log_prob(self, x: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(x)
        log_shares = self.mixture_distribution.logits.log_softmax(-1)
        return log_sum_exp(self.component_distribution.log_prob(self._pad(x)) + log_shares)

    def _pad(self, x: Tensor) -> Tensor:
        padded: Tensor = super()._pad(x)
        shape = list(padded.shape)
        shape[-1 - self._event_ndims] = self._num_component
        return padded.expand(shape)

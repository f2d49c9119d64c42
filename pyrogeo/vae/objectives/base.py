"""What objectives share: the programs' traces, and the methods that follow from one."""

from typing import Any

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import ELBO
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

__all__ = ["Objective", "is_deterministic"]


class Objective(ELBO):
    """An objective says `differentiable_loss`; the other methods follow.

    Attributes:
        uses_beta: whether the latent terms that β scales are part of it; where not, β ≠ 1 is refused.
        needs_entropy: whether it needs log q(z|x), which a deterministic guide has not.
        reads_parameters: whether it reads the programs' parameter sites.

    >>> import torch, pyrogeo as pg
    >>> class NegativeJoint(Objective):  # −log p(x, z) at the guide's z, without the entropy of q
    ...     def differentiable_loss(self, model, guide, *args, **kwargs):
    ...         return -self._get_trace(model, guide, args, kwargs)[0].log_prob_sum()
    >>> vae = pg.VAE(pg.priors.StandardNormal(2), pg.guides.Deterministic(pg.networks.mlp(5, 2)),
    ...              pg.likelihoods.Normal(pg.networks.mlp(2, 5)))
    >>> NegativeJoint().loss(vae.model, vae.guide, torch.zeros(10, 5)) > 0
    True
    """

    uses_beta = True
    needs_entropy = True
    reads_parameters = False

    def differentiable_loss(self, model, guide, *args: Any, **kwargs: Any) -> Tensor:
        """What is minimised: a scalar with the gradients of all parameters."""
        raise NotImplementedError

    def loss(self, model, guide, *args: Any, **kwargs: Any) -> float:
        """Its value, without gradients."""
        with torch.no_grad():
            return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def loss_and_grads(self, model, guide, *args: Any, **kwargs: Any) -> float:
        """Its value; adds to the parameters' gradients."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    def _get_trace(self, model, guide, args: tuple, kwargs: dict) -> tuple[Trace, Trace]:
        """Traces of the model, with the guide's draws, and of the guide."""
        return get_importance_trace("flat", self.max_plate_nesting, model, guide, args, kwargs)


def observed_site(trace: Trace) -> dict[str, Any]:
    """The one observed site of a model's trace."""
    return _only([trace.nodes[name] for name in trace.observation_nodes], "observed")


def latent_site(trace: Trace) -> dict[str, Any]:
    """The one latent site of a model's trace."""
    return _only([trace.nodes[name] for name in trace.stochastic_nodes], "latent")


def _only(sites: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    if len(sites) != 1:
        names = ", ".join(site["name"] for site in sites) or "none"
        raise ValueError(f"this objective expects a model with one {kind} site, got {names}")
    return sites[0]


def weighted_count(site: dict[str, Any]) -> float:
    """Number of data, or their scale if the batch stands for more."""
    return site["scale"] * site["log_prob"].numel()


def decoded(model, args: tuple, kwargs: dict, name: str, z: Tensor) -> Tensor:
    """The mean of p(x|z), of shape `(*, *event)` for z of shape `(*, d)` at the site `name`."""
    conditioned = poutine.condition(model, {name: z})
    trace = prune_subsample_sites(poutine.trace(conditioned).get_trace(*args, **kwargs))
    trace.remove_node(name)  # which counts as observed now
    return observed_site(trace)["fn"].mean


def is_deterministic(distribution: Any) -> bool:
    """Whether it is a point mass, which has no entropy."""
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.Delta)

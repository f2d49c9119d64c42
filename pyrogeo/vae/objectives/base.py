"""What objectives share: the contract with a training loop, the programs' traces, and what is read from them.

An author of an objective fills in `Objective.differentiable_loss`, says its traits, and reads the traces
with `latent_site`, `observed_site`, `weighted_count`, `decoded` and `mean_of`.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.infer import (
    ELBO,
    RenyiELBO,
    ReweightedWakeSleep,
    Trace_ELBO,
    Trace_MMD,
    TraceMeanField_ELBO,
)
from pyro.infer.enum import get_importance_trace
from pyro.poutine import Trace
from pyro.poutine.util import prune_subsample_sites
from torch import Tensor

__all__ = [
    "Objective",
    "Program",
    "Traits",
    "decoded",
    "is_deterministic",
    "latent_site",
    "mean_of",
    "observed_site",
    "traits_of",
    "weighted_count",
]

#: a model or a guide, as Pyro calls them
Program = Callable[..., Any]
Site = Mapping[str, Any]  # of a trace

# They ask whether there are parameters, and not for each.
_ASK_WHETHER = (Trace_ELBO, TraceMeanField_ELBO, RenyiELBO)


class Traits(NamedTuple):
    """What a training loop has to know of an objective, beside its losses.

    An objective says them as attributes of the same names; what it does not say is taken to be as here,
    and of Pyro's own ELBOs as they are.

    Attributes:
        uses_beta: whether the latent terms that β scales are part of it; where not, β ≠ 1 is refused.
        needs_entropy: whether it needs log q(z|x), which a deterministic guide has not.
        reads_parameters: whether it reads the programs' parameter sites. Where not, `fit` steps the
            parameters itself and the programs register only one site for each part, which is faster.

    >>> traits_of(Trace_ELBO())
    Traits(uses_beta=True, needs_entropy=True, reads_parameters=False)
    """

    uses_beta: bool = True
    needs_entropy: bool = True
    reads_parameters: bool = True


def traits_of(objective: ELBO) -> Traits:
    """The traits of an objective, asked once.

    Args:
        objective: one of ours, of Pyro's, or anything with `loss` and `loss_and_grads`.

    >>> traits_of(RenyiELBO()).uses_beta  # weights p/q know nothing of a factor of one of them
    False
    """
    known = {
        "uses_beta": not isinstance(objective, (RenyiELBO, ReweightedWakeSleep, Trace_MMD)),
        "needs_entropy": not isinstance(objective, Trace_MMD),
        "reads_parameters": type(objective) not in _ASK_WHETHER,
    }
    said: dict[str, Any] = {n: getattr(objective, n, value) for n, value in known.items()}
    return Traits(**said)


class Objective(ELBO):
    """An objective says `differentiable_loss`; the other methods follow.

    Attributes:
        uses_beta: one of its `Traits`, of the class or of one object, as the next two.
        needs_entropy: another.
        reads_parameters: another. Ours read no parameter sites unless they say so.

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

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """What is minimised: a scalar with the gradients of all parameters."""
        raise NotImplementedError

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Its value, without gradients."""
        with torch.no_grad():
            return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Its value; adds to the parameters' gradients."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()

    def _get_trace(
        self, model: Program, guide: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Trace, Trace]:
        """Traces of the model, with the guide's draws, and of the guide."""
        traces: tuple[Trace, Trace] = get_importance_trace(
            "flat", self.max_plate_nesting, model, guide, args, kwargs
        )
        return traces


def observed_site(trace: Trace) -> Site:
    """The one observed site of a model's trace, with `"name"`, `"value"`, `"fn"`, `"scale"`, `"log_prob_sum"`.

    Raises:
        ValueError: for a model with several, or none.

    >>> import pyro
    >>> model = lambda: pyro.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0))
    >>> observed_site(poutine.trace(model).get_trace())["value"]
    tensor(2.)
    """
    return _only([trace.nodes[name] for name in trace.observation_nodes], "observed")


def latent_site(trace: Trace) -> Site:
    """The one latent site of a model's trace; entries and errors as of `observed_site`.

    Under `Objective` its `"value"` is the guide's draw, and its `"fn"` the prior.

    >>> import pyro
    >>> latent_site(poutine.trace(lambda: pyro.sample("z", dist.Delta(torch.ones(2)))).get_trace())["name"]
    'z'
    """
    return _only([trace.nodes[name] for name in trace.stochastic_nodes], "latent")


def _only(sites: Sequence[Site], kind: str) -> Site:
    if len(sites) != 1:
        names = ", ".join(site["name"] for site in sites) or "none"
        raise ValueError(f"this objective expects a model with one {kind} site, got {names}")
    return sites[0]


def weighted_count(site: Site) -> float:
    """Number of data at a site, or of those that the batch stands for.

    >>> weighted_count({"scale": 5.0, "log_prob": torch.zeros(4)})
    20.0
    """
    count: float = site["scale"] * site["log_prob"].numel()
    return count


def decoded(
    model: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any], name: str, z: Tensor
) -> Tensor:
    """The mean of p(x|z), differentiable in z.

    Args:
        model: that an objective gets.
        args, kwargs: with which it is called.
        name: of the latent site.
        z: points of shape `(*, d)`.

    Returns:
        shape `(*, *event)`.

    >>> import pyrogeo as pg
    >>> vae = pg.VAE(pg.priors.StandardNormal(2), pg.guides.Deterministic(pg.networks.mlp(5, 2)),
    ...              pg.likelihoods.Normal(pg.networks.mlp(2, 5)))
    >>> decoded(vae.model, (torch.zeros(10, 5),), {}, "z", torch.zeros(10, 2)).shape
    torch.Size([10, 5])
    """
    conditioned = poutine.condition(model, {name: z})
    trace = prune_subsample_sites(poutine.trace(conditioned).get_trace(*args, **kwargs))
    trace.remove_node(name)  # which counts as observed now
    return mean_of(observed_site(trace)["fn"])


def mean_of(distribution: Any) -> Tensor:
    """The mean of a likelihood's distribution, to be compared with data.

    Raises:
        ValueError: for one without a mean, whose mode has no gradient in its place.

    >>> mean_of(dist.Categorical(torch.ones(3)))
    Traceback (most recent call last):
    ValueError: this objective compares data with the mean of p(x|z), which Categorical has not; take an ELBO
    """
    try:
        mean: Tensor | None = distribution.mean
    except NotImplementedError:
        mean = None
    if mean is None or mean.isnan().all():
        while isinstance(distribution, torch.distributions.Independent):
            distribution = distribution.base_dist
        raise ValueError(
            "this objective compares data with the mean of p(x|z), which "
            f"{type(distribution).__name__} has not; take an ELBO"
        )
    return mean


def is_deterministic(distribution: Any) -> bool:
    """Whether a distribution is a point mass, which has no entropy.

    >>> is_deterministic(dist.Delta(torch.zeros(2)).to_event(1))
    True
    """
    while hasattr(distribution, "base_dist"):
        distribution = distribution.base_dist
    return isinstance(distribution, dist.Delta)

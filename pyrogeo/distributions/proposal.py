"""Who can be drawn from exactly: whoever has a proposal, its metric's own or one that the user passes.

A `Proposal` has `sample(n)`, `log_prob(z)`, `log_prob_and_grad(z)` and a `scale`; any torch or Pyro
distribution over points `(d,)` can be made one.
"""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo._checks import whole
from pyrogeo.annealing import Proposal
from pyrogeo.distributions.mixture import StartingLaw, has_centroids
from pyrogeo.geometry import Metric

__all__ = ["FromDistribution", "Proposal", "agreed_dimension", "as_proposal", "proposal_of"]


class FromDistribution:
    """A distribution over points as a `Proposal`, with its gradient by autograd.

    Args:
        distribution: of torch or Pyro, event shape `(d,)`, no batch; outside its support its density is zero.
        scale: the units of moves, as in `moves`; None takes the distribution's standard deviations.
        dtype: that draws are cast to; None leaves them as they are.

    Raises:
        ValueError: for another shape, or without a scale if the standard deviations are not known, or
            not positive and finite.

    >>> from torch.distributions import Independent, Normal
    >>> proposal = FromDistribution(Independent(Normal(torch.zeros(2), 3.0), 1))
    >>> proposal.scale
    tensor([3., 3.])
    >>> proposal.log_prob_and_grad(torch.ones(1, 2))[1]
    tensor([[-0.1111, -0.1111]])
    """

    def __init__(
        self,
        distribution: Distribution,
        scale: Tensor | float | None = None,
        dtype: torch.dtype | None = None,
    ):
        batch, event = torch.Size(distribution.batch_shape), torch.Size(distribution.event_shape)
        if batch or len(event) != 1:
            raise ValueError(
                "proposal: expected a distribution of event shape (d,) and no batch, got batch shape "
                f"{tuple(batch)} and event shape {tuple(event)}; torch.distributions.Independent turns one into the other"
            )
        self.distribution, self.dtype, self.event_shape = distribution, dtype, event
        self.scale = _deviations(distribution) if scale is None else scale
        if dtype is not None and torch.is_tensor(self.scale):
            self.scale = self.scale.to(dtype)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.distribution})"

    def sample(self, n: int) -> Tensor:
        """`n` draws of shape `(n, d)`, from torch's global generator."""
        z = self.distribution.sample((n,))
        return z if self.dtype is None else z.to(self.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density at points `(n, d)`, shape `(n,)`; −∞ outside the support."""
        inside = self._inside(z)
        if inside.all():
            return self.distribution.log_prob(z)
        value = torch.full_like(z[:, 0], -torch.inf)
        if not inside.any():
            return value
        return value.masked_scatter(inside, self.distribution.log_prob(z[inside]).to(z.dtype))

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient, of shapes `(n,)` and `(n, d)`, both detached."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.log_prob(z)
            gradient = torch.zeros_like(z)  # of a density that is constant, as within a box
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(
                    value.sum(), z, allow_unused=True, materialize_grads=True
                )
        return value.detach(), gradient

    def _inside(self, z: Tensor) -> Tensor:
        try:
            support = self.distribution.support
        except NotImplementedError:
            support = None
        if support is None:  # a distribution that does not say where it lives
            return torch.isfinite(z).all(-1)
        inside: Tensor = support.check(z)
        return inside


def as_proposal(law: Any, dtype: torch.dtype | None = None) -> Proposal:
    """A `Proposal` as it is, or a distribution made one.

    Args:
        law: either.
        dtype: of a distribution's draws.

    Raises:
        ValueError: for anything else, and as `FromDistribution` does.

    >>> from torch.distributions import Independent, Normal
    >>> as_proposal(Independent(Normal(torch.zeros(2), 1.0), 1)).sample(3).shape
    torch.Size([3, 2])
    """
    if isinstance(law, Proposal) and not isinstance(law, Distribution):
        return law
    if isinstance(law, Distribution):
        return FromDistribution(law, dtype=dtype)
    raise ValueError(
        "proposal: expected a distribution, or something with sample(n), log_prob(z), "
        f"log_prob_and_grad(z) and scale, got {type(law).__name__}"
    )


def proposal_of(metric: Metric) -> Proposal | None:
    """The proposal that a metric brings; None if it has none.

    It is what its method `proposal()` returns, of a metric that has one; of a metric with centroids, the
    geometric mixture with the vacuum's Gaussian.

    Args:
        metric: any `Metric`.

    >>> from pyrogeo.geometry import DiagonalCentroidMetric, Euclidean
    >>> proposal_of(Euclidean()) is None
    True
    >>> type(proposal_of(DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0)))
    <class 'pyrogeo.distributions.mixture.StartingLaw'>
    """
    own = getattr(metric, "proposal", None)
    if callable(own):
        return as_proposal(own(), metric.dtype)
    return StartingLaw(metric) if has_centroids(metric) else None


def agreed_dimension(metric: Metric, proposal: Any, dimension: int | None) -> int:
    """d: the metric's own, the proposal's or the user's, which must agree.

    Args:
        metric, proposal: with or without an attribute `dimension`, or `event_shape`.
        dimension: that the user said, or None.

    Raises:
        ValueError: where they do not, or none tells.

    >>> from pyrogeo.geometry import Euclidean
    >>> agreed_dimension(Euclidean(), None, 2)
    2
    """
    shape = getattr(proposal, "event_shape", None)
    told = [getattr(metric, "dimension", None), shape[0] if shape else None, dimension]
    told = [d for d in told if d is not None]
    try:
        (d,) = {whole("dimension", d) for d in told}
    except ValueError:
        raise ValueError(
            f"expected the dimension of {type(metric).__name__}, "
            f"{getattr(metric, 'dimension', 'a positive integer')}; pass dimension=..., got {dimension!r}"
            + (f", and a proposal of event shape {tuple(shape)}" if shape else "")
        ) from None
    return d


def _deviations(distribution: Distribution) -> Tensor:
    try:
        scale = distribution.stddev.detach()
    except (NotImplementedError, AttributeError):
        scale = None
    if scale is None or not (torch.isfinite(scale) & (scale > 0)).all():
        raise ValueError(
            f"proposal: the standard deviations of {distribution} are not known or not finite; say in "
            "what units points move: FromDistribution(distribution, scale=...)"
        )
    return scale

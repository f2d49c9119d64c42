"""A distribution of one precision in a program of another: it computes in its own, and is seen in theirs."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

__all__ = ["seen_as"]


def seen_as(like: Tensor, distribution: TorchDistribution) -> TorchDistribution:
    """The distribution with draws of the dtype and on the device of `like`; itself, where they are so.

    >>> import pyro.distributions as dist
    >>> laplace = dist.Laplace(torch.zeros(2).double(), torch.ones(2).double()).to_event(1)
    >>> seen = seen_as(torch.empty(0), laplace)
    >>> seen.sample().dtype, seen.log_prob(torch.zeros(2))  # −2 log 2
    (torch.float32, tensor(-1.3863))
    """
    own = next(_tensors(distribution, set()), like)
    if (own.dtype, own.device) == (like.dtype, like.device):
        return distribution
    return _Seen(distribution, own, like)


class _Seen(TorchDistribution):
    """Draws become like one tensor, points like another before their density is asked for."""

    arg_constraints = {}  # noqa: RUF012, as torch declares it

    def __init__(self, base: TorchDistribution, own: Tensor, like: Tensor):
        self.base_dist, self._own, self._like = base, own.new_empty(0), like
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]  # a class attribute in torch, here of one object
        known: bool = self.base_dist.has_rsample
        return known

    @property
    def support(self) -> constraints.Constraint | None:
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        return self.base_dist.mean.to(self._like)

    @property
    def variance(self) -> Tensor:
        return self.base_dist.variance.to(self._like)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.sample(torch.Size(sample_shape)).to(self._like)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        return self.base_dist.rsample(torch.Size(sample_shape)).to(self._like)

    def log_prob(self, value: Tensor) -> Tensor:
        return self.base_dist.log_prob(value.to(self._own)).to(value)

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> "_Seen":
        return _Seen(self.base_dist.expand(torch.Size(batch_shape)), self._own, self._like)

    def __repr__(self) -> str:
        return f"{self.base_dist!r} in {self._like.dtype}"


def _tensors(thing: Any, met: set[int]) -> Iterator[Tensor]:
    """The floating-point tensors that a distribution is made of, its parameters or those of its parts."""
    if id(thing) in met:
        return
    met.add(id(thing))
    if torch.is_tensor(thing):
        if thing.is_floating_point():
            yield thing
    elif isinstance(thing, nn.Module):
        yield from (t for t in (*thing.parameters(), *thing.buffers()) if t.is_floating_point())
    elif isinstance(thing, Distribution):
        for part in list(vars(thing).values()):
            yield from _tensors(part, met)
    elif isinstance(thing, (list, tuple)):
        for part in thing:
            yield from _tensors(part, met)

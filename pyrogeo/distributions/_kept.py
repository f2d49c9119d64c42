"""What a density has computed, kept as long as its metric stays what it was."""

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

from pyrogeo._random import derived_seed
from pyrogeo.geometry import Metric

__all__ = ["Kept", "seed_of"]

T = TypeVar("T")


class Kept:
    """Facts by name, aids and a pool of draws, forgotten when the metric was moved, cast or loaded anew.

    A copy (`copy.deepcopy`, a pickle) takes the facts with it and leaves the aids, which are large and can be
    made again, and the pool: served twice, the same draws would pass for independent ones. `copy.copy` of a
    density shares all of them, so that no draw is served twice either.

    Args:
        metric: of the density.
        facts: to begin with.
    """

    def __init__(self, metric: Metric, facts: dict[str, Any] | None = None):
        self.metric, self.key = metric, _state(metric)
        self.facts, self.aids = dict(facts or {}), dict[str, Any]()
        self.pool: Tensor | None = None
        self.numbers = _numbers(metric) if facts else None

    def fact(self, name: str, make: Callable[[], T]) -> T:
        """What was computed under this name, or now is."""
        self._forget_if_changed()
        return _known(self.facts, name, make)

    def aid(self, name: str, make: Callable[[], T]) -> T:
        """A fact that copies leave behind."""
        self._forget_if_changed()
        return _known(self.aids, name, make)

    def keep(self, name: str, value: Any) -> None:
        """In the place of what was known before."""
        self._forget_if_changed()
        self.facts[name] = value

    def draws(self, n: int, populate: Callable[[], Tensor]) -> Tensor:
        """`n` draws `(n, d)` from the pool, without replacement; `populate` makes more of them."""
        self._forget_if_changed()
        while self.pool is None or len(self.pool) < n:
            more = populate()
            self.pool = more if self.pool is None else torch.cat([self.pool, more])
        draws, self.pool = self.pool[:n], self.pool[n:]
        return draws

    def _forget_if_changed(self) -> None:
        key = _state(self.metric)
        if key != self.key:
            # Tensors move to shared memory on their way to another process, and are what they were.
            if self.numbers is None or self.numbers != _numbers(self.metric):
                self.facts, self.aids, self.pool, self.numbers = {}, {}, None, None
            self.key = key
        if self.numbers is None:
            self.numbers = _numbers(self.metric)

    def __reduce__(self) -> tuple[Any, ...]:
        self._forget_if_changed()
        return Kept, (self.metric, self.facts)


def _known(store: dict[str, Any], name: str, make: Callable[[], T]) -> T:
    if name not in store:
        store[name] = make()
    known: T = store[name]
    return known


def _state(metric: Metric) -> tuple[tuple[Any, ...], ...]:
    """Changes when a tensor of the metric is replaced or written to, and costs no look at its numbers."""
    tensors = metric.state_dict().values()
    return tuple((t.data_ptr(), t._version, t.dtype, t.device) for t in tensors)


def _numbers(metric: Metric) -> tuple[Any, ...]:
    """Changes only with the numbers, their dtype or their device, and costs a look at all of them."""
    return seed_of(metric), metric.dtype, metric.device


def seed_of(metric: Metric, *words: Tensor | float) -> int:
    """A seed that depends on the metric's class and numbers, and on `words`: equal for equal densities."""
    digest = hashlib.blake2b(type(metric).__name__.encode(), digest_size=8)
    for tensor in (*metric.state_dict().values(), *map(torch.as_tensor, words)):
        digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy())
    return derived_seed(int.from_bytes(digest.digest(), "little"))

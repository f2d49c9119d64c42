"""Data as training takes them: in batches, in a new order every epoch, from memory or from elsewhere.

A map-style data set and a tensor of the same numbers are trained on in the same order, to the same bits.
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import Dataset as MapStyle

from pyrogeo._checks import as_tensor, is_like_an_array

__all__ = ["Batches", "DatasetBatches", "LoaderBatches", "TensorBatches", "batches_of"]

_AT_ONCE = 1024  # data of one pass in evaluation


class Batches(Protocol):
    """Data in batches of shape `(B, *event)`.

    Attributes:
        size: number of data, or None where it is not known.
        batch_size: data of each step, or None where it is not known.
        repeats: whether the order of an epoch follows from torch's global generator and the epoch's number.
    """

    @property
    def size(self) -> int | None:
        """Number of data."""

    @property
    def batch_size(self) -> int | None:
        """Data of each step."""

    @property
    def repeats(self) -> bool:
        """Whether an epoch can be had again."""

    def first(self) -> Tensor:
        """Data to look at before training: all of them, if they are in memory, or a first batch."""

    def shuffled(self, epoch: int) -> Iterator[Tensor]:
        """One epoch of training, counted from 1; the order is drawn from torch's global generator."""

    def in_order(self) -> Iterator[Tensor]:
        """One pass of evaluation."""


class TensorBatches:
    """A tensor in memory.

    Args:
        x: data of shape `(N, *event)`.
        batch_size: data of each step.
    """

    repeats = True

    def __init__(self, x: Tensor, batch_size: int):
        self.x, self.size, self.batch_size = x, len(x) if x.dim() else 0, batch_size

    def first(self) -> Tensor:
        return self.x

    def shuffled(self, epoch: int) -> Iterator[Tensor]:
        return (self.x[index] for index in _shuffled(self.size, self.batch_size))

    def in_order(self) -> Iterator[Tensor]:
        return iter(self.x.tensor_split(_pieces(self.size)))


@runtime_checkable
class Items(Protocol):
    """What is asked of a map-style data set, of which torch's class says no length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


class DatasetBatches:
    """A map-style `torch.utils.data.Dataset`, read datum by datum when a batch is wanted.

    Args:
        dataset: its items are data, or tuples whose first entry is one.
        batch_size: data of each step.
        what: they are, for messages.
    """

    repeats = True

    def __init__(self, dataset: Items, batch_size: int, what: str = "data"):
        self.dataset, self.size = dataset, len(dataset)
        self.batch_size, self.what = batch_size, what
        if self.size == 0:
            raise ValueError(f"{what}: the data set is empty")

    def first(self) -> Tensor:
        return self._read(range(min(self.size, self.batch_size)))

    def shuffled(self, epoch: int) -> Iterator[Tensor]:
        return (self._read(index.tolist()) for index in _shuffled(self.size, self.batch_size))

    def in_order(self) -> Iterator[Tensor]:
        pieces = torch.arange(self.size).tensor_split(_pieces(self.size))
        return (self._read(index.tolist()) for index in pieces)

    def _read(self, index: list[int] | range) -> Tensor:
        data = [_datum(self.dataset[i], self.what) for i in index]
        if len(shapes := {tuple(x.shape) for x in data}) > 1:
            raise ValueError(f"{self.what}: expected items of one shape, got {sorted(shapes)}")
        return torch.stack(data)


class LoaderBatches:
    """A `DataLoader`, whose batches and order are its own.

    Where the loader, its sampler or its batch sampler has `set_epoch`, it is called with the epoch, counted
    from 1, before each epoch of training.

    Args:
        loader: its batches are data, or tuples whose first entry they are.
        what: they are, for messages.
    """

    def __init__(self, loader: DataLoader[Any], what: str = "data"):
        self.loader, self.what = loader, what
        self.size, self.batch_size = _size(loader), loader.batch_size
        places: tuple[Any, ...] = (
            loader,
            getattr(loader, "sampler", None),
            getattr(loader, "batch_sampler", None),
        )
        self._ordered = [place for place in places if hasattr(place, "set_epoch")]
        self.repeats = bool(self._ordered)

    def first(self) -> Tensor:
        with _rewound(self.loader.generator):
            for batch in self.in_order():
                return batch
        raise ValueError(f"{self.what}: the loader has no batches")

    def shuffled(self, epoch: int) -> Iterator[Tensor]:
        for place in self._ordered:
            place.set_epoch(epoch)
        return self.in_order()

    def in_order(self) -> Iterator[Tensor]:
        return (_datum(batch, self.what) for batch in self.loader)


def batches_of(data: Any, batch_size: int, what: str = "data") -> Batches:
    """The batches of data of any kind that `fit` takes; an array becomes a tensor.

    Args:
        data: a tensor or array, a map-style data set, or a loader.
        batch_size: data of each step; a loader has its own.
        what: the data are, for messages.

    Raises:
        ValueError: for data of another kind.

    >>> x = torch.arange(10.0).reshape(5, 2)
    >>> [tuple(batch.shape) for batch in batches_of(x, 2).shuffled(1)]  # none of a single datum
    [(2, 2), (3, 2)]
    """
    if torch.is_tensor(data) or is_like_an_array(data):
        return TensorBatches(as_tensor(what, data), batch_size)
    if isinstance(data, DataLoader):
        return LoaderBatches(data, what)
    if isinstance(data, MapStyle) and not isinstance(data, IterableDataset):
        if not isinstance(data, Items):
            raise ValueError(f"{what}: {type(data).__name__} has no length; give it a __len__")
        return DatasetBatches(data, batch_size, what)
    raise ValueError(
        f"{what}: expected a tensor or a NumPy array, a map-style torch Dataset, a DataLoader or a "
        f"pyrogeo.datasets.Dataset, got {type(data)}"
    )


def _shuffled(n: int, batch_size: int) -> list[Tensor]:
    batches = list(torch.randperm(n).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm cannot take a single datum
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _pieces(n: int) -> int:
    """In how many equal parts n data are evaluated: none of a single datum."""
    return math.ceil(n / _AT_ONCE)


def _datum(item: Any, what: str) -> Tensor:
    """The datum, or batch of them, without its label."""
    x = item[0] if isinstance(item, (tuple, list)) and len(item) else item
    if not (torch.is_tensor(x) or is_like_an_array(x)):
        raise ValueError(
            f"{what}: expected items that are a tensor, or a tuple whose first entry is one, got "
            f"{type(item) if x is item else f'a tuple of {type(x)}'}"
        )
    return as_tensor(what, x)


def _size(loader: DataLoader[Any]) -> int | None:
    """Number of data, of which a stream need not know."""
    return len(loader.dataset) if hasattr(loader.dataset, "__len__") else None


@contextlib.contextmanager
def _rewound(generator: torch.Generator | None) -> Iterator[None]:
    """Puts a loader's own generator back, so that a look at the data changes no order."""
    state = None if generator is None else generator.get_state()
    try:
        yield
    finally:
        if generator is not None and state is not None:
            generator.set_state(state)

"""Tensors, labels and splits."""

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pyrogeo._checks import share

__all__ = ["Dataset", "split", "standardized"]


@dataclass(frozen=True)
class Dataset:
    """Data in three parts, each of shape `(N, *event)`, with integer labels of shape `(N,)` or None.

    Attributes:
        train: the data to train on.
        validation: held out, to stop and to choose by.
        test: held out from that too.
        train_labels: classes of the training data, or None; the next two likewise.
        validation_labels: of the validation data.
        test_labels: of the test data.
        name: what the data are, for tables and run folders.
        classes: what the labels stand for, in their order; empty where they are plain numbers.
        location: of a standardised table, whose numbers were `location + scale * x`; else None.
        scale: likewise.

    >>> Dataset(torch.rand(8, 3), torch.rand(1, 3), torch.rand(2, 3)).event_shape
    (3,)
    """

    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor | None = None
    validation_labels: Tensor | None = None
    test_labels: Tensor | None = None
    name: str = "data"
    classes: tuple[str, ...] = ()
    location: Tensor | None = None
    scale: Tensor | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one datum."""
        return tuple(self.train.shape[1:])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={len(getattr(self, k))}" for k in ("train", "validation", "test"))
        return f"Dataset({sizes}, event_shape={self.event_shape})"


def standardized(data: Dataset) -> Dataset:
    """A table with the mean and standard deviation of each training column taken out; it keeps them.

    Args:
        data: a table.

    Raises:
        ValueError: for data that are no table.

    >>> from pyrogeo.datasets import from_array
    >>> table = from_array(np.arange(30.0).reshape(10, 3), seed=0)
    >>> standardized(table).train.mean(0).abs().max() < 1e-6
    tensor(True)
    """
    if data.train.dim() != 2:
        raise ValueError(f"only tables are standardised, got events of shape {data.event_shape}")
    location, scale = data.train.mean(0), data.train.std(0)
    scale = torch.where(scale > 0, scale, 1.0)
    parts = {p: (getattr(data, p) - location) / scale for p in ("train", "validation", "test")}
    return replace(data, **parts, location=location, scale=scale)


def split(
    x: Tensor,
    y: Tensor | None,
    *,
    validation: float,
    test: float,
    seed: int,
    name: str,
    classes: tuple[str, ...] = (),
) -> Dataset:
    """Three parts, with the classes' shares in each where every class has members enough."""
    from sklearn.model_selection import (
        train_test_split,
    )  # half a second that training does not need

    validation, test = share("validation", validation), share("test", test)
    if len(x) < 3:
        raise ValueError(f"expected at least 3 data to split in three parts, got {len(x)}")

    def cut(index: np.ndarray, part: float) -> tuple[np.ndarray, np.ndarray]:
        size = min(math.ceil(part * len(index)), len(index) - 1)
        kept = None if y is None else y[index].numpy()
        if kept is not None:
            counts = np.unique(kept, return_counts=True)[1]
            if counts.min() < 2 or min(size, len(index) - size) < len(counts):
                kept = None
        kept_in, cut_off = train_test_split(index, test_size=size, stratify=kept, random_state=seed)
        return kept_in, cut_off

    rest, held_out = cut(np.arange(len(x)), test)
    train, middle = cut(rest, validation)
    parts = (train, middle, held_out)
    train_y, middle_y, held_out_y = (None if y is None else y[p] for p in parts)
    return Dataset(
        x[train], x[middle], x[held_out], train_y, middle_y, held_out_y, name=name, classes=classes
    )

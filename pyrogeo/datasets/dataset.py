"""Tensors, labels and splits."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from pyrogeo._checks import share

__all__ = ["PARTS", "Dataset", "cut", "narrowed", "parted", "split", "standardized"]

PARTS = ("train", "validation", "test")


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
        columns: names of a table's columns; empty where they have none.
        location: of a standardised table, whose numbers were `location + scale * x`, in float64; else
            None.
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
    columns: tuple[str, ...] = ()
    location: Tensor | None = None
    scale: Tensor | None = None

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one datum."""
        return tuple(self.train.shape[1:])

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={len(getattr(self, k))}" for k in PARTS)
        return f"Dataset({sizes}, event_shape={self.event_shape})"


def standardized(data: Dataset) -> Dataset:
    """A table with the mean and standard deviation of each training column taken out; it keeps them.

    Missing values stay missing. The work is done in float64, whatever the data's precision, and in
    units of each column's largest number, so that none of what float64 can hold overflows.

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
    train = data.train.double()
    unit = train.nan_to_num().abs().amax(0)
    unit = torch.where(unit > 0, unit, 1.0)
    train = train / unit
    middle = train.nanmean(0).nan_to_num()  # 0 for a column that is missing throughout
    known = (~train.isnan()).sum(0)
    spread = (((train - middle) ** 2).nansum(0) / (known - 1)).sqrt()
    spread = torch.where(spread > 0, spread, 1 / unit)
    parts = {p: ((getattr(data, p).double() / unit - middle) / spread) for p in PARTS}
    parts = {p: x.to(data.train.dtype) for p, x in parts.items()}
    return replace(data, **parts, location=middle * unit, scale=spread * unit)


def narrowed(data: Dataset) -> Dataset:
    """The data in float32, if that holds them.

    Raises:
        ValueError: for numbers that become infinite there, and for columns of different numbers that
            become one.
    """
    parts = {p: getattr(data, p).float() for p in PARTS}
    for part, x in parts.items():
        wide = getattr(data, part)
        lost = x.isinf().flatten(1).any(0)
        if part == "train" and len(x) > 1:
            lost |= _merged(wide, x)
        if lost.any():
            which = lost.nonzero()[0].item()
            column = data.columns[which] if data.columns else which
            values = wide.flatten(1)[:, which]
            advice = "standardise the columns (standardize=True), or take logarithms"
            if data.location is not None:
                advice = "it is of another size there than in the training part: look for outliers"
            raise ValueError(
                f"column {column} goes from {values.min():g} to {values.max():g} in the {part} part, "
                f"which float32 cannot hold apart; {advice}"
            )
    return replace(data, **parts)


def _merged(wide: Tensor, narrow: Tensor) -> Tensor:
    """Columns whose numbers differ in one precision and no longer in the other."""
    wide, narrow = wide.flatten(1), narrow.flatten(1)
    return (wide != wide[:1]).any(0) & (narrow == narrow[:1]).all(0)


def cut(n: int, y: np.ndarray | None, part: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices of what stays and of the share held out, with the classes' shares in both if that can be.

    Args:
        n: how many there are to cut.
        y: their labels, or None.
        part: share held out.
        seed: of the choice.

    >>> [len(half) for half in cut(10, None, 0.2, 0)]
    [8, 2]
    """
    from sklearn.model_selection import (
        train_test_split,
    )  # half a second that training does not need

    size = min(math.ceil(part * n), n - 1)
    if y is not None:
        counts = np.unique(y, return_counts=True)[1]
        if counts.min() < 2 or min(size, n - size) < len(counts):
            y = None
    stay, out = train_test_split(np.arange(n), test_size=size, stratify=y, random_state=seed)
    return stay, out


def split(
    x: Tensor,
    y: Tensor | None,
    *,
    validation: float,
    test: float,
    seed: int,
    name: str,
    classes: tuple[str, ...] = (),
    columns: tuple[str, ...] = (),
    groups: np.ndarray | None = None,
) -> Dataset:
    """Three parts, with the classes' shares in each where every class has members enough.

    Data of one group, such as the pages of a stack, come into the same part; shares are then of groups.
    """
    validation, test = share("validation", validation), share("test", test)
    groups = np.arange(len(x)) if groups is None else groups
    units, first, unit_of = np.unique(groups, return_index=True, return_inverse=True)
    if len(units) < 3:
        what = "data" if len(units) == len(x) else "stacks of pages"
        raise ValueError(f"expected at least 3 {what} to split in three parts, got {len(units)}")
    classes_of = None if y is None else y.numpy()[first]
    rest, held_out = cut(len(units), classes_of, test, seed)
    of_rest = None if classes_of is None else classes_of[rest]
    train, middle = cut(len(rest), of_rest, validation, seed)
    chosen = {"train": rest[train], "validation": rest[middle], "test": held_out}
    rows = {part: units_to_rows(of_part, unit_of) for part, of_part in chosen.items()}
    labels = {part: None if y is None else y[rows[part]] for part in PARTS}
    return parted(x, rows, labels, name, classes, columns)


def parted(
    x: Tensor,
    rows: Mapping[str, np.ndarray],
    labels: Mapping[str, Tensor | None],
    name: str,
    classes: tuple[str, ...],
    columns: tuple[str, ...] = (),
) -> Dataset:
    """The data of some rows for each part, with the part's labels."""
    return Dataset(
        train=x[rows["train"]],
        validation=x[rows["validation"]],
        test=x[rows["test"]],
        train_labels=labels["train"],
        validation_labels=labels["validation"],
        test_labels=labels["test"],
        name=name,
        classes=classes,
        columns=columns,
    )


def units_to_rows(chosen: np.ndarray, unit_of: np.ndarray) -> np.ndarray:
    """Rows of the chosen units, unit by unit in the order in which they were chosen."""
    place = np.full(unit_of.max() + 1, -1)
    place[chosen] = np.arange(len(chosen))
    rows = np.flatnonzero(place[unit_of] >= 0)
    return rows[np.argsort(place[unit_of[rows]], kind="stable")]

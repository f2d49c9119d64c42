"""Labels as people have them: integers, words, categories, columns of a frame."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

__all__ = ["as_labels"]


def as_labels(labels: Any, n: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """Integers, and the words that they stand for if they were words.

    Args:
        labels: n integers, booleans, words or categories, in an array, a masked array, a list, or a
            column of a frame.
        n: number of data.

    Raises:
        ValueError: for another number of labels, labels of another kind, and missing ones.

    >>> as_labels(pd.Series(["b", "a", "b"]), 3)
    (tensor([1, 0, 1]), ('a', 'b'))
    """
    if labels is None:
        return None, ()
    column = _as_column(labels, n)
    missing = int(column.isna().sum())
    if missing:
        raise ValueError(f"expected a label for each datum, {missing} of {n} are missing")
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.cat.remove_unused_categories()
        words = tuple(str(word) for word in column.cat.categories)
        return torch.from_numpy(column.cat.codes.to_numpy().astype(np.int64)), words
    if pd.api.types.is_bool_dtype(column.dtype) or pd.api.types.is_integer_dtype(column.dtype):
        return torch.tensor(column.to_numpy(dtype=np.int64)), ()
    if all(isinstance(label, (str, bytes)) for label in column):
        plain = [label.decode() if isinstance(label, bytes) else label for label in column]
        classes, index = np.unique(np.array(plain, dtype=str), return_inverse=True)
        return torch.from_numpy(index), tuple(str(c) for c in classes)
    kind = "a mixture of kinds" if column.dtype == object else column.dtype
    raise ValueError(f"expected integers or words as labels, got {kind}")


def _as_column(labels: Any, n: int) -> pd.Series:
    if isinstance(labels, pd.DataFrame) and labels.shape[1] == 1:
        labels = labels.iloc[:, 0]
    if torch.is_tensor(labels):
        labels = labels.detach().cpu().numpy()
    if isinstance(labels, np.ma.MaskedArray):
        absent = np.array(None, dtype=object)
        labels = np.where(np.ma.getmaskarray(labels), absent, labels.data.astype(object))
    if not isinstance(labels, (pd.Series, pd.Categorical, pd.Index)):
        if not pd.api.types.is_extension_array_dtype(getattr(labels, "dtype", None)):
            labels = np.asarray(labels).squeeze()
        if np.shape(labels) != (n,):
            raise ValueError(
                f"expected {n} labels, one for each datum, got shape {np.shape(labels)}"
            )
    column = pd.Series(labels)
    if len(column) != n:
        raise ValueError(f"expected {n} labels, one for each datum, got {len(column)}")
    return column.infer_objects() if column.dtype == object else column

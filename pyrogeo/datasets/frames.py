"""Frames with named columns, made numbers in float64."""

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

__all__ = ["Table", "as_frame", "from_frame"]


class Table(NamedTuple):
    """A frame's numbers.

    Attributes:
        values: shape `(N, columns)`, float64, NaN where missing.
        columns: their names; empty where they are only counted.
        labels: the column of labels, or None.
    """

    values: np.ndarray
    columns: tuple[str, ...]
    labels: pd.Series | None


def as_frame(data: Any) -> pd.DataFrame | None:
    """Anything with named columns as a frame of pandas'; None for what has none.

    Frames of other libraries (polars), structured arrays, and two-dimensional `xarray.DataArray` whose
    second dimension has names.

    >>> as_frame(np.array([(1, 2.0)], dtype=[("a", int), ("b", float)])).columns.tolist()
    ['a', 'b']
    """
    if isinstance(data, pd.DataFrame):
        return data
    if names := getattr(getattr(data, "dtype", None), "names", None):
        gaps = np.ma.getmaskarray(data)
        columns = {name: pd.Series(np.ma.getdata(data[name])) for name in names}
        return pd.DataFrame(
            {name: x.mask(gaps[name]) if gaps.dtype.names else x for name, x in columns.items()}
        )
    if hasattr(data, "columns") and hasattr(data, "to_numpy"):
        return pd.DataFrame({str(name): data[name].to_numpy() for name in data.columns})
    coordinates = getattr(data, "coords", {})
    if len(getattr(data, "dims", ())) == 2 and data.dims[1] in coordinates:
        return pd.DataFrame(np.asarray(data), columns=np.asarray(coordinates[data.dims[1]]))
    return None


def from_frame(frame: pd.DataFrame, label_column: str | int | None = None) -> Table:
    """The numbers of a frame, and its column of labels.

    Args:
        frame: integers, floats and booleans, nullable or not.
        label_column: name, or number where the columns have no names.

    Raises:
        ValueError: for columns that hold no numbers, by name, and a label column that is not there.

    >>> from_frame(pd.DataFrame({"a": [1, 2], "kind": ["x", "y"]}), "kind").columns
    ('a',)
    """
    names = [str(name) for name in frame.columns]
    labels = None
    if label_column is not None:
        if str(label_column) not in names:
            raise ValueError(f"no column is named {label_column}; there are {_listed(names)}")
        where = names.index(str(label_column))
        labels = frame.iloc[:, where]
        frame = frame.iloc[:, [i for i in range(len(names)) if i != where]]
    named = tuple(str(name) for name in frame.columns)
    values = [_numbers(frame.iloc[:, i], name) for i, name in enumerate(named)]
    if not values:
        raise ValueError("the table has no columns of numbers")
    counted = all(isinstance(name, (int, np.integer)) for name in frame.columns)
    return Table(np.stack(values, 1), () if counted else named, labels)


def _numbers(column: pd.Series, name: str) -> np.ndarray:
    if column.dtype == object:
        column = column.convert_dtypes()
    kind = column.dtype
    if column.isna().all():
        return np.full(len(column), np.nan)
    if isinstance(kind, pd.CategoricalDtype):
        words = [word for word in column.cat.categories if isinstance(word, str)]
    elif pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_complex_dtype(kind):
        numbers: np.ndarray = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return numbers
    else:
        words = [word for word in column.dropna().head(1000) if isinstance(word, str)]
    what = f"words, such as {_strange(words)!r}" if words else str(kind)
    raise ValueError(
        f"column {name}: expected numbers, got {what}; leave it out, or take it for labels "
        f"(label_column={name!r})"
    )


def _strange(words: list[str]) -> str:
    """The first that is no number, as it is what needs mending."""
    numbers = pd.to_numeric(pd.Series(words), errors="coerce")
    return next((w for w, x in zip(words, numbers, strict=True) if np.isnan(x)), words[0])


def _listed(names: list[str]) -> str:
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")

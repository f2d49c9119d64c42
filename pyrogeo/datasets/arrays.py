"""Data of one's own: arrays and tables, in memory or in files."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pyrogeo.datasets.dataset import Dataset, narrowed, split, standardized
from pyrogeo.datasets.files import read_file
from pyrogeo.datasets.frames import as_frame, from_frame
from pyrogeo.datasets.intensities import channels_first, checked_range, laid_on_white, scaled
from pyrogeo.datasets.labels import as_labels
from pyrogeo.errors import PyrogeoWarning

__all__ = ["check_missing", "from_array"]


def from_array(
    data: Any,
    labels: Any = None,
    *,
    label_column: str | int | None = None,
    header: bool | None = None,
    value_range: tuple[float, float] | None = None,
    missing: str = "refuse",
    dense: bool = False,
    standardize: bool | None = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Data of one's own from a file or from memory.

    Two dimensions make a table, of which every number is kept as it is, or standardised. Three or four make images:
    grey ones of shape `(N, H, W)` get a channel, and with the one, three or four channels last,
    `(N, H, W, C)`, they are moved to the front. Four channels last are colours and opacity, and are laid on
    white. Unsigned integers become [0, 1] by dividing by the largest number of their type, floats must lie
    there; other images need `value_range`, as their white cannot be known.

    Args:
        data: a tensor, an array, a masked array or a frame; or the path of a `.npy`, `.npz`, `.csv`, `.tsv`,
            `.txt` (the last three also as `.gz`, `.bz2`, `.xz`) or `.parquet` file. An `.npz` file holds one array,
            or one named `x`, `data` or `images`, and labels as `y` or `labels`.
        labels: N integers, words or categories, also as a path.
        label_column: in place of `labels`, a column of the table that holds them.
        header: whether the first row of a text file names the columns; by default it does where it
            holds words above numbers, or only words.
        value_range: numbers of an image that are black and white; those outside are clipped, and a
            warning counts them.
        missing: `"refuse"`, or `"keep"` for a program that takes NaN. What an array masks is missing.
        dense: make a sparse matrix a dense one; otherwise it is refused.
        standardize: subtract each column's mean and divide by its standard deviation, both of the
            training part; tables only, and None standardises what is a table. Columns of different sizes
            need it.
        validation, test: shares held out, between 0 and 1. The test share is of all data, the
            validation share of the rest. With labels the split keeps the classes' shares where
            every class has members enough.
        seed: of the split.

    Returns:
        float32 data in three parts.

    Raises:
        ValueError: for anything else, for NaN or infinite numbers, also where float32 would make them
            so, and for too few data.

    >>> from_array(np.zeros((50, 3)))
    Dataset(train=36, validation=4, test=10, event_shape=(3,))
    """
    check_missing(missing)
    is_path = isinstance(data, (str, os.PathLike))
    name = Path(data).name if is_path else "array"
    content, beside = read_file(data, header, dense) if is_path else (data, None)
    frame = as_frame(content)
    columns: tuple[str, ...] = ()
    if frame is not None:
        x, columns, column = from_frame(_dense_frame(frame, dense), label_column)
        beside = column if beside is None else beside
    elif label_column is not None:
        raise ValueError(
            f"label_column is of a table whose columns have names, got {type(content)}"
        )
    else:
        x = _numbers(_as_array(content, dense), checked_range(value_range))
    _check_finite(x, missing, columns)
    y, classes = as_labels(_given(labels, beside, label_column), len(x))
    parts = split(
        torch.from_numpy(np.ascontiguousarray(x)), y, validation=validation, test=test, seed=seed,
        name=name, classes=classes, columns=columns,
    )  # fmt: skip
    if standardize is None:
        standardize = x.ndim == 2
    return narrowed(standardized(parts) if standardize else parts)


def check_missing(missing: str) -> None:
    """Refuses what is no word for what to do with missing values."""
    if missing not in ("refuse", "keep"):
        raise ValueError(f"missing: expected 'refuse' or 'keep', got {missing!r}")


def _given(labels: Any, beside: Any, label_column: str | int | None) -> Any:
    """The labels that are meant: those passed, or those found with the data."""
    if labels is None:
        return beside
    if label_column is not None:
        raise ValueError("expected labels or label_column, got both")
    if isinstance(labels, (str, os.PathLike)):
        return read_file(labels)[0]
    return labels


def _as_array(data: Any, dense: bool) -> np.ndarray:
    """An array of what is none yet; a masked one stays so."""
    if hasattr(data, "toarray"):  # SciPy's sparse matrices and arrays
        _check_dense(dense, data.shape, data.dtype.itemsize)
        made: np.ndarray = data.toarray()
        return made
    if torch.is_tensor(data) and data.layout != torch.strided:
        _check_dense(dense, data.shape, data.element_size())
        data = data.to_dense()
    if hasattr(data, "obs") and hasattr(data, "X"):
        raise ValueError(
            "AnnData: pass its matrix, adata.X, and labels such as adata.obs['cell_type']"
        )
    if isinstance(data, np.ma.MaskedArray):
        return data
    try:
        if torch.is_tensor(data):
            data = data.detach().cpu()
            data = (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        return np.asarray(data)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"expected numbers in rows of one length, got {type(data)}: {error}"
        ) from error


def _dense_frame(frame: Any, dense: bool) -> Any:
    if any(hasattr(kind, "fill_value") for kind in frame.dtypes):
        _check_dense(dense, frame.shape, 8)
    return frame


def _check_dense(dense: bool, shape: tuple[int, ...], size: int) -> None:
    if not dense:
        megabytes = np.prod([float(n) for n in shape]) * size / 2**20
        raise ValueError(
            f"a sparse matrix of shape {tuple(shape)}; dense=True makes it dense, in {megabytes:.0f} MiB"
        )


def _numbers(x: np.ndarray, value_range: tuple[float, float] | None) -> np.ndarray:
    """Float64 of a table, intensities of images; NaN where a masked array masks."""
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"expected a table (N, columns) or images (N, H, W) or (N, C, H, W), got shape {x.shape}"
        )
    if x.dtype.kind == "O" and x.ndim == 2:
        x = _from_objects(x)
    if x.dtype.kind not in "fiub":
        raise ValueError(f"expected numbers, got {x.dtype}")
    mask = (
        np.ma.getmaskarray(x) if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x) else None
    )
    x = np.ma.getdata(x)
    if x.ndim == 2:
        if value_range is not None:
            raise ValueError("value_range is of images, got a table")
        return _with_gaps(x.astype(np.float64), mask)
    if mask is not None:
        x = np.where(mask, np.zeros((), x.dtype), x)  # what lies beneath has no meaning
        mask = channels_first(mask)[0]
    x, has_opacity = channels_first(x)
    said: list[str] = []
    x = _as_intensities(x, has_opacity, value_range, said)
    if said:
        warnings.warn("; ".join(said), PyrogeoWarning, stacklevel=3)
    return _with_gaps(x, None if mask is None else mask[:, : x.shape[1]])


def _from_objects(x: np.ndarray) -> np.ndarray:
    import pandas as pd

    return from_frame(pd.DataFrame(x)).values


def _with_gaps(x: np.ndarray, mask: np.ndarray | None) -> np.ndarray:
    return x if mask is None else np.where(mask, np.array(np.nan, x.dtype), x)


def _as_intensities(
    x: np.ndarray, has_opacity: bool, value_range: tuple[float, float] | None, said: list[str]
) -> np.ndarray:
    colour, clipped = scaled(x[:, :3] if has_opacity else x, None, value_range)
    if clipped:
        said.append(f"{clipped} of {colour.size} numbers lie outside value_range and were clipped")
    elif (
        value_range is None
        and x.dtype.kind == "u"
        and 0 < 8 * int(x.max()) <= np.iinfo(x.dtype).max
    ):
        said.append(
            f"the largest number is {x.max()}, little of the range of {x.dtype}; images will be dark "
            f"without value_range=(LOW, HIGH)"
        )
    if not has_opacity:
        return colour
    opacity = scaled(x[:, 3:])[0]
    clear = int((opacity < 1).any((1, 2, 3)).sum())
    if clear:
        said.append(f"transparency of {clear} of {len(x)} images was laid on white")
    return laid_on_white(colour, opacity)


def _check_finite(x: np.ndarray, missing: str, columns: tuple[str, ...]) -> None:
    bad = np.isinf(x) if missing == "keep" else ~np.isfinite(x)
    if not bad.any():
        return
    where = ""
    if x.ndim == 2:
        faulty = np.flatnonzero(bad.any(0))
        which = ", ".join(str(columns[i] if columns else i) for i in faulty[:5])
        more = f" and {len(faulty) - 5} more" if len(faulty) > 5 else ""
        where = f" in column{'s' * (len(faulty) > 1)} {which}{more}"
    gaps = int(np.isnan(x).sum()) if missing != "keep" else 0
    kept = "; missing='keep' takes NaN for missing values" if gaps else ""
    raise ValueError(
        f"expected finite numbers, got {int(bad.sum())} NaN or infinite values{where}{kept}"
    )

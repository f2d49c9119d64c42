"""Files with arrays and tables, known by their endings."""

import bz2
import csv
import gzip
import itertools
import lzma
import os
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pyrogeo.errors import PyrogeoWarning

__all__ = ["KNOWN", "advice", "is_table", "read_file"]

_ARRAYS = (".npy", ".npz")
_TEXT = (".csv", ".tsv", ".txt")
_LOOKED_AT = 50  # lines, to find out what a table is like
_PACKED = (".gz", ".bz2", ".xz")
KNOWN = (*_ARRAYS, ".csv", ".tsv", ".txt (also .gz, .bz2, .xz)", ".parquet")

#: files that people have, and how to make one of those from them
_FOREIGN = {
    (
        ".h5ad",
    ): "AnnData: np.save its matrix, adata.X, as a .npy file, made dense first; or from_array",
    (
        ".zarr",
        ".h5",
        ".hdf5",
        ".nc",
        ".mat",
    ): "np.save the variable that it is about, as a .npy file",
    (
        ".pt",
        ".pth",
        ".pkl",
        ".pickle",
        ".joblib",
    ): "a pickle can run code and is not opened; np.save the array in it, as a .npy file",
    (
        ".xlsx",
        ".xls",
        ".ods",
        ".feather",
        ".arrow",
        ".sav",
        ".rds",
        ".json",
    ): "save it as .csv or .parquet",
    (".png", ".jpg", ".jpeg", ".tif", ".tiff"): "images are read from the folder that they lie in",
}


def advice(path: Path) -> str | None:
    """What to write from a file with a known ending that is not read; None for other files.

    >>> advice(Path("cells.h5ad"))[:7]
    'AnnData'
    """
    ending = path.suffix.lower()
    return next((words for endings, words in _FOREIGN.items() if ending in endings), None)


def is_table(path: Path) -> bool:
    """Whether its ending is that of a table with columns."""
    return _ending(path) in (*_TEXT, ".parquet")


def read_file(
    path: str | os.PathLike[str], header: bool | None = None, dense: bool = False
) -> tuple[Any, Any]:
    """The content of a file, an array or a frame, and the labels of an `.npz` file if it holds any.

    Args:
        path: with one of the `KNOWN` endings.
        header: whether the first row of a text file holds names; None finds out.
        dense: read a sparse matrix as a dense one.

    Raises:
        ValueError: for a file that is missing, has another ending, or is not what its ending says.
    """
    path = Path(path)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected a file with one of {', '.join(KNOWN)}")
    if not path.exists() and _ending(path) not in _ARRAYS:
        raise ValueError(f"{path} does not exist")
    if _ending(path) in _ARRAYS:
        return _read_arrays(path, dense)
    if is_table(path):
        return _read_table(path, header), None
    said = advice(path)
    said = f": {said}" if said else ""
    raise ValueError(f"{path} is not read{said}; known endings are {', '.join(KNOWN)}")


def _ending(path: Path) -> str:
    inner = Path(path.stem).suffix if path.suffix.lower() in _PACKED else path.suffix
    return inner.lower()


def _read_arrays(path: Path, dense: bool) -> tuple[Any, Any]:
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            if not isinstance(content, Mapping):
                return content, None
            if {"format", "shape", "data"} <= set(content):  # as scipy.sparse.save_npz names them
                return _read_sparse(path), None
            return _from_npz({name: content[name] for name in content})
    except Exception as error:  # a broken file makes NumPy raise what it likes
        why = " ".join(str(error).split()) or type(error).__name__
        if "pickle" in why:  # NumPy's words advise to open it all the same
            why = "it holds Python objects, or no array at all"
        raise ValueError(f"{path} is not a readable .npy or .npz file: {why}") from error


def _read_sparse(path: Path) -> Any:
    from scipy import sparse

    return sparse.load_npz(path)


def _from_npz(arrays: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
    labels = next((arrays.pop(k) for k in ("y", "labels") if k in arrays), None)
    named = next((arrays[k] for k in ("x", "data", "images") if k in arrays), None)
    if named is None and len(arrays) != 1:
        raise ValueError(f"expected one array or one named x, data or images, got {sorted(arrays)}")
    return named if named is not None else next(iter(arrays.values())), labels


def _read_table(path: Path, header: bool | None) -> pd.DataFrame:
    try:
        if _ending(path) == ".parquet":
            return pd.read_parquet(path)
        return _read_text(path, header)
    except ImportError as error:
        raise ValueError(
            f"{path}: reading Parquet needs pyarrow (pip install pyarrow), or .csv"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: {error}") from error
    except Exception as error:  # and pandas, too
        what = "Parquet file" if _ending(path) == ".parquet" else "table"
        raise ValueError(
            f"{path} is not a readable {what}: {' '.join(str(error).split())}"
        ) from error


def _read_text(path: Path, header: bool | None) -> pd.DataFrame:
    how: dict[str, Any] = {"encoding": "utf-8-sig", "skipinitialspace": True, "low_memory": False}
    top = _first_lines(path)
    how["sep"] = _separator(path, top[0] if top else "")
    if how["sep"] == r"\s+":
        del how["low_memory"]
    rows = _fields(top, how["sep"])
    if header is None:
        header = bool(rows) and _has_names(rows)
    if not header:
        return pd.read_csv(path, header=None, **how)
    if how["sep"] == r"\s+":  # where a hash before the names would be one of them
        return pd.read_csv(path, header=None, skiprows=1, names=rows[0], **how)
    frame = pd.read_csv(path, **how).rename(columns=_bare)
    if (
        len(rows) > 1 and len(rows[0]) == len(rows[1]) - 1
    ):  # a name too few: pandas makes it the index
        frame = frame.reset_index(drop=True)
    elif len(frame.columns) > 1 and rows[0][0] == "":
        frame = frame.iloc[:, 1:]
    else:
        return frame
    warnings.warn(
        f"{path.name}: its first column has no name, is taken for names of rows and left out",
        PyrogeoWarning, stacklevel=2,
    )  # fmt: skip
    return frame


def _first_lines(path: Path) -> list[str]:
    packed: dict[str, Callable[..., Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
    with packed.get(path.suffix.lower(), open)(path, "rt", encoding="utf-8-sig") as file:
        lines = [line for line in itertools.islice(file, _LOOKED_AT) if line.strip()]
    return [line.lstrip("# ") if i == 0 else line for i, line in enumerate(lines)]


def _fields(lines: list[str], sep: str) -> list[list[str]]:
    if sep == r"\s+":
        return [line.split() for line in lines]
    return [
        [f.strip() for f in row] for row in csv.reader(lines, delimiter=sep, skipinitialspace=True)
    ]


def _bare(name: Any) -> str:
    return str(name).lstrip("# ").strip()  # NumPy's savetxt writes names behind a hash


def _separator(path: Path, line: str) -> str:
    if _ending(path) == ".tsv":
        return "\t"
    return max(",;\t", key=line.count) if any(s in line for s in ",;\t") else (
        r"\s+" if " " in line.strip() and _ending(path) == ".txt" else ","
    )  # fmt: skip


def _has_names(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: it has words above numbers, or only words."""
    first, rest = rows[0], rows[1:]
    if len(first) > 1 and first == [str(i) for i in range(len(first))]:
        return True  # as pandas writes columns without names
    if rest and len(first) == len(rest[0]) - 1:
        return not any(map(_is_number, first))  # as R writes them, above names of rows
    columns = list(itertools.zip_longest(*rest, fillvalue="")) or [()] * len(first)
    for name, column in zip(first, columns, strict=False):
        if name and not _is_number(name) and any(map(_is_number, column)):
            return True
    again = any(name in column for name, column in zip(first, columns, strict=False))
    return not any(map(_is_number, first)) and not again


def _is_number(word: str) -> bool:
    """Also of what stands for a missing one."""
    try:
        float(word)
    except ValueError:
        return word.lower() in ("na", "n/a", "null")
    return True

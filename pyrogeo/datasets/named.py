"""Data by the word that names them: a data set that ships, a file, or a folder of images."""

import os
from pathlib import Path
from typing import Any

from pyrogeo.datasets.arrays import from_array
from pyrogeo.datasets.dataset import Dataset
from pyrogeo.datasets.folders import from_folder
from pyrogeo.datasets.shipped import digits, patches

__all__ = ["SHIPPED", "load"]

Words = dict[str, Any]  # options by name

SHIPPED = ("digits", "patches")


def load(
    data: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    label_column: str | None = None,
    header: bool | None = None,
    size: int = 32,
    grey: bool = False,
    value_range: tuple[float, float] | None = None,
    pages: str = "refuse",
    max_pixels: int | None = None,
    broken: str = "refuse",
    missing: str = "refuse",
    dense: bool = False,
    standardize: bool = True,
    seed: int = 0,
) -> Dataset:
    """The data that a word names.

    Args:
        data: `"digits"` or `"patches"`, the path of a file, as `from_array` takes it, or of a folder of
            images.
        labels: of a file, a file of their own.
        label_column, header: of a table, as in `from_array`.
        size: pixels of a side that a folder's images, or patches, get.
        grey: read a folder's images as grey.
        value_range, missing: as in `from_array` and `from_folder`.
        pages, max_pixels: of a folder's images, as in `from_folder`.
        broken: `"refuse"` or `"skip"`, as in `from_folder`.
        dense: make a sparse matrix dense.
        standardize: a table's columns.
        seed: of the split.

    Raises:
        ValueError: for a word that names nothing, an option that is of other data, and as `from_array`
            and `from_folder` do.

    >>> load("digits").event_shape
    (1, 8, 8)
    """
    of_files: Words = {"labels": labels, "label_column": label_column, "header": header}
    of_files["dense"] = dense or None
    of_images: Words = {"pages": None if pages == "refuse" else pages, "max_pixels": max_pixels}
    both: Words = {"value_range": value_range, "missing": missing, "seed": seed}
    if data in SHIPPED:
        _refuse({**of_files, **of_images, "value_range": value_range}, f"{data} ships")
        return digits(seed=seed) if data == "digits" else patches(size, seed=seed)
    path = Path(data)
    if path.is_dir():
        _refuse(of_files, f"{data} is a folder of images")
        given = {name: value for name, value in of_images.items() if value is not None}
        mode = "L" if grey else "RGB"
        return from_folder(path, (size, size), mode, broken=broken, **both, **given)
    if not path.exists():
        raise ValueError(f"{data} is no file or folder, and not {' or '.join(SHIPPED)}")
    _refuse(of_images, f"{data} is a file of numbers")
    of_files |= {"dense": dense, "standardize": None if standardize else False}
    return from_array(path, **of_files, **both)


def _refuse(options: Words, why: str) -> None:
    """Options that are of other data are no mere words without effect."""
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ValueError(f"{', '.join(given)}: {why}, of which there is no such option")

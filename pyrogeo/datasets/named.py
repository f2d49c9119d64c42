"""Data by the word that names them: a data set that ships, a file, or a folder of images."""

import os
from pathlib import Path

from pyrogeo.datasets.dataset import Dataset, standardized
from pyrogeo.datasets.files import from_array, from_folder
from pyrogeo.datasets.shipped import digits, patches

__all__ = ["SHIPPED", "load"]

SHIPPED = ("digits", "patches")


def load(
    data: str | os.PathLike[str],
    *,
    labels: str | os.PathLike[str] | None = None,
    size: int = 32,
    grey: bool = False,
    broken: str = "refuse",
    standardize: bool = True,
    seed: int = 0,
) -> Dataset:
    """The data that a word names.

    Args:
        data: `"digits"` or `"patches"`, the path of a `.npy` or `.npz` file, or of a folder of images.
        labels: of a file, a `.npy` file of its own.
        size: pixels of a side that a folder's images, or patches, get.
        grey: read a folder's images as grey.
        broken: `"refuse"` or `"skip"`, as in `from_folder`.
        standardize: a table's columns.
        seed: of the split.

    Raises:
        ValueError: for a word that names nothing, and as `from_array` and `from_folder` do.

    >>> load("digits").event_shape
    (1, 8, 8)
    """
    if data == "digits":
        return digits(seed=seed)
    if data == "patches":
        return patches(size, seed=seed)
    path = Path(data)
    if path.is_dir():
        mode = "L" if grey else "RGB"
        return from_folder(path, (size, size), mode, broken=broken, seed=seed)
    if not path.exists():
        raise ValueError(f"{data} is no file or folder, and not {' or '.join(SHIPPED)}")
    found = from_array(path, labels, seed=seed)
    return standardized(found) if standardize and found.train.dim() == 2 else found

"""Data of one's own: arrays and tables, in memory or in files, and folders of images."""

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pyrogeo._checks import whole_or_none
from pyrogeo.datasets.dataset import Dataset, split, standardized
from pyrogeo.errors import PyrogeoWarning

__all__ = ["from_array", "from_folder"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")


def from_array(
    data: Any,
    labels: Any = None,
    *,
    standardize: bool = False,
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Data of one's own from a file or from memory.

    Two dimensions make a table, of which every number is kept as it is, or standardised. Three or four make images:
    grey ones of shape `(N, H, W)` get a channel, and with the one or three channels last,
    `(N, H, W, C)`, they are moved to the front. Bytes become [0, 1] by dividing by 255; other images must
    be floating-point numbers, as their white cannot be known.

    Args:
        data: a tensor, an array, or the path of a `.npy` or `.npz` file. An `.npz` file holds one
            array, or one named `x`, `data` or `images`, and labels as `y` or `labels`.
        labels: N integers or words, also as a path.
        standardize: subtract each column's mean and divide by its standard deviation, both of the
            training part; tables only. Columns of different sizes need it.
        validation, test: shares held out, between 0 and 1. The test share is of all data, the
            validation share of the rest. With labels the split keeps the classes' shares where
            every class has members enough.
        seed: of the split.

    Returns:
        float32 data in three parts.

    Raises:
        ValueError: for anything else, for NaN or infinite numbers, and for too few data.

    >>> from_array(np.zeros((50, 3)))
    Dataset(train=36, validation=4, test=10, event_shape=(3,))
    """
    name = Path(data).name if isinstance(data, (str, os.PathLike)) else "array"
    x, beside = _loaded(data)
    y = beside if labels is None else _loaded(labels)[0]
    numbers = _as_float(x)
    kinds, classes = _as_labels(y, len(numbers))
    made = split(
        numbers, kinds, validation=validation, test=test, seed=seed, name=name, classes=classes
    )
    return standardized(made) if standardize else made


def from_folder(
    path: str | os.PathLike[str],
    size: tuple[int, int] = (32, 32),
    mode: str = "RGB",
    *,
    broken: str = "refuse",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """The images below a folder; its sub-folders, if there are any, are the classes.

    An image is turned upright as its camera noted, scaled so that it just covers `size` (bicubic,
    with antialiasing), and cropped to it around its middle. Transparency is laid on white.

    Args:
        path: the folder, searched with everything below it. An image belongs to the class of the
            first folder on the way.
        size: height and width in pixels.
        mode: `"RGB"` or `"L"` (grey).
        broken: `"refuse"` raises for files that cannot be read as images, `"skip"` warns; both name
            them. Files with other endings than an image's are passed over.
        validation, test, seed: as in `from_array`.

    Returns:
        images of shape `(N, 3 or 1, *size)`, float32 in [0, 1].

    Raises:
        ValueError: for a folder without images, a mode or size that is none, or broken files.

    >>> import tempfile
    >>> from PIL import Image
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for i in range(10):
    ...         Image.new("RGB", (40, 30)).save(f"{folder}/{i}.png")
    ...     from_folder(folder, size=(8, 8))
    Dataset(train=7, validation=1, test=2, event_shape=(3, 8, 8))
    """
    folder = Path(path)
    if not folder.is_dir():
        raise ValueError(f"expected a folder of images, got {folder}")
    if mode not in ("RGB", "L") or broken not in ("refuse", "skip"):
        raise ValueError(
            f"expected mode 'RGB' or 'L' and broken 'refuse' or 'skip', got {mode!r}, {broken!r}"
        )
    if len(size) != 2 or any((whole_or_none(n) or 0) < 1 for n in size):
        raise ValueError(f"size: expected a positive height and width, got {size}")
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    read = {file: _read_image(file, size, mode) for file in files}
    faulty = [file for file, pixels in read.items() if isinstance(pixels, str)]
    if faulty:
        which = "; ".join(f"{f.relative_to(folder)}: {read[f]}" for f in faulty[:5])
        which += f"; and {len(faulty) - 5} more" if len(faulty) > 5 else ""
        if broken == "refuse":
            raise ValueError(
                f"{len(faulty)} files cannot be read as images ({which}); broken='skip' passes over them"
            )
        warnings.warn(f"skipped {len(faulty)} files ({which})", PyrogeoWarning, stacklevel=2)
    good = [file for file in files if file not in faulty]
    if not good:
        raise ValueError(f"{folder} holds no images; known endings are {', '.join(SUFFIXES)}")
    x = torch.from_numpy(np.stack([read[file] for file in good]))
    tops = [file.relative_to(folder).parts[0] for file in good if file.parent != folder]
    labels, classes = _as_labels(np.array(tops) if len(tops) == len(good) else None, len(x))
    return split(
        x, labels, validation=validation, test=test, seed=seed, name=folder.name, classes=classes
    )


def _read_image(file: Path, size: tuple[int, int], mode: str) -> np.ndarray | str:
    """Pixels `(C, H, W)` in [0, 1], or in words why there are none."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image = ImageOps.fit(image.convert(mode), (size[1], size[0]), Image.Resampling.BICUBIC)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        return str(error).replace(str(file), file.name)
    pixels = np.asarray(image, dtype=np.float32) / 255
    return pixels[None] if mode == "L" else np.moveaxis(pixels, -1, 0)


def _loaded(data: Any) -> tuple[np.ndarray, np.ndarray | None]:
    """The array, and the labels of an `.npz` file if it holds any."""
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        try:
            content = np.load(path, allow_pickle=False)
            if isinstance(content, np.lib.npyio.NpzFile):
                with content:
                    return _from_npz({k: content[k] for k in content}, path)
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path} is not a readable .npy or .npz file: {error}") from error
        return content, None
    if torch.is_tensor(data):
        return data.detach().cpu().numpy(), None
    return np.asarray(data), None


def _from_npz(arrays: dict[str, np.ndarray], path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    labels = next((arrays.pop(k) for k in ("y", "labels") if k in arrays), None)
    named = next((arrays[k] for k in ("x", "data", "images") if k in arrays), None)
    if named is None and len(arrays) != 1:
        raise ValueError(f"expected one array or one named x, data or images, got {sorted(arrays)}")
    return named if named is not None else next(iter(arrays.values())), labels


def _as_float(x: np.ndarray) -> Tensor:
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ValueError(
            f"expected a table (N, columns) or images (N, H, W) or (N, C, H, W), got shape {x.shape}"
        )
    if x.dtype.kind not in "fiub" or (x.ndim > 2 and x.dtype.kind in "ib"):
        raise ValueError(
            f"expected {'numbers' if x.ndim == 2 else 'bytes or floating-point numbers'}, "
            f"got {x.dtype}"
        )
    if x.ndim == 3:
        x = x[:, None]
    if x.ndim == 4 and x.shape[1] not in (1, 3) and x.shape[3] in (1, 3):
        x = np.moveaxis(x, -1, 1)
    if x.ndim == 4 and x.dtype.kind == "u":
        if x.dtype != np.uint8:
            raise ValueError(f"expected bytes or floating-point numbers, got {x.dtype}")
        x = x.astype(np.float32) / 255
    bad = int((~np.isfinite(x)).sum())
    if bad:
        raise ValueError(f"expected finite numbers, got {bad} NaN or infinite values")
    return torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32))


def _as_labels(labels: np.ndarray | None, n: int) -> tuple[Tensor | None, tuple[str, ...]]:
    """Integers, and the words that they stand for if they were words."""
    if labels is None:
        return None, ()
    labels = labels.squeeze()
    if labels.shape != (n,):
        raise ValueError(f"expected {n} labels, one for each datum, got shape {labels.shape}")
    if labels.dtype.kind in "US":
        classes, index = np.unique(labels, return_inverse=True)
        return torch.from_numpy(index), tuple(str(c) for c in classes)
    if labels.dtype.kind not in "iub":
        raise ValueError(f"expected integers or words as labels, got {labels.dtype}")
    return torch.from_numpy(labels.astype(np.int64)), ()

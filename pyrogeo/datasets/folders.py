"""Folders of images, read as people lay them out: classes, splits, and what is no data among them."""

import os
import warnings
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyrogeo._checks import share, whole, whole_or_none
from pyrogeo.datasets.arrays import check_missing
from pyrogeo.datasets.dataset import PARTS, Dataset, cut, parted, split, units_to_rows
from pyrogeo.datasets.files import advice
from pyrogeo.datasets.images import (
    BrokenImageError,
    Tally,
    UnclearImageError,
    Wish,
    read_image,
    without_limit,
)
from pyrogeo.datasets.intensities import checked_range
from pyrogeo.errors import PyrogeoWarning

__all__ = ["from_folder"]

SUFFIXES = (
    ".png", ".apng", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".ppm", ".pgm", ".pbm", ".pnm",
)  # fmt: skip
#: images of other kinds, which are not passed over in silence
_UNREAD = (
    ".heic", ".heif", ".avif", ".jp2", ".jxl", ".dcm", ".nii", ".svg", ".raw", ".dng", ".cr2", ".nef",
)  # fmt: skip
#: folders that systems make, beside those that are hidden by a dot
_OF_SYSTEMS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "Thumbs.db"}
_SPLITS = {
    "train": "train", "training": "train", "val": "validation", "valid": "validation",
    "validation": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


def from_folder(
    path: str | os.PathLike[str],
    size: tuple[int, int] = (32, 32),
    mode: str = "RGB",
    *,
    value_range: tuple[float, float] | None = None,
    missing: str = "refuse",
    pages: str = "refuse",
    max_pixels: int = 64_000_000,
    broken: str = "refuse",
    validation: float = 0.1,
    test: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """The images below a folder; its sub-folders, if there are any, are the classes.

    Where the folders at the top are `train` and `val` or `test` (or `training`, `valid`, `validation`,
    `dev`, `testing`), they are the parts, and the folders below them the classes; a part that is not there is
    held out of `train`. Hidden files and folders are passed over.

    An image is turned upright as its camera noted, scaled so that it just covers `size` (bicubic,
    with antialiasing), and cropped to it around its middle. Transparency is laid on white; CMYK, LAB and palettes
    become RGB; one warning says what was converted, and how often. Integers of 8, 16 and 32 bits are divided
    by the largest number of their type.

    Args:
        path: the folder, searched with everything below it. An image belongs to the class of the
            first folder on the way.
        size: height and width in pixels.
        mode: `"RGB"` or `"L"` (grey).
        value_range: numbers that are black and white, in place of the type's; those outside are
            clipped, and a warning counts them. Negative integers, and floats outside [0, 1], need it.
        missing: `"refuse"`, or `"keep"` for a program that takes NaN.
        pages: `"refuse"` raises for files of several pages or frames; `"each"` reads them one by one, and
            puts those of one file into the same part.
        max_pixels: of a file; a larger one is refused before it is read.
        broken: `"refuse"` raises for files that cannot be read as images, `"skip"` warns; both name
            them. Files with other endings than an image's are passed over.
        validation, test, seed: as in `from_array`.

    Returns:
        images of shape `(N, 3 or 1, *size)`, float32 in [0, 1].

    Raises:
        ValueError: for a folder without images, a mode or size that is none, broken files, images that
            mean one thing or another, and images beside folders of classes.

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
    wish = _checked(size, mode, value_range, missing, pages, max_pixels, broken)
    files = _visible_images(folder)
    skip = broken == "skip"
    x, sources = _read(folder, files, wish, skip) if skip else (torch.empty(0), files)
    parts = _parts(folder, list(dict.fromkeys(sources)))
    classes = {f: c for top, inside in parts.values() for f, c in _classes_of(inside, top).items()}
    if not skip:  # now that the folder is known to be one that can be used
        x, sources = _read(folder, files, wish, skip)
    names = tuple(sorted({name for name in classes.values() if name}))
    y = _indices([classes[file] for file in sources], names)
    held = {"validation": share("validation", validation), "test": share("test", test)}
    if parts.keys() == {""}:
        stacks = np.unique([str(file) for file in sources], return_inverse=True)[1]
        return split(
            x, y, validation=held["validation"], test=held["test"], seed=seed, name=folder.name,
            classes=names, groups=stacks,
        )  # fmt: skip
    part_of = {file: part for part, (_, inside) in parts.items() for file in inside}
    return _as_laid_out(x, y, sources, part_of, held, seed, folder.name, names)


def _checked(
    size: Sequence[int],
    mode: str,
    value_range: tuple[float, float] | None,
    missing: str,
    pages: str,
    max_pixels: int,
    broken: str,
) -> Wish:
    if mode not in ("RGB", "L") or broken not in ("refuse", "skip"):
        raise ValueError(
            f"expected mode 'RGB' or 'L' and broken 'refuse' or 'skip', got {mode!r}, {broken!r}"
        )
    if pages not in ("refuse", "each"):
        raise ValueError(f"pages: expected 'refuse' or 'each', got {pages!r}")
    if len(size) != 2 or any((whole_or_none(n) or 0) < 1 for n in size):
        raise ValueError(f"size: expected a positive height and width, got {size}")
    check_missing(missing)
    limit = whole("max_pixels", max_pixels)
    height, width = size
    return Wish((height, width), mode, checked_range(value_range), missing, pages, limit)


def _visible_images(folder: Path) -> list[Path]:
    """Files with an image's ending, none of them hidden or a system's own."""
    visible = [
        file
        for file in sorted(folder.rglob("*"))
        if not any(n.startswith(".") or n in _OF_SYSTEMS for n in file.relative_to(folder).parts)
        and file.is_file()
    ]
    found = [file for file in visible if file.suffix.lower() in SUFFIXES]
    if found and (unread := [file for file in visible if file.suffix.lower() in _UNREAD]):
        warnings.warn(
            f"{folder.name}: {len(unread)} images such as {unread[0].name} are of kinds that are not read",
            PyrogeoWarning, stacklevel=3,
        )  # fmt: skip
    if not found:
        other = next((file for file in visible if advice(file)), None)
        said = f"; {other.relative_to(folder)} is another kind: {advice(other)}" if other else ""
        raise ValueError(f"{folder} holds no images{said}; known endings are {', '.join(SUFFIXES)}")
    return found


def _parts(folder: Path, files: list[Path]) -> dict[str, tuple[Path, list[Path]]]:
    """Files by part, with the folder that the classes are in; one part `""` where all are to be split."""
    by_top = defaultdict(list)
    for file in files:
        by_top[file.relative_to(folder).parts[0] if file.parent != folder else ""].append(file)
    named = {top: _SPLITS[top.lower()] for top in by_top if top.lower() in _SPLITS}
    if not named or len(named) < len(by_top.keys() - {""}):
        if len(named) > 1:
            warnings.warn(
                f"{', '.join(sorted(named))} are taken for classes, as {folder.name} has other folders "
                "beside them", PyrogeoWarning, stacklevel=3,
            )  # fmt: skip
        return {"": (folder, files)}
    if by_top.get(""):
        raise ValueError(_stray(folder, by_top[""], sorted(named)))
    if "train" not in named.values():
        raise ValueError(
            f"{folder} holds {', '.join(sorted(named))} but no train; name the folder in it"
        )
    parts: dict[str, tuple[Path, list[Path]]] = {}
    for top, part in named.items():
        if part in parts:
            raise ValueError(
                f"{folder} holds two folders for {part}: {parts[part][0].name} and {top}"
            )
        parts[part] = (folder / top, by_top[top])
    return parts


def _classes_of(files: list[Path], top: Path) -> dict[Path, str]:
    """The first folder on the way to each file; empty words where there are no folders.

    Raises:
        ValueError: for files beside folders.
    """
    classes = {}
    for file in files:
        way = file.relative_to(top).parts
        classes[file] = way[0] if len(way) > 1 else ""
    names, lone = {name for name in classes.values() if name}, [f for f in files if not classes[f]]
    if names and lone:
        raise ValueError(_stray(top, lone, sorted(names)))
    return classes


def _stray(folder: Path, files: list[Path], beside: list[str]) -> str:
    some = ", ".join(str(file.relative_to(folder)) for file in files[:5])
    more = f" and {len(files) - 5} more" if len(files) > 5 else ""
    folders = ", ".join(beside[:5]) + (", …" if len(beside) > 5 else "")
    return (
        f"{folder}: {some}{more} lie beside the folders {folders}; an image needs a class where "
        "others have one, so move them into one of these, or away"
    )


def _read(folder: Path, files: list[Path], wish: Wish, skip: bool) -> tuple[Tensor, list[Path]]:
    """All pages of all files, and the file that each comes from."""
    tally, pixels, sources = Tally(), [], []
    broken: dict[Path, str] = {}
    unclear: dict[Path, str] = {}
    with without_limit():
        for file in files:
            try:
                pages = read_image(file, wish, tally)
            except BrokenImageError as error:
                broken[file] = str(error)
            except UnclearImageError as error:
                unclear[file] = str(error)
            else:
                pixels += pages
                sources += [file] * len(pages)
    if unclear:
        raise ValueError(f"{len(unclear)} of {len(files)} files: {_listed(unclear, folder)}")
    which = _listed(broken, folder)
    if broken and not skip:
        raise ValueError(
            f"{len(broken)} files cannot be read as images ({which}); broken='skip' passes over them"
        )
    if not pixels:
        raise ValueError(f"{folder} holds no images that can be read ({which})")
    said = [f"skipped {len(broken)} files ({which})"] if broken else []
    said += [f"{folder.name}: {'; '.join(words)}"] if (words := tally.words()) else []
    for sentence in said:
        warnings.warn(sentence, PyrogeoWarning, stacklevel=3)
    return torch.from_numpy(np.stack(pixels)), sources


def _listed(faults: dict[Path, str], folder: Path) -> str:
    words = [f"{file.relative_to(folder)}: {why}" for file, why in faults.items()]
    return "; ".join(words[:5]) + (f"; and {len(words) - 5} more" if len(words) > 5 else "")


def _indices(labels: list[str], names: tuple[str, ...]) -> Tensor | None:
    """Places among the names, −1 for what has none; None where there are none."""
    place = {name: i for i, name in enumerate(names)}
    return torch.tensor([place.get(label, -1) for label in labels]) if names else None


def _as_laid_out(
    x: Tensor,
    y: Tensor | None,
    sources: list[Path],
    part_of: dict[Path, str],
    held: dict[str, float],
    seed: int,
    name: str,
    classes: tuple[str, ...],
) -> Dataset:
    """The parts that the folders are; those that are not there are held out of `train`, by stacks."""
    _, first, unit_of = np.unique([str(f) for f in sources], return_index=True, return_inverse=True)
    parts = np.array([part_of[sources[i]] for i in first])
    chosen = {part: np.flatnonzero(parts == part) for part in PARTS}
    labels = None if y is None else y.numpy()[first]
    said = []
    for part in ("test", "validation"):
        if not len(chosen[part]):
            train = chosen["train"]
            if len(train) < 2:
                raise ValueError(
                    f"{name}/train has {len(train)} images, too few to hold out {part}"
                )
            of_train = None if labels is None else labels[train]
            stay, out = cut(len(train), of_train, held[part], seed)
            chosen["train"], chosen[part] = train[stay], train[out]
            said.append(f"{len(out)} of {len(train)} files of train were held out for {part}")
    if said:
        warnings.warn(
            f"{name} has not all of {', '.join(PARTS)}: {'; '.join(said)}",
            PyrogeoWarning,
            stacklevel=3,
        )
    rows = {part: units_to_rows(chosen[part], unit_of) for part in PARTS}
    given = {part: None if y is None else _if_known(y[rows[part]]) for part in PARTS}
    return parted(x, rows, given, name, classes)


def _if_known(labels: Tensor) -> Tensor | None:
    """None where some are missing."""
    return None if (labels < 0).any() else labels

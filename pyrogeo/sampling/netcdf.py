"""What a file of draws must be, looked at before its numbers are read.

Imports h5py and NumPy only. HDF5 itself is written in C and is not made for files that somebody damaged on
purpose: it can crash. So the digests of a run are compared before a file comes here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

__all__ = ["check_facts_of_chains", "check_numbers", "check_structure"]

_MOST_BYTES = 2**34  # of all arrays of a file
_MOST_INFLATED = 1100  # bytes that deflate makes of one
_SMALL = 2**16  # bytes of an array that may be without any of its own in the file
_MOST_ARRAYS = 1000
_STATISTICS = ("lp", "energy", "diverging", "tree_depth")
#: facts of a chain: a type, and the least value
_OF_CHAINS = {
    "superchain": ("iu", None),
    "seed": ("iu", None),
    "max_tree_depth": ("iu", 0),
    "incomplete": ("iub", 0),
    "jumps": ("iub", 0),
    "in_doubt": ("iub", 0),
    "log_volume": ("fiu", None),
}
#: attributes, most of which only files of earlier versions hold
_NUMBERS = {
    "superchains": (int, 1),
    "max_tree_depth": (int, 0),
    "incomplete": (int, 0),
    "log_volume": (float, None),
}


def check_structure(path: Path) -> None:
    """Refuses what could not be arrays of numbers of this file's own, or needs more memory than it explains.

    Raises:
        ValueError: that says what was found.
        Exception: of h5py, of any kind, for a file that it cannot read.
    """
    total = 0
    with h5py.File(path, "r") as file:
        if not isinstance(file.get("posterior"), h5py.Group):
            raise ValueError("it has no posterior")
        for number, (name, dataset) in enumerate(_datasets(file)):
            total += _declared_bytes(name, dataset)
            if number >= _MOST_ARRAYS or total > _MOST_BYTES:
                raise ValueError("it holds too much")


def _datasets(group: h5py.Group, above: str = "") -> Iterator[tuple[str, h5py.Dataset]]:
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{above}{name} is a link")
        item = group[name]
        if isinstance(item, h5py.Dataset):
            yield f"{above}{name}", item
        elif above or not isinstance(item, h5py.Group):
            raise ValueError(f"{above}{name} is no array")
        else:
            yield from _datasets(item, f"{name}/")


def _declared_bytes(name: str, dataset: h5py.Dataset) -> int:
    if dataset.is_virtual or dataset.external:
        raise ValueError(f"{name} lies in another file")
    if dataset.shape is None or not (dataset.dtype.kind in "fiubSU" or _is_text(dataset)):
        raise ValueError(f"{name} has numbers of type {dataset.dtype}")
    if {"scale_factor", "add_offset", "missing_value"} & set(dataset.attrs):
        raise ValueError(f"{name} is packed")
    size: int = int(np.prod(dataset.shape, dtype=object)) * dataset.dtype.itemsize
    if size > max(_SMALL, _MOST_INFLATED * dataset.id.get_storage_size()):
        raise ValueError(f"{name} declares {size:,} bytes, more than are in the file")
    return size


def _is_text(dataset: h5py.Dataset) -> bool:
    return h5py.check_string_dtype(dataset.dtype) is not None


def check_numbers(groups: Mapping[str, Mapping[str, np.ndarray]], attrs: Mapping[str, Any]) -> None:
    """Whether arrays and facts are what chains leave.

    Args:
        groups: arrays of shape `(chain, draw, *event)` of the posterior and its statistics, by name.
        attrs: of the posterior.

    Raises:
        ValueError: for other shapes, draws that are no numbers or not finite, and facts of other types.
    """
    if not groups["posterior"]:
        raise ValueError("its posterior has no draws")
    sizes = {x.shape[:2] for arrays in groups.values() for x in arrays.values()}
    if len(sizes) > 1 or 0 in next(iter(sizes)):
        raise ValueError(f"expected as many chains and draws everywhere, got {sorted(sizes)}")
    for group, arrays in groups.items():
        for name, x in arrays.items():
            if x.dtype.kind not in "fiub":
                raise ValueError(f"{group}/{name} has numbers of type {x.dtype}")
            if group == "posterior" and not np.isfinite(x).all():
                raise ValueError(f"{group}/{name} has NaN or infinite draws")
    z = groups["posterior"].get("z")
    if z is not None and (z.ndim != 3 or z.dtype.kind != "f" or z.shape[2] == 0):
        raise ValueError(f"z: expected numbers of shape (chain, draw, d), got {z.shape}, {z.dtype}")
    if any(x.ndim != 2 for name, x in groups["sample_stats"].items() if name in _STATISTICS):
        raise ValueError("expected statistics of shape (chain, draw)")
    _check_facts(attrs, len(next(iter(groups["posterior"].values()))))


def _check_facts(attrs: Mapping[str, Any], chains: int) -> None:
    for name, (kind, least) in _NUMBERS.items():
        if name not in attrs:
            continue
        value = np.asarray(attrs[name])
        if value.dtype.kind not in ("iub" if kind is int else "fiu") or value.size == 0:
            raise ValueError(f"{name}: expected numbers, got {value.dtype}")
        if least is not None and (value.size > 1 or value.item() < least):
            raise ValueError(f"{name}: expected a number of at least {least}")
        if not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite numbers")
    if np.asarray(attrs.get("superchains", 1)).item() > chains:
        raise ValueError(f"superchains: expected at most {chains}")


def check_facts_of_chains(facts: Mapping[str, np.ndarray]) -> None:
    """Whether what is said of each chain is of the type that it must be.

    Args:
        facts: arrays of shape `(chain,)`, by name.

    Raises:
        ValueError: for known names with other types, or numbers that are not finite or below their least.
    """
    for name, (kinds, least) in _OF_CHAINS.items():
        value = facts.get(name)
        if value is None:
            continue
        if value.dtype.kind not in kinds or not np.isfinite(value).all():
            raise ValueError(f"{name}: expected finite numbers, got {value.dtype}")
        if least is not None and (value < least).any():
            raise ValueError(f"{name}: expected numbers of at least {least}")

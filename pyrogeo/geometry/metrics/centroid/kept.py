"""The file of a centroid metric: what it must hold, and how it is read."""

import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from pyrogeo._files import broken
from pyrogeo._tensors import Held, read_tensors, write_tensors

__all__ = ["read_metric", "write_metric"]

Made = TypeVar("Made", bound=nn.Module)

_KIND = "a centroid metric"
_NUMBERS = ("bandwidth", "regularization", "decay")
_HELD = {
    "centroids": Held(("K", "d")),
    "variances": Held(("K", "d"), needed=False, positive=True),
    "covariances": Held(("K", "d", "d"), needed=False),
    **dict.fromkeys(_NUMBERS, Held(())),
}


def write_metric(path: str | os.PathLike[str], tensors: dict[str, Tensor], name: str) -> None:
    """The tensors of a metric of a class by that name."""
    write_tensors(path, tensors, _KIND, name=name)


def read_metric(path: str | os.PathLike[str], kinds: Collection[Callable[..., Made]]) -> Made:
    """The metric that a file holds, of one of the classes.

    Raises:
        BrokenFileError: for a file that is missing, truncated, foreign or of a newer format.
    """
    path = Path(path)
    tensors, about = read_tensors(path, _KIND, _HELD, words=["name"])
    by_name = {kind.__name__: kind for kind in kinds}
    if about["name"] not in by_name:
        raise broken(path, _KIND, f"expected one of {', '.join(by_name)}")
    numbers = {name: tensors.pop(name).item() for name in _NUMBERS}
    try:
        metric = by_name[about["name"]](**tensors, **numbers)
    except TypeError as error:
        raise broken(path, _KIND, f"it has {', '.join(sorted(tensors))}") from error
    except (ValueError, RuntimeError) as error:  # torch's of a factorisation is the latter
        raise broken(path, _KIND, error) from error
    if not all(torch.isfinite(buffer).all() for buffer in metric.buffers()):
        raise broken(path, _KIND, "its numbers are too large to compute with")
    return metric

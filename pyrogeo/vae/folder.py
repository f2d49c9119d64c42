"""The folder of a saved VAE: its weights, and what was said of its parts."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from torch import Tensor, nn

from pyrogeo._files import read_json, write_json
from pyrogeo._tensors import FLOATS, INTEGERS, Held, read_tensors, write_tensors
from pyrogeo.errors import BrokenFileError

__all__ = ["WORDS", "load_weights", "read_statement", "save", "size_of_weights"]

PathLike = str | os.PathLike[str]
_WEIGHTS, WORDS = "weights.safetensors", "vae.json"
_WEIGHTS_KIND, _WORDS_KIND = "weights of a pyrogeo VAE", "a pyrogeo VAE"


def save(vae: nn.Module, folder: PathLike) -> None:
    """Writes weights, `vae.statement` and the parts' description; see `VAE.save`."""
    folder = Path(folder)
    if (folder / WORDS).exists():
        raise ValueError(f"{folder} holds a VAE already; choose another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / _WEIGHTS, _once_each(vae.state_dict()), _WEIGHTS_KIND)
    write_json(folder / WORDS, {"statement": vae.statement, "parts": repr(vae)}, _WORDS_KIND)


def _once_each(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Parts may share modules, a prior its guide's network say: their tensors are kept under one name."""
    places: dict[tuple[Any, ...], str] = {}
    for name in sorted(state):
        tensor = state[name]
        where = (tensor.device, tensor.data_ptr(), tensor.shape, tensor.stride())
        places.setdefault(where if tensor.numel() else (name,), name)
    return {name: tensor for name, tensor in state.items() if name in places.values()}


def load_weights(vae: nn.Module, folder: PathLike) -> None:
    """Fills the parameters and buffers; see `VAE.load_weights`."""
    path, own = Path(folder) / _WEIGHTS, vae.state_dict()
    held = {
        name: Held(tuple(t.shape), FLOATS if t.is_floating_point() else INTEGERS | {"BOOL"}, False)
        for name, t in own.items()
    }
    tensors, _ = read_tensors(path, _WEIGHTS_KIND, held, more_words=own.keys())
    found = {name: tensors[one] for name, one in _kept_of(own, tensors.keys()).items()}
    if missing := sorted(own.keys() - found.keys()):
        raise BrokenFileError(f"{path} does not fit this VAE: it lacks {', '.join(missing)}")
    vae.load_state_dict(found)


def _kept_of(own: Mapping[str, Tensor], kept: Collection[str]) -> dict[str, str]:
    """Which tensor of the file stands for each of the VAE's: one in memory, by several names, is kept once."""
    place = {
        name: (t.data_ptr(), t.shape, t.stride(), t.dtype) if t.numel() else name
        for name, t in own.items()
    }
    by_place = {place[name]: name for name in kept}
    found = {name: by_place[at] for name, at in place.items() if at in by_place}
    return found | {name: name for name in kept}


def read_statement(folder: PathLike) -> dict[str, Any]:
    """The `vae.statement` of a folder.

    Raises:
        BrokenFileError: for a folder without a VAE.
        ValueError: for a VAE of which nothing was stated.
    """
    statement = read_json(Path(folder) / WORDS, _WORDS_KIND, {1: _Words}).statement
    if not statement:
        raise ValueError(
            f"{folder} holds a VAE of its author's own parts; build it and call vae.load_weights(folder)"
        )
    return statement


class _Words(Struct, forbid_unknown_fields=True):
    statement: dict[str, Any] | None
    parts: str


def size_of_weights(folder: PathLike) -> int:
    """Bytes of the file of weights, which bound those of the VAE; 0 where there is none."""
    path = Path(folder) / _WEIGHTS
    return path.stat().st_size if path.is_file() else 0

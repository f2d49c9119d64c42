"""The folder of a saved VAE: its weights, and what was said of its parts."""

import os
from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from torch import nn

from pyrogeo._files import read_json, replacing, write_json
from pyrogeo._tensors import read_tensors

__all__ = ["load_weights", "read_statement", "save"]

PathLike = str | os.PathLike[str]
_WEIGHTS, _WORDS = "weights.safetensors", "vae.json"
_WEIGHTS_KIND, _WORDS_KIND = "weights of a pyrogeo VAE", "a pyrogeo VAE"


def save(vae: nn.Module, folder: PathLike) -> None:
    """Writes weights, `vae.statement` and the parts' description; see `VAE.save`."""
    folder = Path(folder)
    if (folder / _WORDS).exists():
        raise ValueError(f"{folder} holds a VAE already; choose another folder or remove it")
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"kind": _WEIGHTS_KIND, "format": "1"}
    # Parts may share modules, a prior its guide's network say, which save_model knows.
    replacing(folder / _WEIGHTS, lambda file: save_model(vae, str(file), metadata=kind))
    write_json(folder / _WORDS, {"statement": vae.statement, "parts": repr(vae)}, _WORDS_KIND)


def load_weights(vae: nn.Module, folder: PathLike) -> None:
    """Fills the parameters and buffers; see `VAE.load_weights`."""
    path = Path(folder) / _WEIGHTS
    read_tensors(path, _WEIGHTS_KIND)
    try:
        load_model(vae, path)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit this VAE: {error}") from error


def read_statement(folder: PathLike) -> dict[str, Any]:
    """The `vae.statement` of a folder.

    Raises:
        ValueError: for a folder without a VAE, and a VAE of which nothing was stated.
    """
    statement: dict[str, Any] | None = read_json(Path(folder) / _WORDS, _WORDS_KIND).get(
        "statement"
    )
    if not statement:
        raise ValueError(
            f"{folder} holds a VAE of its author's own parts; build it and call vae.load_weights(folder)"
        )
    return statement

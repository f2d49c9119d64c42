"""What the files of a run hold: written by one function each, and read by one."""

import io
import json
import math
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import numpy as np
import pandas as pd
import torch
from msgspec import Meta, Struct
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from pyrogeo._files import broken, read_json, write_bytes, write_json
from pyrogeo._tensors import INTEGERS, Held, read_tensors, write_tensors
from pyrogeo._words import printable
from pyrogeo.datasets import Dataset
from pyrogeo.errors import BrokenFileError
from pyrogeo.geometry.checks import has_moments, location_and_spread
from pyrogeo.run.folder import Folder
from pyrogeo.vae import VAE, History
from pyrogeo.vae.likelihoods import picture
from pyrogeo.verdict import Diagnosis

__all__ = [
    "DataWords",
    "as_distribution",
    "data_words",
    "in_words",
    "read_diagnosis",
    "read_history",
    "read_posterior",
    "read_training",
    "write_decoded",
    "write_diagnosis",
    "write_training",
]

_TRAINING = "training data of a run"
_POSTERIOR = "posteriors of a run"
_HISTORY = "a training history"
_DIAGNOSIS = "a diagnosis"
_EXAMPLES = 64
_TRAINING_BYTES = 64 * 2**20

# What the tensors of each kind of file must be.
_OF_POSTERIOR = {
    "loc": Held(("N", "d")),
    "variance": Held(("N", "d"), needed=False, positive=True),
    "covariance": Held(("N", "d", "d"), needed=False),
    "labels": Held(("N",), INTEGERS, needed=False),
    "examples": Held(("n", "...")),
    "data_location": Held(("...",), needed=False),
    "data_scale": Held(("...",), needed=False, positive=True),
}
_OF_TRAINING = {"data": Held(("n", "..."))}

Finite = Annotated[float, Meta(ge=-1.797e308, le=1.797e308)]
Counted = Annotated[int, Meta(ge=0, le=2**53)]


class DataWords(Struct):
    """What the manifest keeps of the data that were fitted."""

    name: str
    classes: tuple[str, ...]
    columns: tuple[str, ...] = ()


class _Rows(Struct, forbid_unknown_fields=True):
    epoch: list[Counted]
    loss: list[Finite]
    validation_loss: list[float]
    learning_rate: list[Annotated[float, Meta(ge=0, le=1.797e308)]]

    def __post_init__(self) -> None:
        n = len(self.epoch)
        if self.epoch != list(range(1, n + 1)):
            raise ValueError("expected the epochs from 1")
        if {len(self.loss), len(self.validation_loss), len(self.learning_rate)} != {n}:
            raise ValueError("expected as many losses and learning rates as epochs")
        if any(map(math.isinf, self.validation_loss)):
            raise ValueError("expected finite losses")


class _History(Struct, forbid_unknown_fields=True):
    best_epoch: Counted
    stopped: Literal["finished", "early", "interrupted"]
    seed: int
    rows: _Rows

    def __post_init__(self) -> None:
        if self.best_epoch > len(self.rows.epoch):
            raise ValueError("expected the best epoch among those that there are")
        if not -(2**63) <= self.seed < 2**64:
            raise ValueError("expected a seed of torch's")


_Column = Literal[
    "mean",
    "sd",
    "mcse_mean",
    "ess_bulk",
    "ess_tail",
    "r_hat",
    "ess_between",
    "median",
    "mcse_median",
]


class _Diagnosis(Struct, forbid_unknown_fields=True):
    verdict: Literal["pass", "too short", "cannot tell", "disagree"]
    reasons: tuple[str, ...]
    table: dict[str, dict[_Column, Finite | None]]

    def __post_init__(self) -> None:
        if len({tuple(row) for row in self.table.values()}) != 1:
            raise ValueError("expected the same columns of each quantity")


def in_words(data: Dataset) -> dict[str, object]:
    """What the data are, in JSON's words."""
    return {"name": data.name, "classes": list(data.classes), "columns": list(data.columns)}


def write_training(new: Callable[[str], Path], vae: VAE, history: History, data: Dataset) -> None:
    """All that `fit` leaves: VAE, history, posteriors and the data to hold samples against."""
    vae.save(new("vae/vae.json").parent)
    new("vae/weights.safetensors")
    rows = history.table.reset_index().to_dict("list")
    words = {"best_epoch": history.best_epoch, "stopped": history.stopped, "seed": history.seed}
    write_json(new("history.json"), {**words, "rows": rows}, _HISTORY)
    write_tensors(new("posterior.safetensors"), _posterior(vae, data), _POSTERIOR)
    most = max(1, _TRAINING_BYTES // (data.train[0].numel() * data.train.element_size()))
    some = torch.linspace(0, len(data.train) - 1, min(len(data.train), most)).long()
    write_tensors(new("training.safetensors"), {"data": data.train[some]}, _TRAINING)


def _posterior(vae: VAE, data: Dataset) -> dict[str, Tensor]:
    tensors = {"examples": data.test[:_EXAMPLES]}
    if data.train_labels is not None:
        tensors["labels"] = data.train_labels
    if data.location is not None and data.scale is not None:
        tensors |= {"data_location": data.location, "data_scale": data.scale}
    q = vae.embed(data.train)
    if not has_moments(q):  # such a guide has embeddings only
        return tensors | {"loc": q.sample()}
    loc, spread, is_full = location_and_spread(q)
    tensors["loc"] = loc
    if spread.any():  # and so has a point mass
        tensors["covariance" if is_full else "variance"] = spread
    return tensors


def read_posterior(path: Path, classes: Collection[str] = ()) -> dict[str, Tensor]:
    """The tensors of the posteriors, by name; labels are among the classes, if there are some."""
    tensors = read_tensors(path, _POSTERIOR, _OF_POSTERIOR)[0]
    labels = tensors.get("labels")
    if labels is not None and classes and not ((labels >= 0) & (labels < len(classes))).all():
        raise broken(path, _POSTERIOR, f"expected labels of {len(classes)} classes")
    return tensors


def read_training(path: Path) -> Tensor:
    """The training data to hold samples against."""
    return read_tensors(path, _TRAINING, _OF_TRAINING)[0]["data"]


def as_distribution(tensors: dict[str, Tensor]) -> Distribution | None:
    """q(z|x) of the training data; None where only their embeddings are known.

    Raises:
        BrokenFileError: for covariances that are none.
    """
    if "variance" in tensors:
        return Independent(Normal(tensors["loc"], tensors["variance"].sqrt()), 1)
    if "covariance" in tensors:
        try:
            return MultivariateNormal(tensors["loc"], tensors["covariance"])
        except (ValueError, RuntimeError) as error:
            raise BrokenFileError("posteriors: expected positive definite covariances") from error
    return None


def data_words(folder: Folder) -> DataWords:
    """What the data were, by the settings of the step that fitted them.

    Raises:
        ValueError: for a run without such a step, and, as a `BrokenFileError`, for one that does not say it.
    """
    if not folder.has("fit"):
        raise ValueError(f"{folder.path} has no posteriors yet; fit first")
    try:
        return msgspec.convert(folder.manifest.steps["fit"].settings.get("data"), DataWords)
    except ValueError as error:
        reason = printable(error, 200)
        raise BrokenFileError(f"{folder.path} does not say what its data are: {reason}") from error


def read_history(path: Path) -> History:
    """What happened in training."""
    found = read_json(path, _HISTORY, {1: _History})
    table = pd.DataFrame(msgspec.to_builtins(found.rows)).set_index("epoch").astype(float)
    return History(table, found.best_epoch, found.stopped, found.seed)


def write_diagnosis(path: Path, found: Diagnosis) -> None:
    """A verdict with its table and reasons."""
    write_json(path, diagnosis_in_words(found), _DIAGNOSIS)


def diagnosis_in_words(found: Diagnosis) -> dict[str, object]:
    """A verdict in JSON's words: NaN is null there."""
    table = json.loads(found.table.to_json(orient="index", double_precision=15))
    return {"verdict": found.verdict, "reasons": list(found.reasons), "table": table}


def read_diagnosis(path: Path) -> Diagnosis:
    """The verdict that `write_diagnosis` wrote."""
    found = read_json(path, _DIAGNOSIS, {1: _Diagnosis})
    table = pd.DataFrame.from_dict(found.table, orient="index").astype(np.float64)
    return Diagnosis(found.verdict, table, found.reasons)


def write_decoded(
    new: Callable[[str], Path],
    name: str,
    vae: VAE,
    z: np.ndarray,
    kept: dict[str, Tensor],
    columns: tuple[str, ...],
) -> None:
    """Latent points `(chain, draw, d)` and what they decode to, in the units that the data came in.

    A table whose columns have names is also written as CSV, which `fit` reads.
    """
    data = picture(vae.decode(torch.from_numpy(z).flatten(0, 1))).cpu()
    if "data_scale" in kept:
        data = kept["data_location"] + kept["data_scale"] * data
    buffer = io.BytesIO()
    np.savez_compressed(buffer, z=z, data=data.reshape(*z.shape[:2], *data.shape[1:]))
    write_bytes(new(f"decoded/{name}.npz"), buffer.getbuffer())
    if columns:
        table = pd.DataFrame(data.numpy(), columns=list(columns)).to_csv(index=False)
        write_bytes(new(f"decoded/{name}.csv"), table.encode())

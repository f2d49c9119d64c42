"""What the files of a run hold: written by one function each, and read by one."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from pyrogeo._files import read_json, write_json
from pyrogeo._tensors import read_tensors, write_tensors
from pyrogeo.datasets import Dataset
from pyrogeo.geometry.checks import has_moments, location_and_spread
from pyrogeo.vae import VAE, History
from pyrogeo.verdict import Diagnosis

__all__ = [
    "as_distribution",
    "read_diagnosis",
    "read_history",
    "read_posterior",
    "read_tensors",
    "write_decoded",
    "write_diagnosis",
    "write_training",
]

TRAINING = "training data of a run"
_POSTERIOR = "posteriors of a run"
_HISTORY = "a training history"
_DIAGNOSIS = "a diagnosis"
_EXAMPLES = 64
_TRAINING_BYTES = 64 * 2**20


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
    write_tensors(new("training.safetensors"), {"data": data.train[some]}, TRAINING)


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


def read_posterior(path: Path) -> dict[str, Tensor]:
    """The tensors of the posteriors, by name."""
    return read_tensors(path, _POSTERIOR)[0]


def as_distribution(tensors: dict[str, Tensor]) -> Distribution | None:
    """q(z|x) of the training data; None where only their embeddings are known."""
    if "variance" in tensors:
        return Independent(Normal(tensors["loc"], tensors["variance"].sqrt()), 1)
    if "covariance" in tensors:
        return MultivariateNormal(tensors["loc"], tensors["covariance"])
    return None


def read_history(path: Path) -> History:
    """What happened in training."""
    words = read_json(path, _HISTORY)
    table = pd.DataFrame(words["rows"]).set_index("epoch").astype(float)
    return History(table, words["best_epoch"], words["stopped"], words["seed"])


def write_diagnosis(path: Path, found: Diagnosis) -> None:
    """A verdict with its table and reasons."""
    write_json(path, diagnosis_in_words(found), _DIAGNOSIS)


def diagnosis_in_words(found: Diagnosis) -> dict[str, object]:
    """A verdict in JSON's words: NaN is null there."""
    table = json.loads(found.table.to_json(orient="index", double_precision=15))
    return {"verdict": found.verdict, "reasons": list(found.reasons), "table": table}


def read_diagnosis(path: Path) -> Diagnosis:
    """The verdict that `write_diagnosis` wrote."""
    words = read_json(path, _DIAGNOSIS)
    table = pd.DataFrame.from_dict(words["table"], orient="index").astype(np.float64)
    return Diagnosis(words["verdict"], table, tuple(words["reasons"]))


def write_decoded(path: Path, vae: VAE, z: np.ndarray, kept: dict[str, Tensor]) -> None:
    """Latent points `(chain, draw, d)` and what they decode to, in the units that the data came in."""
    data = vae.decode(torch.from_numpy(z).flatten(0, 1)).mean.cpu()
    if "data_scale" in kept:
        data = kept["data_location"] + kept["data_scale"] * data
    np.savez_compressed(path, z=z, data=data.reshape(*z.shape[:2], *data.shape[1:]))

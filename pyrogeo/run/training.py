"""The step that trains: what it is asked for, when it is there already, and what it goes on from."""

from typing import Any

from pyrogeo._tensors import digest_of
from pyrogeo.datasets import Dataset
from pyrogeo.run import kept
from pyrogeo.run.folder import Folder
from pyrogeo.vae import VAE, History, fit
from pyrogeo.vae.training.state import Checkpoint

__all__ = ["CHECKPOINT", "train"]

CHECKPOINT = "checkpoint.safetensors"  # of a training that goes on
_STATE = "vae/training-state.safetensors"  # of one that is done, from which more epochs go on
_ADVICE = "; choose a new folder, or train anew"
_PARTS = ("train", "validation", "test")


def train(
    store: Folder,
    vae: VAE,
    data: Dataset,
    *,
    force: bool = False,
    statement: dict[str, Any] | None = None,
    **options: Any,
) -> History:
    """As `Run.fit`."""
    about = {**kept.in_words(data), "digest": _digest(data)}
    with store.writing():
        there = store.has("fit") and not force
        if there:
            _check_data(store, about)
        earlier = store.file(_STATE) if there else None
        lead = f"{store.path} holds a trained VAE already, which" if there else "{}"
        file = Checkpoint(store.path / CHECKPOINT, earlier, anew=force, words=(lead, _ADVICE))
        history = fit(vae, data.train, data.validation, checkpoint=file, **options)
        if history.stopped == "interrupted":
            return history
    done = len(history.table) == file.done and not (store.path / CHECKPOINT).exists()
    if there and done and store.is_whole("fit"):
        return history
    with store.step(
        "fit", settings={"data": about}, statement=statement, removes=(CHECKPOINT,)
    ) as new:
        kept.write_training(new, vae, history, data)
        file.copy(new(_STATE))
    return history


def _digest(data: Dataset) -> str:
    """Of all that a run keeps of its data, or trains on."""
    labels = [f"{part}_labels" for part in _PARTS]
    return digest_of({n: getattr(data, n) for n in (*_PARTS, *labels, "location", "scale")})


def _check_data(store: Folder, about: dict[str, Any]) -> None:
    step = store.manifest.steps["fit"]
    if _STATE not in step.files:
        raise ValueError(
            f"{store.path} holds a trained VAE already, of an earlier version, from which training cannot go on{_ADVICE}"
        )
    if step.settings["data"] != about:
        raise ValueError(
            f"{store.path} holds a trained VAE already, which was trained on other data{_ADVICE}"
        )

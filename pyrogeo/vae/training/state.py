"""What a training run has come to, the parts that learn, and the file from which both go on."""

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pyrogeo._tensors import read_state, write_state
from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import Traits

__all__ = ["Checkpoint", "Learner", "Row", "Settings", "TrainingState", "weights_of"]

_KIND = "a checkpoint of pyrogeo.fit"


class HasState(Protocol):
    """A module, an optimiser, a scheduler, an objective with a discriminator."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state: dict[str, Any]) -> Any: ...


class Row(NamedTuple):
    """One epoch of a history; losses are −ELBO per datum, in nats."""

    loss: float
    validation_loss: float
    learning_rate: float

    @property
    def monitored(self) -> float:
        """The loss that says which epoch is best: the validation data's, where there are some."""
        return self.loss if math.isnan(self.validation_loss) else self.validation_loss


class Settings(NamedTuple):
    """What a run must have in common with the checkpoint that it continues.

    Attributes:
        seed: of shuffles and noise.
        batch_size: data of each step, or None where a loader does not say.
        data: shape of the training data, `(N, *event)`; N is None where it is not known.
    """

    seed: int
    batch_size: int | None
    data: tuple[int | None, ...]


@dataclass(frozen=True, kw_only=True)
class Learner:
    """All that a step of training changes, and so all that a checkpoint keeps.

    Attributes:
        traits: of the objective, asked once.
    """

    vae: VAE
    objective: Any  # an ELBO, whose class in Pyro does not say its methods
    traits: Traits
    optimizer: torch.optim.Optimizer
    scheduler: Any = None

    def parts(self) -> dict[str, HasState]:
        """By name, those that have a state."""
        parts: dict[str, HasState] = {"vae": self.vae, "optimizer": self.optimizer}
        if self.scheduler is not None:
            parts["scheduler"] = self.scheduler
        if hasattr(self.objective, "state_dict"):
            parts["objective"] = self.objective
        return parts

    def step_scheduler(self, loss: float) -> None:
        """After an epoch whose monitored loss this was."""
        if isinstance(self.scheduler, ReduceLROnPlateau):
            self.scheduler.step(loss)
        elif self.scheduler is not None:
            self.scheduler.step()


@dataclass
class TrainingState:
    """What happened so far.

    Attributes:
        best: weights of the best epoch.
        best_epoch: its number from 1, or 0 for the weights that the VAE came with.
        rows: of the epochs so far.

    >>> state = TrainingState({})
    >>> for loss in (3.0, 2.0, 2.5):
    ...     state.record(Row(loss, math.nan, 1e-3), dict)
    >>> state.best_epoch, len(state.rows)
    (2, 3)
    """

    best: dict[str, Tensor]
    best_epoch: int = 0
    rows: list[Row] = field(default_factory=list)

    def record(self, row: Row, weights: Callable[[], dict[str, Tensor]]) -> None:
        """Appends the row, and keeps the weights if they are the best."""
        lowest = min((earlier.monitored for earlier in self.rows), default=math.inf)
        self.rows.append(row)
        if row.monitored < lowest:
            self.best, self.best_epoch = weights(), len(self.rows)


def weights_of(vae: VAE) -> dict[str, Tensor]:
    """A copy, which training does not change."""
    return {name: tensor.detach().clone() for name, tensor in vae.state_dict().items()}


class Checkpoint:
    """A file that holds the settings, the state and the parts' states; without a path, nothing.

    Args:
        path: of the file, or None.

    Raises:
        ValueError: for a path at which no file can be written, and a file that is broken or no checkpoint.
    """

    def __init__(self, path: str | os.PathLike[str] | None):
        self.path = None if path is None else _writable(path)
        exists = self.path is not None and self.path.exists()
        self._saved = read_state(self.path, _KIND) if self.path and exists else None
        if exists and not _is_whole(self._saved):
            raise ValueError(
                f"checkpoint: {self.path} has the format of another version of pyrogeo; remove it to "
                "start anew"
            )

    @property
    def seed(self) -> int | None:
        """Of the run that wrote the file, if there is one."""
        return self._saved["settings"]["seed"] if self._saved else None

    def resume(self, learner: Learner, settings: Settings) -> TrainingState | None:
        """Gives the parts their saved states, and returns that of the run; None without a file.

        Raises:
            ValueError: for the file of another run.
        """
        if self._saved is None:
            return None
        parts, theirs = learner.parts(), self._saved["parts"]
        ours = _as_json(settings)
        if self._saved["settings"] != ours or theirs.keys() != parts.keys():
            raise ValueError(
                f"checkpoint: {self.path} belongs to another run: it has {self._saved['settings']} with "
                f"{sorted(theirs)}, this one has {ours} with {sorted(parts)}"
            )
        for name, part in parts.items():
            try:
                part.load_state_dict(theirs[name])
            except (RuntimeError, ValueError, KeyError) as error:
                raise ValueError(
                    f"checkpoint: {self.path} does not fit this {name}: {error}"
                ) from error
        state = self._saved["state"]
        rows = [Row(**row) for row in state["rows"]]
        return TrainingState(state["best"], state["best_epoch"], rows)

    def write(self, learner: Learner, settings: Settings, state: TrainingState) -> None:
        """Replaces the file."""
        if self.path is None:
            return
        content = {
            "settings": _as_json(settings),
            "state": {
                "rows": [row._asdict() for row in state.rows],
                "best": state.best,
                "best_epoch": state.best_epoch,
            },
            "parts": {name: part.state_dict() for name, part in learner.parts().items()},
        }
        write_state(self.path, content, _KIND)


def _writable(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"checkpoint: {path} is not a file in an existing, writable folder")
    return path


def _as_json(settings: Settings) -> dict[str, Any]:
    """As they stand in the file."""
    return {**settings._asdict(), "data": list(settings.data)}


def _is_whole(saved: Any) -> bool:
    """Whether a file's content has the parts that `Checkpoint.write` gives it."""
    return (
        isinstance(saved, dict)
        and saved.keys() == {"settings", "state", "parts"}
        and saved["settings"].keys() == set(Settings._fields)
        and saved["state"].keys() == {"rows", "best", "best_epoch"}
        and all(row.keys() == set(Row._fields) for row in saved["state"]["rows"])
    )

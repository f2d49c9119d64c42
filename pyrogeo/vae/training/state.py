"""What a training run has come to, the parts that learn, and the file from which both go on."""

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pyrogeo._asked import differing
from pyrogeo._files import write_bytes
from pyrogeo._tensors import digest_of, read_state, write_state
from pyrogeo._words import printable
from pyrogeo.errors import BrokenFileError, PyrogeoWarning
from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import Traits
from pyrogeo.vae.training.saved import check_content, check_part, check_weights

__all__ = [
    "Checkpoint",
    "Learner",
    "Row",
    "Settings",
    "TrainingState",
    "weight_digests",
    "weights_of",
]

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
        earlier: of another, from which training goes on where there is no file at `path`; it is only read.
        anew: the file of another run is passed over, and replaced.
        words: beginning and end of the message about another run; {} stands for the file.

    Attributes:
        done: epochs that the file had when training went on from it; None where it did not.

    Raises:
        ValueError: for a path at which no file can be written, and a file that is broken or no checkpoint.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None,
        earlier: str | os.PathLike[str] | None = None,
        anew: bool = False,
        words: tuple[str, str] = ("checkpoint: {}", ""),
    ):
        self.path = None if path is None else _writable(path)
        there = [Path(p) for p in (self.path, earlier) if p is not None and Path(p).exists()]
        self._source, self._anew = next(iter(there), None), anew
        self._words = tuple(part.format(self._source) for part in words)
        self._saved = None if self._source is None else read_state(self._source, _KIND)
        self.done: int | None = None
        if self._saved is not None:
            self._check_content()

    def _check_content(self) -> None:
        try:
            check_content(self._saved, Settings, Row)
        except ValueError as error:
            raise BrokenFileError(
                f"checkpoint: {self._source} is damaged or has the format of another version of pyrogeo; "
                f"remove it to start anew: {printable(error, 200)}"
            ) from error

    @property
    def seed(self) -> int | None:
        """Of the run that wrote the file, if there is one."""
        return self._saved["settings"]["seed"] if self._saved else None

    def resume(
        self, learner: Learner, settings: Settings, asked: dict[str, Any], epochs: int
    ) -> TrainingState | None:
        """Gives the parts their saved states, and returns that of the run; None without a file.

        Args:
            learner: whose parts they are.
            settings: of this run.
            asked: what else the outcome depends on, in JSON's words.
            epochs: that are wanted in all.

        Raises:
            ValueError: for the file of another run, with what differs; and, as a `BrokenFileError`, for one
                that does not fit.
        """
        if self._saved is None:
            return None
        if self._anew and self._other_run(learner, settings, asked):
            self._saved = None
            return None
        if problem := self._other_run(learner, settings, asked):
            raise ValueError(f"{self._words[0]} {problem}{self._words[1]}")
        saved = self._saved["state"]
        if len(saved["rows"]) > epochs:
            raise ValueError(
                f"epochs: {self._source} has {len(saved['rows'])} already, expected at least as many, got "
                f"{epochs}"
            )
        self._check_parts(learner, self._saved)
        _say_where_it_began(learner.vae, self._saved.get("start"), saved["best"])
        for name, part in learner.parts().items():
            with self._fitting(name):
                part.load_state_dict(self._saved["parts"][name])
        self.done = len(saved["rows"])
        return TrainingState(
            saved["best"], saved["best_epoch"], [Row(**row) for row in saved["rows"]]
        )

    def _check_parts(self, learner: Learner, saved: Any) -> None:
        """Before any of them takes its state."""
        own = learner.vae.state_dict()
        with self._fitting("vae"):
            check_weights(own, saved["state"]["best"])
            if saved.get("start", own).keys() != own.keys():
                raise ValueError("expected what training began with to have the same names")
        for name, part in learner.parts().items():
            with self._fitting(name):
                check_part(name, part, saved["parts"][name])

    @contextlib.contextmanager
    def _fitting(self, name: str) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, KeyError, TypeError) as error:
            raise BrokenFileError(
                f"checkpoint: {self._source} does not fit this {name}: {printable(error, 200)}"
            ) from error

    def _other_run(self, learner: Learner, settings: Settings, asked: dict[str, Any]) -> str:
        """What makes the file that of another run, empty if nothing does."""
        saved, ours = self._saved or {}, _as_json(settings)
        before = {**saved["settings"], "parts": sorted(saved["parts"])}
        now = {**ours, "parts": sorted(learner.parts())}
        if "asked" in saved:  # earlier versions kept less
            before["asked"], now["asked"] = saved["asked"], asked
        others = [differing(before.pop("asked", {}), now.pop("asked", {})), differing(before, now)]
        others = [other for other in others if other]
        if not others:
            return ""
        vae_differs = "asked" in saved and saved["asked"]["vae"] != asked["vae"]
        kind = "does not fit this vae" if vae_differs else "belongs to another run"
        return f"{kind}: {', '.join(others)}{_of_the_number(saved.get('asked'), asked)}"

    def write(
        self, learner: Learner, settings: Settings, asked: dict[str, Any], start: dict[str, str],
        state: TrainingState,
    ) -> None:  # fmt: skip
        """Replaces the file."""
        if self.path is None:
            return
        content = {
            "settings": _as_json(settings),
            "asked": asked,
            "start": (self._saved or {}).get("start", start),
            "state": {
                "rows": [row._asdict() for row in state.rows],
                "best": state.best,
                "best_epoch": state.best_epoch,
            },
            "parts": {name: part.state_dict() for name, part in learner.parts().items()},
        }
        write_state(self.path, content, _KIND)

    def copy(self, path: str | os.PathLike[str]) -> None:
        """Writes to another path what the file holds now.

        Raises:
            ValueError: where there is no file.
        """
        there = self.path if self.path is not None and self.path.exists() else self._source
        if there is None:
            raise ValueError("there is no checkpoint to copy")
        write_bytes(path, there.read_bytes())


def weight_digests(vae: VAE) -> dict[str, str]:
    """Of each parameter and buffer, by name."""
    return {name: digest_of({"": tensor}) for name, tensor in vae.state_dict().items()}


def _say_where_it_began(vae: VAE, start: dict[str, str] | None, best: dict[str, Tensor]) -> None:
    """Refuses other weights where training leaves them alone, and warns of others that it replaces.

    The VAE may have those that training began with, or those that it was left with.
    """
    if start is None:
        return
    left = {name: digest_of({"": tensor}) for name, tensor in best.items()}
    other = {n for n, found in weight_digests(vae).items() if found not in (start[n], left[n])}
    fixed = sorted(name for name in other if start[name] == left[name])
    if len(fixed) == len(other) and other:
        raise ValueError(
            f"checkpoint: belongs to a run with other values of {', '.join(fixed)}, which are not trained"
        )
    if other:
        warnings.warn(
            "the checkpoint's training began with other weights than this VAE's; it goes on with its own",
            PyrogeoWarning,
            stacklevel=5,
        )


def _of_the_number(before: dict[str, Any] | None, now: dict[str, Any]) -> str:
    """What to say where a scheduler alone stands in the way of more epochs."""
    if before is None or before["scheduler"] == now["scheduler"]:
        return ""
    if any(before.get(name) != now[name] for name in now.keys() - {"scheduler"}):
        return ""
    name = (now["scheduler"] or before["scheduler"])["is"]
    return f"; a {name} that depends on the number of epochs cannot go on to more of them"


def _writable(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"checkpoint: {path} is not a file in an existing, writable folder")
    return path


def _as_json(settings: Settings) -> dict[str, Any]:
    """As they stand in the file."""
    return {**settings._asdict(), "data": list(settings.data)}

"""Training: stochastic variational inference with a Pyro ELBO and a torch optimiser.

Every epoch draws its shuffle and its noise from (seed, epoch). Nothing random outlives an epoch, so
a checkpoint needs no generator state, and an interrupted run continues to the same bits.
"""

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import pyro
import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.optim import PyroOptim
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as MapStyle
from tqdm.auto import tqdm

from pyrogeo._checks import whole
from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.datasets.dataset import Dataset
from pyrogeo.errors import NonFiniteLossError, PyrogeoWarning
from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import Traits, traits_of
from pyrogeo.vae.training.asked import asked_of
from pyrogeo.vae.training.batches import Batches, batches_of
from pyrogeo.vae.training.checks import check_batches, check_entropy, check_objective
from pyrogeo.vae.training.engine import Engine, PlainEngine
from pyrogeo.vae.training.makers import ADAM, PLATEAU, makers
from pyrogeo.vae.training.state import (
    Checkpoint,
    Learner,
    Row,
    Settings,
    TrainingState,
    weight_digests,
    weights_of,
)

__all__ = ["History", "fit"]

Data = Tensor | np.ndarray | MapStyle[Any] | DataLoader[Any] | Dataset
_BATCH_SIZE = 100


@dataclass(frozen=True)
class History:
    """What happened in training, as `fit` returns it.

    Attributes:
        table: one row for each epoch, from 1, with `loss` and `validation_loss` (−ELBO per datum,
            in nats; the second is NaN without validation data) and `learning_rate`.
        best_epoch: the epoch whose weights the VAE holds now; 0 for those it came with.
        stopped: `"finished"`, `"early"` (no improvement for `patience` epochs) or `"interrupted"`.
        seed: that repeats the run.
    """

    table: pd.DataFrame
    best_epoch: int
    stopped: str
    seed: int


def fit(
    vae: VAE,
    data: Data,
    validation: Data | None = None,
    *,
    objective: ELBO | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] | PyroOptim = ADAM,
    learning_rate: float | None = None,
    scheduler: Callable[[torch.optim.Optimizer], Any] | PyroOptim | None = PLATEAU,
    epochs: int = 100,
    batch_size: int = _BATCH_SIZE,
    patience: int | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike[str] | Checkpoint | None = None,
    progress: bool = True,
) -> History:
    """Trains the VAE in place and leaves it with the weights of its best epoch.

    Best is the lowest −ELBO of the validation data, or of the training data without any.
    Gradients are of the sum over a batch, as in `pyro.infer.SVI`.

    Args:
        vae: the program; its parameters are stepped.
        data: training data. A tensor or NumPy array of shape `(N, *event)`; a map-style
            `torch.utils.data.Dataset` or a `DataLoader`, whose items are data, or tuples whose first
            entry is one; or a `pyrogeo.datasets.Dataset`, of which the training part is taken. A loader's
            batches and order are its own; see `set_epoch` below.
        validation: held-out data of the same event shape, of any of these kinds; its −ELBO is taken in
            evaluation mode with the same noise every epoch. By default the validation part of a
            `pyrogeo.datasets.Dataset`, and otherwise none.
        objective: a Pyro ELBO, by default `Trace_ELBO()`, or one of `pyrogeo.objectives`. What it
            holds, if it has a `state_dict`, is part of the checkpoint.
        optimizer: called as `optimizer(parameters, lr=learning_rate)`, by default Adam; or one of
            `pyro.optim`, such as `pyro.optim.ClippedAdam({"lr": 1e-3})`, of which one is then made for all
            parameters. One whose step needs a closure, such as LBFGS, is refused.
        scheduler: called as `scheduler(optimizer)`, stepped after each epoch, by default
            `ReduceLROnPlateau(optimizer, factor=0.5, patience=5)` as in the paper; None for none. A scheduler
            of `pyro.optim` brings its optimiser with it, in this place or in the other.
        epochs: at most.
        batch_size: data of each step, by default 100; a last batch of a single datum joins the one before
            it. A loader has its own, and another number beside it is refused.
        learning_rate: at the start; by default 1e-3, or what an optimiser of `pyro.optim` says.
        patience: stop after so many epochs without improvement; None never does.
        seed: of shuffles and noise; None draws one from torch's global generator.
        device: to which the VAE is moved first.
        checkpoint: a file written before the first and after each epoch. If it exists, training
            continues from it, to the same bits as if it had not been interrupted, also to more epochs than
            were asked for at first; other data, parts and settings are refused. Of a loader that is known
            only where `set_epoch`, of the loader, its sampler or its batch sampler, sets the order of an
            epoch; it is called with the epoch, from 1. Without one, continuing warns.
        progress: show a progress bar.

    Returns:
        the history so far, also after Ctrl-C.

    Raises:
        ValueError: for data, settings or a checkpoint that do not fit, before training.
        NonFiniteLossError: when the loss becomes NaN or infinite; the best weights so far are put
            back first.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> vae = standard_vae((5,), 2, hidden=(16,), likelihood="normal")
    >>> history = fit(vae, torch.randn(100, 5), epochs=3, seed=0, progress=False)
    >>> len(history.table), history.stopped
    (3, 'finished')
    """
    objective = Trace_ELBO() if objective is None else objective
    traits = _checked_traits(vae, objective)
    make = makers(optimizer, scheduler, learning_rate)
    epochs, batch_size = whole("epochs", epochs), whole("batch_size", batch_size)
    patience = None if patience is None else whole("patience", patience)
    file = checkpoint if isinstance(checkpoint, Checkpoint) else Checkpoint(checkpoint)
    engine = PlainEngine(device)
    train, held_out = _parts_of(data, validation, batch_size)
    stepper = engine.prepare(vae, make.optimizer)
    rate = float(f"{float(stepper.param_groups[0].get('lr', 0)):.6g}")  # whatever its precision was
    rates = make.scheduler(stepper)
    learner = Learner(
        vae=vae, objective=objective, traits=traits, optimizer=stepper, scheduler=rates
    )
    example = _check_fit(learner, train, held_out)
    seed = file.seed if file.seed is not None and seed is None else fresh_seed(seed)
    settings = Settings(seed, train.batch_size, (train.size, *example.shape[1:]))
    state, keep = _begun(file, learner, settings, train, held_out, epochs, learning_rate=rate)
    loop = _Loop(learner, engine, (train, held_out), seed=seed, state=state, keep=keep)
    stopped = loop.run(epochs, patience, progress)
    return _history(state, stopped, seed)


@dataclass(frozen=True)
class _Loop:
    """Epochs of training and evaluation on batches of both kinds, and what is kept after each."""

    learner: Learner
    engine: Engine
    data: tuple[Batches, Batches | None]
    _: KW_ONLY
    seed: int
    state: TrainingState
    keep: Callable[[TrainingState], None]

    def run(self, epochs: int, patience: int | None, progress: bool) -> str:
        """Leaves the VAE with the best weights; says why it stopped."""
        vae = self.learner.vae
        training = vae.training
        try:
            with (
                self.engine.training(self.learner),
                forked(self.seed, vae.device),
                pyro.get_param_store().scope(),
            ):
                return self._until_stopped(epochs, patience, progress)
        except KeyboardInterrupt:
            return "interrupted"
        finally:
            vae.load_state_dict(self.state.best)
            vae.train(training)

    def _until_stopped(self, epochs: int, patience: int | None, progress: bool) -> str:
        """Epochs until there are enough, or none was better for too long; says which."""
        first = len(self.state.rows) + 1
        bar = tqdm(total=epochs, initial=first - 1, desc="fit", disable=not progress)
        # The caller's no_grad or inference_mode is theirs; training needs gradients.
        with bar, torch.inference_mode(False), torch.enable_grad():
            for epoch in range(first, epochs + 1):
                if patience is not None and epoch - 1 - self.state.best_epoch >= patience:
                    return "early"
                row = self._epoch(epoch)
                self.state.record(row, partial(weights_of, self.learner.vae))
                self.learner.step_scheduler(row.monitored)
                self.keep(self.state)
                shown = {k: f"{v:.4g}" for k, v in row._asdict().items() if not math.isnan(v)}
                bar.set_postfix(shown, refresh=False)
                bar.update()
        return "finished"

    def _epoch(self, epoch: int) -> Row:
        """One pass over the data; the losses before it are those of the row."""
        torch.manual_seed(derived_seed(self.seed, epoch))
        rate = self.learner.optimizer.param_groups[0].get("lr", math.nan)
        loss, held_out = self._train(epoch), math.nan
        if self.data[1] is not None:
            torch.manual_seed(derived_seed(self.seed))
            held_out = self._evaluate(self.data[1])
            if not math.isfinite(held_out):
                raise NonFiniteLossError(held_out, epoch, 0)
        return Row(loss, held_out, rate)

    def _train(self, epoch: int) -> float:
        self.learner.vae.train()
        total, count = 0.0, 0
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encountered NaN|Encountered inf")
            for number, batch in enumerate(self.data[0].shuffled(epoch), 1):
                # Pyro's checks of shapes and supports, where they find something, find it at once.
                with pyro.validation_enabled(epoch == 1 and number == 1):
                    loss = self.engine.step(self.learner, batch)
                if not math.isfinite(loss):
                    raise NonFiniteLossError(loss, epoch, number)
                total, count = total + loss, count + len(batch)
        return total / count if count else math.nan

    def _evaluate(self, data: Batches) -> float:
        losses, count = [], 0
        with self.learner.vae.evaluating(), pyro.validation_enabled(False):
            for batch in data.in_order():
                losses.append(self.engine.loss(self.learner, batch))
                count += len(batch)
        return math.fsum(losses) / count if count else math.nan


def _checked_traits(vae: VAE, objective: Any) -> Traits:
    """The objective's traits, if it is one and goes with the VAE's β."""
    if not isinstance(vae, VAE):
        raise ValueError(f"expected a VAE, got {type(vae)}")
    if isinstance(objective, type):
        raise ValueError(f"objective: expected an instance such as {objective.__name__}()")
    for name in ("loss_and_grads", "loss"):
        if not callable(getattr(objective, name, None)):
            raise ValueError(
                f"objective: expected a Pyro ELBO, got {type(objective)}, which has no {name}; take Trace_ELBO() "
                "or one of pyrogeo.objectives"
            )
    traits = traits_of(objective)
    if not traits.uses_beta and vae.beta != 1:
        name = type(objective).__name__
        raise ValueError(f"objective: {name} has no β: expected beta=1, got {vae.beta}")
    return traits


def _parts_of(data: Any, validation: Any, batch_size: int) -> tuple[Batches, Batches | None]:
    """Batches of the training data, and of validation data if there are any."""
    if isinstance(data, Dataset):
        validation = data.validation if validation is None else validation
        data = data.train
    if isinstance(validation, Dataset):
        validation = validation.validation
    train = batches_of(data, batch_size)
    if batch_size not in (_BATCH_SIZE, train.batch_size):
        raise ValueError(
            f"batch_size: the loader makes the batches, of {train.batch_size}; got {batch_size} beside it"
        )
    if validation is None:
        return train, None
    return train, batches_of(validation, batch_size, "validation data")


def _check_fit(learner: Learner, train: Batches, held_out: Batches | None) -> Tensor:
    """Whether parts, objective and data go together; returns a batch, of shape `(B, *event)`."""
    example = check_batches(learner.vae, train)
    if held_out is not None:
        check_batches(learner.vae, held_out, "validation data")
    if learner.traits.needs_entropy:
        check_entropy(learner.vae, example, learner.objective)
    check_objective(learner.vae, example, learner.objective)
    return example


def _begun(
    file: Checkpoint,
    learner: Learner,
    settings: Settings,
    train: Batches,
    held_out: Batches | None,
    epochs: int,
    **rest: Any,
) -> tuple[TrainingState, Callable[[TrainingState], None]]:
    """The state that training goes on from, new or out of the file, and what keeps it after an epoch."""
    asked: dict[str, Any] = {}
    start: dict[str, str] = {}
    if file.path is not None:
        asked, start = asked_of(learner, train, held_out, **rest), weight_digests(learner.vae)
    state = file.resume(learner, settings, asked, epochs)
    keep = partial(file.write, learner, settings, asked, start)
    if state is None:
        state = TrainingState(weights_of(learner.vae))
        keep(state)
    elif not train.repeats:
        _warn_of_another_order()
    return state, keep


def _warn_of_another_order() -> None:
    warnings.warn(
        "the order of this loader's data is its own, so that training that continues from a checkpoint may "
        "differ from one in a single run; a sampler with set_epoch repeats",
        PyrogeoWarning,
        stacklevel=4,
    )


def _history(state: TrainingState, stopped: str, seed: int) -> History:
    table = pd.DataFrame(state.rows, columns=list(Row._fields))
    table.index = pd.RangeIndex(1, len(table) + 1, name="epoch")
    return History(table, state.best_epoch, stopped, seed)

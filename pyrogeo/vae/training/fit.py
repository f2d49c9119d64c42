"""Training: stochastic variational inference with a Pyro ELBO and a torch optimiser.

Every epoch draws its shuffle and its noise from (seed, epoch). Nothing random outlives an epoch, so
a checkpoint needs no generator state, and an interrupted run continues to the same bits.
"""

import math
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import pandas as pd
import pyro
import torch
from pyro.infer import ELBO, RenyiELBO, Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau
from tqdm.auto import tqdm

from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo._tensors import read_state, write_state
from pyrogeo.errors import NonFiniteLossError
from pyrogeo.vae.model import VAE
from pyrogeo.vae.training.checks import check_entropy, checked_data

__all__ = ["History", "fit"]

_CHECKPOINT = "a checkpoint of pyrogeo.fit"


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


# They ask whether there are parameters, and not for each.
_ASK_WHETHER = (Trace_ELBO, TraceMeanField_ELBO, RenyiELBO)
_adam = partial(torch.optim.Adam, fused=True)  # one kernel for all parameters
_plateau = partial(ReduceLROnPlateau, factor=0.5, patience=5)


def fit(
    vae: VAE,
    data: Tensor,
    validation: Tensor | None = None,
    *,
    objective: ELBO | None = None,
    optimizer: Callable[..., torch.optim.Optimizer] = _adam,
    learning_rate: float = 1e-3,
    scheduler: Callable[[torch.optim.Optimizer], Any] | None = _plateau,
    epochs: int = 100,
    batch_size: int = 100,
    patience: int | None = None,
    seed: int | None = None,
    device: torch.device | str | None = None,
    checkpoint: str | os.PathLike | None = None,
    progress: bool = True,
) -> History:
    """Trains the VAE in place and leaves it with the weights of its best epoch.

    Best is the lowest −ELBO of the validation data, or of the training data without any.
    Gradients are of the sum over a batch, as in `pyro.infer.SVI`.

    Args:
        vae: the program; its parameters are stepped.
        data: training data of shape `(N, *event)`.
        validation: held-out data of the same event shape; its −ELBO is taken in evaluation mode
            with the same noise every epoch.
        objective: a Pyro ELBO, by default `Trace_ELBO()`, or one of `pyrogeo.objectives`. What it
            holds, if it has a `state_dict`, is part of the checkpoint.
        optimizer: called as `optimizer(parameters, lr=learning_rate)`, by default Adam.
        scheduler: called as `scheduler(optimizer)`, stepped after each epoch, by default
            `ReduceLROnPlateau(optimizer, factor=0.5, patience=5)` as in the paper; None for none.
        epochs: at most.
        batch_size: data of each step.
        learning_rate: at the start.
        patience: stop after so many epochs without improvement; None never does.
        seed: of shuffles and noise; None draws one from torch's global generator.
        device: to which the VAE is moved first.
        checkpoint: a file written before the first and after each epoch. If it exists, training
            continues from it, to the same bits as if it had not been interrupted.
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
    _check_settings(vae, objective, optimizer, scheduler)
    _check_numbers(epochs, batch_size, patience, learning_rate)
    if device is not None:
        _move(vae, device)
    data = checked_data(vae, data)
    validation = None if validation is None else checked_data(vae, validation, "validation data")
    objective = Trace_ELBO() if objective is None else objective
    if getattr(objective, "needs_entropy", True):
        check_entropy(vae, data, objective)
    path = None if checkpoint is None else _writable(checkpoint)
    saved = _read(path)
    seed = saved["settings"]["seed"] if saved and seed is None else fresh_seed(seed)
    stepper = optimizer([p for p in vae.parameters() if p.requires_grad], lr=learning_rate)
    parts = {"vae": vae, "optimizer": stepper}
    parts |= {"scheduler": scheduler(stepper)} if scheduler else {}
    parts |= {"objective": objective} if hasattr(objective, "state_dict") else {}
    settings = {"seed": seed, "batch_size": batch_size, "data": list(data.shape)}
    state = {"rows": [], "best": _weights(vae), "best_epoch": 0}
    if saved:
        state = _resume(path, saved, parts, settings)
    _write(path, state, parts, settings)

    def one_epoch(epoch: int) -> dict[str, float]:
        row = _epoch(vae, objective, stepper, data, validation, batch_size, seed, epoch)
        _record(state, row, parts)
        _write(path, state, parts, settings)
        return row

    training = vae.training
    vae.stepped_elsewhere = not _reads_parameters(objective)
    try:
        with forked(seed, vae.device), pyro.get_param_store().scope():
            stopped = _until_stopped(one_epoch, state, epochs, patience, progress)
    except KeyboardInterrupt:
        stopped = "interrupted"
    finally:
        vae.stepped_elsewhere = False
        vae.load_state_dict(state["best"])
        vae.train(training)
    table = pd.DataFrame(state["rows"], columns=["loss", "validation_loss", "learning_rate"])
    table.index = pd.RangeIndex(1, len(table) + 1, name="epoch")
    return History(table, state["best_epoch"], stopped, seed)


def _until_stopped(
    one_epoch: Callable[[int], dict[str, float]],
    state: dict,
    epochs: int,
    patience: int | None,
    progress: bool,
) -> str:
    """Epochs until there are enough, or none was better for too long; says which."""
    first = len(state["rows"]) + 1
    bar = tqdm(total=epochs, initial=first - 1, desc="fit", disable=not progress)
    # The caller's no_grad or inference_mode is theirs; training needs gradients.
    with bar, torch.inference_mode(False), torch.enable_grad():
        for epoch in range(first, epochs + 1):
            if patience is not None and epoch - 1 - state["best_epoch"] >= patience:
                return "early"
            row = one_epoch(epoch)
            shown = {k: f"{v:.4g}" for k, v in row.items() if not math.isnan(v)}
            bar.set_postfix(shown, refresh=False)
            bar.update()
    return "finished"


def _check_settings(vae: VAE, objective: Any, optimizer: Any, scheduler: Any) -> None:
    if not isinstance(vae, VAE):
        raise ValueError(f"expected a VAE, got {type(vae)}")
    if isinstance(objective, type):
        raise ValueError(f"objective: expected an instance such as {objective.__name__}()")
    if objective is not None and not hasattr(objective, "loss_and_grads"):
        raise ValueError(f"objective: expected a Pyro ELBO, got {type(objective)}")
    uses_beta = getattr(objective, "uses_beta", not isinstance(objective, RenyiELBO))
    if not uses_beta and vae.beta != 1:
        name = type(objective).__name__
        raise ValueError(f"objective: {name} has no β: expected beta=1, got {vae.beta}")
    for name, value in {"optimizer": optimizer, "scheduler": scheduler}.items():
        if not (callable(value) or (value is None and name == "scheduler")):
            raise ValueError(f"{name}: expected a class or function that makes one, got {value!r}")


def _check_numbers(
    epochs: int, batch_size: int, patience: int | None, learning_rate: float
) -> None:
    for name, value in {"epochs": epochs, "batch_size": batch_size, "patience": patience}.items():
        if value is None and name == "patience":
            continue
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")


def _reads_parameters(objective: Any) -> bool:
    return getattr(objective, "reads_parameters", type(objective) not in _ASK_WHETHER)


def _move(vae: VAE, device: torch.device | str) -> None:
    try:
        vae.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(f"device: {device!r} cannot be used here: {error}") from error


def _epoch(vae, objective, stepper, data, validation, batch_size, seed, epoch) -> dict[str, float]:
    """One pass over the data; the losses before it are those of the row."""
    torch.manual_seed(derived_seed(seed, epoch))
    rate = stepper.param_groups[0]["lr"]
    loss = _train(vae, objective, stepper, data, batch_size, epoch)
    held_out = math.nan
    if validation is not None:
        torch.manual_seed(derived_seed(seed))
        held_out = _evaluate(vae, objective, validation)
        if not math.isfinite(held_out):
            raise NonFiniteLossError(held_out, epoch, 0)
    return {"loss": loss, "validation_loss": held_out, "learning_rate": rate}


def _train(vae: VAE, objective: ELBO, stepper, data: Tensor, batch_size: int, epoch: int) -> float:
    vae.train()
    total = 0.0
    batches = _shuffled(len(data), batch_size)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered NaN|Encountered inf")
        for number, index in enumerate(batches, 1):
            # Pyro's checks of shapes and supports, where they find something, find it at once.
            with pyro.validation_enabled(epoch == 1 and number == 1):
                stepper.zero_grad()
                batch = data[index].to(vae.device)
                loss = objective.loss_and_grads(vae.model, vae.guide, batch)
            if not math.isfinite(loss):
                raise NonFiniteLossError(loss, epoch, number)
            stepper.step()
            total += loss
    return total / len(data)


def _shuffled(n: int, batch_size: int) -> list[Tensor]:
    batches = list(torch.randperm(n).split(batch_size))
    if len(batches) > 1 and len(batches[-1]) == 1:  # batch norm cannot take a single datum
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _evaluate(vae: VAE, objective: ELBO, data: Tensor) -> float:
    with vae.evaluating(), pyro.validation_enabled(False):
        losses = [
            objective.loss(vae.model, vae.guide, batch.to(vae.device))
            for batch in data.tensor_split(math.ceil(len(data) / 1024))  # none of a single datum
        ]
    return math.fsum(losses) / len(data)


def _record(state: dict, row: dict[str, float], parts: dict) -> None:
    """Appends the row, keeps the weights if they are the best, and steps the scheduler."""
    monitored = [_monitored(r) for r in state["rows"]]
    state["rows"].append(row)
    loss = _monitored(row)
    if loss < min(monitored, default=math.inf):
        state["best"], state["best_epoch"] = _weights(parts["vae"]), len(state["rows"])
    scheduler = parts.get("scheduler")
    if scheduler is not None:
        scheduler.step(*([loss] if isinstance(scheduler, ReduceLROnPlateau) else []))


def _monitored(row: dict[str, float]) -> float:
    return row["loss"] if math.isnan(row["validation_loss"]) else row["validation_loss"]


def _weights(vae: VAE) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in vae.state_dict().items()}


def _writable(path: str | os.PathLike) -> Path:
    path = Path(path)
    folder = path.parent
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise ValueError(f"checkpoint: {path} is not a file in an existing, writable folder")
    return path


def _write(path: Path | None, state: dict, parts: dict, settings: dict) -> None:
    if path is not None:
        states = {name: part.state_dict() for name, part in parts.items()}
        write_state(path, {"settings": settings, "state": state, "parts": states}, _CHECKPOINT)


def _read(path: Path | None) -> dict | None:
    return None if path is None or not path.exists() else read_state(path, _CHECKPOINT)


def _resume(path: Path | None, saved: dict, parts: dict, settings: dict) -> dict:
    if saved["settings"] != settings or saved["parts"].keys() != parts.keys():
        raise ValueError(
            f"checkpoint: {path} belongs to another run: it has {saved['settings']} with "
            f"{sorted(saved['parts'])}, this one has {settings} with {sorted(parts)}"
        )
    for name, part in parts.items():
        try:
            part.load_state_dict(saved["parts"][name])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ValueError(f"checkpoint: {path} does not fit this {name}: {error}") from error
    return saved["state"]

"""What a training run was asked for, as its checkpoint keeps it: data, parts and settings.

When to stop is not among them: the number of epochs may grow, and so may the patience.
"""

from typing import Any

from torch.utils.data import SequentialSampler

from pyrogeo._asked import words_of
from pyrogeo._random import forked
from pyrogeo._tensors import digest_of
from pyrogeo.vae.training.batches import Batches, LoaderBatches, TensorBatches
from pyrogeo.vae.training.state import Learner

__all__ = ["asked_of"]

#: in the state of optimisers and schedulers; it is a setting by itself
_OF_THE_RATE = ("lr", "initial_lr", "base_lrs", "_last_lr")


def asked_of(
    learner: Learner, train: Batches, held_out: Batches | None, **settings: Any
) -> dict[str, Any]:
    """What this training is, in JSON's words.

    Args:
        learner: as it was made, before it takes the state of a checkpoint.
        train: training data; those in memory are told by all of their numbers, others by their first batch.
        held_out: validation data.
        settings: others that the outcome depends on, by the names that the user gave them.
    """
    return {
        **words_of(settings),
        "data": _of_batches(learner, train),
        "validation": None if held_out is None else _of_batches(learner, held_out),
        "vae": {"parts": repr(learner.vae), "beta": learner.vae.beta},
        "objective": _of_objective(learner.objective),
        "optimizer": _of_optimizer(learner.optimizer),
        "scheduler": _of_scheduler(learner.scheduler),
    }


def _of_batches(learner: Learner, batches: Batches) -> str:
    if isinstance(batches, TensorBatches):
        return digest_of({"all": batches.x})
    readings = set()
    for _ in range(2):  # what is made anew, or shuffled, at each reading tells nothing
        with forked(0, learner.vae.device):
            readings.add(digest_of({"first": batches.first()}))
    order = batches.repeats or (
        isinstance(batches, LoaderBatches) and isinstance(batches.loader.sampler, SequentialSampler)
    )
    return readings.pop() if order and len(readings) == 1 else f"{batches.size} data"


def _of_objective(objective: Any) -> Any:
    """Its class, and the settings of one that is known to keep them apart from what it counts."""
    if type(objective).__module__.split(".")[0] not in ("pyro", "pyrogeo"):
        return {"is": type(objective).__qualname__}
    own = {k: v for k, v in vars(objective).items() if not k.startswith("_")}
    own.pop("max_plate_nesting", None)  # which Pyro finds out by itself
    named = {k: _of_optimizer(v) if hasattr(v, "param_groups") else v for k, v in own.items()}
    return {"is": type(objective).__qualname__, **words_of(named)}


def _of_optimizer(optimizer: Any) -> Any:
    defaults = getattr(optimizer, "defaults", {})
    plain = {k: v for k, v in defaults.items() if k not in _OF_THE_RATE}
    return {"is": type(optimizer).__qualname__, **words_of(plain)}


def _of_scheduler(scheduler: Any) -> Any:
    """Its state when new, in which its settings are; and its functions, which no state holds."""
    if scheduler is None:
        return None
    state = scheduler.state_dict() if hasattr(scheduler, "state_dict") else {}
    state = {k: v for k, v in state.items() if k not in _OF_THE_RATE}
    functions = getattr(scheduler, "lr_lambdas", None)
    return {"is": type(scheduler).__qualname__, **words_of({**state, "functions": functions})}

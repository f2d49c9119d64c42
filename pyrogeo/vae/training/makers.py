"""What makes the optimiser and the scheduler of `fit`: torch's, or what Pyro wraps around torch's.

Pyro's optimisers hold a maker, its arguments and one optimiser for each parameter, which they make when they
first see it. Here the maker makes one optimiser of all parameters: the same steps, and faster. What cannot be
stepped so is refused before any work, with what to write instead.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

import pyro.optim
import torch
from pyro.optim import HorovodOptimizer, PyroLRScheduler, PyroOptim
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim.lr_scheduler import ReduceLROnPlateau

from pyrogeo._checks import in_one_line, positive

__all__ = ["ADAM", "PLATEAU", "Makers", "makers"]

ADAM = partial(torch.optim.Adam, fused=True)  # one kernel for all parameters
PLATEAU = partial(ReduceLROnPlateau, factor=0.5, patience=5)
_LEARNING_RATE = 1e-3
_OF_TORCH = "optimizer=torch.optim.Adam, learning_rate=1e-3"
_SCHEDULER = "scheduler=partial(torch.optim.lr_scheduler.StepLR, step_size=30)"
_PARTS = ("param_groups", "zero_grad", "step", "state_dict", "load_state_dict")


class Makers(NamedTuple):
    """What `fit` calls.

    Attributes:
        optimizer: from parameters to a `torch.optim.Optimizer` that can be stepped.
        scheduler: from an optimiser to what is stepped after each epoch, or to None.
    """

    optimizer: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    scheduler: Callable[[torch.optim.Optimizer], Any]


def makers(optimizer: Any, scheduler: Any, learning_rate: float | None = None) -> Makers:
    """The two makers of what a user handed over.

    Args:
        optimizer: a class or function, called as `optimizer(parameters, lr=learning_rate)`; or one of
            `pyro.optim`, made or not, whose `lr` and clipping are kept. A Pyro scheduler brings its optimiser
            with it, and may stand here or there.
        scheduler: a class or function, called as `scheduler(optimizer)`, a Pyro scheduler, or None.
        learning_rate: by default 1e-3, or what Pyro's optimiser says.

    Raises:
        ValueError: for anything else, at once or when they are called, in one line that says what to write.

    >>> weight = nn.Parameter(torch.zeros(2))
    >>> made = makers(pyro.optim.ClippedAdam({"lr": 0.1}), None).optimizer([weight])
    >>> type(made).__name__, made.param_groups[0]["lr"]
    ('ClippedAdam', 0.1)
    """
    optimizer, scheduler = _unwrapped(optimizer), _unwrapped(scheduler)
    if isinstance(scheduler, PyroOptim):
        if not isinstance(scheduler, PyroLRScheduler):
            raise ValueError(
                f"scheduler: {_name_of(scheduler)} is an optimiser; expected what is called as "
                f"scheduler(optimizer), such as {_SCHEDULER}"
            )
        if optimizer is not ADAM:
            raise ValueError(
                f"optimizer: {_name_of(optimizer)} beside scheduler: {_name_of(scheduler)}, which has an "
                "optimiser of its own; give one of them"
            )
        optimizer, scheduler = scheduler, PLATEAU
    if isinstance(optimizer, PyroLRScheduler):
        if scheduler is not PLATEAU:
            raise ValueError(
                f"scheduler: {_name_of(scheduler)} beside optimizer: {_name_of(optimizer)}, which is a scheduler "
                "itself; give one of them"
            )
        scheduler = partial(optimizer.pt_scheduler_constructor, **optimizer.kwargs)
    if isinstance(optimizer, PyroOptim):
        optimizer = _of_pyro(optimizer, learning_rate)
    else:
        rate = _LEARNING_RATE if learning_rate is None else learning_rate
        rate = positive("learning_rate", rate)
        _check_maker("optimizer", optimizer, "optimizer(parameters, lr=...)", _OF_TORCH)
        optimizer = partial(optimizer, lr=rate)
    if scheduler is not None:
        _check_maker("scheduler", scheduler, "scheduler(optimizer)", _SCHEDULER)
    return Makers(partial(_optimizer, optimizer), partial(_scheduler, scheduler))


def _unwrapped(maker: Any) -> Any:
    """`pyro.optim.Adam` itself, which is a function of a dictionary, as the class that it wraps."""
    if not callable(maker) or isinstance(maker, (type, partial, PyroOptim)):
        return maker
    name = getattr(maker, "__name__", None)
    known: Any = getattr(pyro.optim, name, None) if name else None
    if known is not maker:
        return maker
    # Any arguments do: nothing is made before a parameter is seen.
    try:
        made = maker({})
    except KeyError:  # a scheduler, which takes its optimiser out of the dictionary
        made = maker({"optimizer": torch.optim.Adam, "optim_args": {}})
        return made.pt_scheduler_constructor
    return made.pt_optim_constructor


def _of_pyro(wrapper: PyroOptim, learning_rate: float | None) -> Callable[..., Any]:
    """The maker within one of Pyro's optimisers, with its own arguments."""
    name, arguments, clipping = _name_of(wrapper), wrapper.pt_optim_args, wrapper.pt_clip_args
    if isinstance(wrapper, HorovodOptimizer):
        raise ValueError(f"optimizer: {name} reads Pyro's param store; write {_OF_TORCH}")
    if not isinstance(arguments, dict) or not isinstance(clipping, dict):
        raise ValueError(
            f"optimizer: {name} has a function of each parameter's name for its arguments; write "
            "optimizer=lambda parameters, lr: ..., with torch's groups of parameters"
        )
    if wrapper.optim_objs or wrapper._state_waiting_to_be_consumed:
        raise ValueError(
            f"optimizer: {name} was used or loaded already, and its state is of another training; make a new "
            "one, or continue with checkpoint="
        )
    own = arguments.get("lr")
    if own is not None and learning_rate is not None and float(own) != float(learning_rate):
        raise ValueError(f"learning_rate: {learning_rate} beside {name} with lr={own}; give one")
    rate = {} if learning_rate is None else {"lr": positive("learning_rate", learning_rate)}
    constructor: Any = wrapper.pt_optim_constructor  # a class or function
    maker = partial(constructor, **{**arguments, **rate})
    return partial(_clipped, maker, clipping) if clipping else maker


def _clipped(maker: Callable[..., Any], clipping: dict[str, float], parameters: Any) -> Any:
    """An optimiser that clips the gradient of each parameter on its own first, as Pyro's do."""
    made = maker(parameters)

    def clip(stepped: torch.optim.Optimizer, *_: Any) -> None:
        parameters = (p for group in stepped.param_groups for p in group["params"])
        for parameter in (p for p in parameters if p.grad is not None):
            if clipping.get("clip_norm") is not None:
                clip_grad_norm_(parameter, clipping["clip_norm"])
            if clipping.get("clip_value") is not None:
                clip_grad_value_(parameter, clipping["clip_value"])

    made.register_step_pre_hook(clip)
    return made


def _check_maker(what: str, maker: Any, call: str, instead: str) -> None:
    """Refuses what is no maker, and so what was made already, for other parameters."""
    if not callable(maker):
        got = f"an instance of {_name_of(maker)}" if hasattr(maker, "step") else repr(maker)
        raise ValueError(
            f"{what}: expected a class or function that makes one, called as {call}, such as {instead}, got {got}"
        )


def _optimizer(maker: Callable[..., Any], parameters: Iterable[nn.Parameter]) -> Any:
    parameters, name = list(parameters), _name_of(maker)
    if not parameters:
        raise ValueError("the VAE has no parameters that require gradients: nothing to train")
    made = _made("optimizer", maker, "parameters, lr=...", parameters)
    if missing := [part for part in _PARTS if not hasattr(made, part)]:
        raise ValueError(
            f"optimizer: {name} made {type(made)}, which has no {missing[0]}; expected a torch.optim.Optimizer"
        )
    _check_step(made)
    return made


def _check_step(made: Any) -> None:
    """Tries a step without gradients, which moves nothing."""
    name = type(made).__name__
    if isinstance(made, torch.optim.SparseAdam):
        raise ValueError(f"optimizer: {name} takes sparse gradients only; write {_OF_TORCH}")
    made.zero_grad(set_to_none=True)
    settings = [dict(group) for group in made.param_groups]  # which ClippedAdam lowers at each step
    try:
        made.step()
    except Exception as error:  # LBFGS wants a closure that computes the loss anew
        raise ValueError(
            f"optimizer: {name} cannot be stepped by optimizer.step(): {in_one_line(error)}; write {_OF_TORCH}"
        ) from error
    for group, before in zip(made.param_groups, settings, strict=True):
        group.update(before)


def _scheduler(maker: Callable[..., Any] | None, optimizer: torch.optim.Optimizer) -> Any:
    if maker is None or (maker is PLATEAU and "lr" not in optimizer.param_groups[0]):
        return None
    made = _made("scheduler", maker, "optimizer", optimizer)
    if missing := [n for n in ("step", "state_dict", "load_state_dict") if not hasattr(made, n)]:
        raise ValueError(
            f"scheduler: {_name_of(maker)} made {type(made)}, which has no {missing[0]}; expected one of "
            "torch.optim.lr_scheduler"
        )
    return made


def _made(what: str, maker: Callable[..., Any], call: str, argument: Any) -> Any:
    """What a maker makes; whatever it raises becomes a line that names it."""
    try:
        return maker(argument)
    except Exception as error:
        name, instead = _name_of(maker), _OF_TORCH if what == "optimizer" else _SCHEDULER
        raise ValueError(
            f"{what}: {name} is not called as {name}({call}): {in_one_line(error)}; "
            f"functools.partial({name}, ...) gives it other arguments, or take {instead}"
        ) from error


def _name_of(thing: Any) -> str:
    """As the user wrote it, as far as that can be told."""
    if isinstance(thing, partial):
        return _name_of(thing.args[0] if thing.func is _clipped else thing.func)
    if isinstance(thing, PyroLRScheduler):
        return f"pyro.optim.{_name_of(thing.pt_scheduler_constructor)}"
    if type(thing) is PyroOptim:
        return f"pyro.optim.{_name_of(thing.pt_optim_constructor)}"
    return getattr(thing, "__name__", type(thing).__name__)

"""What `pyrogeo.sample` asks of a kernel, and what it reads of one that moves many chains at once.

A kernel is any `MCMCKernel` of Pyro that is called as `kernel(potential_fn=...)`. One that says
`batched = True` gets all starts as one tensor of shape `(C, d)`, and tells of its chains itself what is
read off the others from outside: see `BatchedKernel`. `BatchHMC` is the example.
"""

import inspect
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor

from pyrogeo._checks import in_one_line, positive, whole

__all__ = ["BatchedKernel", "KernelFactory", "check_statistics", "is_batched", "made_kernel"]

KernelFactory = Callable[..., Any]

_INSTEAD = "take NUTS, HMC, partial(HMC, num_steps=10) or BatchHMC"
_STATISTICS = ("kinetic", "diverging", "acceptance_rate")
_OF_PYRO = ("initial_params", "setup", "sample", "diagnostics", "logging", "cleanup")


class BatchedKernel(Protocol):
    """A kernel of C chains, called as `kernel(potential_fn=...)`.

    Attributes:
        batched: True.
        step_size: the present one, of all chains.
        num_steps: gradient evaluations of a transition.
        statistics: of the last transition, tensors of shape `(C,)`, of which any may be missing: `kinetic`
            (energy of the fresh momentum), `diverging`, `acceptance_rate`. It may be set by the first
            transition.
        initial_params: set before `setup`: `{"z": z}` with z of shape `(C, d)`.

    A kernel may also say, by an attribute `jumps`, whether it carries chains between modes; the verdict's
    words go by it.

    >>> import torch
    >>> class Walk:
    ...     batched, step_size, num_steps, statistics = True, 0.1, 0, {}
    ...     initial_params = None
    ...     def __init__(self, potential_fn): ...
    ...     def setup(self, warmup_steps): ...
    ...     def sample(self, params):
    ...         return {"z": params["z"] + self.step_size * torch.randn_like(params["z"])}
    ...     def diagnostics(self): return {}
    ...     logging = cleanup = diagnostics
    >>> made_kernel(Walk, len).batched
    True
    """

    @property
    def batched(self) -> bool: ...
    @property
    def step_size(self) -> float: ...
    @property
    def num_steps(self) -> int: ...
    @property
    def statistics(self) -> Mapping[str, Tensor]: ...
    @property
    def initial_params(self) -> Mapping[str, Tensor] | None: ...
    @initial_params.setter
    def initial_params(self, params: dict[str, Tensor]) -> None: ...

    def setup(self, warmup_steps: int) -> None:
        """Before the first transition, and after the starts are set."""

    def sample(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """One transition of every chain, from and to `{"z": (C, d)}`."""

    def diagnostics(self) -> Mapping[str, Any]:
        """What Pyro keeps after a run; may be empty."""

    def logging(self) -> OrderedDict[str, str]:
        """What Pyro's own progress bar shows; may be empty."""

    def cleanup(self) -> None:
        """After the last transition."""


def made_kernel(kernel: KernelFactory, potential: Callable[..., Any]) -> Any:
    """One kernel of a factory, to see that it is one.

    Args:
        kernel: called as `kernel(potential_fn=potential)`.
        potential: from `{"z": z}` to −log density.

    Raises:
        ValueError: for what is not called so, or is no kernel then.
    """
    name = _name_of(kernel)
    if not callable(kernel) or isinstance(kernel, MCMCKernel):
        got = f"an instance of {name}" if isinstance(kernel, MCMCKernel) else f"{type(kernel)}"
        raise ValueError(
            f"kernel: expected a class or function that is called as kernel(potential_fn=...), such "
            f"as NUTS or partial(HMC, num_steps=10), got {got}"
        )
    if isinstance(getattr(kernel, "func", kernel), type) and not _takes_a_potential(kernel):
        raise ValueError(
            f"kernel: {name} is not called as kernel(potential_fn=...); {_INSTEAD}, or a function that makes one"
        )
    try:
        made = kernel(potential_fn=potential)
    except Exception as error:
        trace = error.__traceback__
        own = not isinstance(error, TypeError) or (trace is not None and trace.tb_next is not None)
        how = "raised when called" if own else "is not called"  # its own code, or its signature
        raise ValueError(
            f"kernel: {name} {how} as kernel(potential_fn=...): {in_one_line(error)}"
        ) from error
    for part in _OF_PYRO:
        if not hasattr(made, part):
            raise ValueError(
                f"kernel: {type(made)} is not a Pyro MCMCKernel, it has no {part}; {_INSTEAD}"
            )
    if is_batched(made):
        _check_batched(made)
    return made


def _name_of(kernel: Any) -> str:
    kernel = getattr(kernel, "func", kernel)  # of a partial
    return getattr(kernel, "__name__", type(kernel).__name__)


def _takes_a_potential(kernel: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(kernel).parameters.values()
    except (TypeError, ValueError):  # a class that does not tell
        return True
    return any(p.name == "potential_fn" or p.kind is p.VAR_KEYWORD for p in parameters)


def is_batched(kernel: Any) -> bool:
    """Whether a kernel moves all chains at once."""
    return bool(getattr(kernel, "batched", False))


def check_statistics(kernel: BatchedKernel, chains: int) -> None:
    """Holds what a batched kernel tells of its first transition against the protocol.

    Raises:
        ValueError: for statistics that are missing, of another name, or not one for each chain.
    """
    name, statistics = type(kernel).__name__, getattr(kernel, "statistics", None)
    if not isinstance(statistics, Mapping) or not statistics.keys() <= set(_STATISTICS):
        raise ValueError(
            f"kernel: {name}.statistics must hold some of {', '.join(_STATISTICS)} after a transition, got "
            f"{statistics!r}"
        )
    for key, value in statistics.items():
        if not torch.is_tensor(value) or value.shape != (chains,):
            got = tuple(value.shape) if torch.is_tensor(value) else type(value)
            raise ValueError(
                f"kernel: {name}.statistics[{key!r}]: expected a tensor of shape ({chains},), got {got}"
            )


def _check_batched(made: Any) -> None:
    name = type(made).__name__
    for attribute in ("step_size", "num_steps"):
        if not hasattr(made, attribute):
            raise ValueError(f"kernel: {name} is batched and needs the attribute {attribute}")
    positive(f"kernel: {name}.step_size", made.step_size)
    whole(f"kernel: {name}.num_steps", made.num_steps, 0)

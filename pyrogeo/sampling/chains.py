"""One chain of one of Pyro's kernels, with what the kernels do not keep.

Every chain is its own `pyro.infer.MCMC(num_chains=1)`, with a seed of its own and on one thread, so that
it comes out the same wherever it is run. Which engine runs it, `pyrogeo.sampling.engines` knows.
"""

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from pyro.infer import HMC, MCMC, NUTS
from torch import Tensor

from pyrogeo._random import forked
from pyrogeo._threads import one_thread, threads_for
from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.sampling.kernels.protocol import KernelFactory, check_statistics, is_batched

__all__ = ["Chain", "Draw", "Emit", "run_chain"]


class Chain(NamedTuple):
    """All that one chain needs; it can be sent to another process."""

    potential: Callable[[dict[str, Tensor]], Tensor]
    kernel: KernelFactory
    num_samples: int
    warmup_steps: int
    start: Tensor
    seed: int


class Draw(NamedTuple):
    """What is kept of one draw; `kinetic` is that of the fresh momentum."""

    z: np.ndarray
    kinetic: float
    diverging: bool
    acceptance_rate: float
    step_size: float
    n_steps: int
    tree_depth: float


#: called with a chain's number, whether it warms up, and what came of a transition
Emit = Callable[[int, bool, Draw], None]


def run_chain(number: int, chain: Chain, emit: Emit) -> None:
    """Runs a chain, and calls `emit(number, warmup, draw)` after every transition."""
    plain = chain.kernel(potential_fn=chain.potential)
    if is_batched(plain):
        _run(chain, plain, partial(_batched_hook, emit))
        return
    counted = _Counted(chain.potential)
    kernel = chain.kernel(potential_fn=counted)
    kinetic = _instrument(kernel, counted)
    if isinstance(kernel, HMC):
        # Pyro truncates length/size, so that 0.45/0.03 makes 14 steps and not 15.
        kernel.trajectory_length *= 1 + 1e-9
    seen = {"divergences": 0, "acceptance": 0.0}

    def hook(kernel: Any, params: dict[str, Tensor], stage: str, i: int) -> None:
        divergences = len(getattr(kernel, "_divergences", ()))
        before = 0.0 if i == 0 else seen["acceptance"]
        after = (i + 1) * getattr(kernel, "_mean_accept_prob", math.nan)  # Pyro keeps the mean only
        draw = Draw(
            z=params["z"].detach().cpu().numpy(),
            kinetic=kinetic[0] if kinetic else math.nan,
            diverging=divergences > seen["divergences"],
            acceptance_rate=float(np.clip(after - before, 0, 1)),
            step_size=float(getattr(kernel, "step_size", math.nan)),
            n_steps=counted.calls,
            tree_depth=counted.calls.bit_length() if isinstance(kernel, NUTS) else math.nan,
        )
        seen.update(divergences=divergences, acceptance=after)
        emit(number, stage.startswith("Warmup"), draw)

    _run(chain, kernel, hook)


def _run(chain: Chain, kernel: Any, hook: Callable[..., None]) -> None:
    mcmc = MCMC(
        kernel,
        chain.num_samples,
        chain.warmup_steps,
        initial_params={"z": chain.start},
        num_chains=1,
        hook_fn=hook,
        disable_progbar=True,
        disable_validation=True,
        transforms={},  # or Pyro looks for a model
    )
    with (
        _threads(chain),
        forked(chain.seed, chain.start.device),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        mcmc.run()


def _threads(chain: Chain) -> AbstractContextManager[None]:
    """A single chain's bits do not depend on the number of threads, as it is one."""
    if chain.start.dim() == 1:
        return one_thread()
    metric = getattr(chain.potential, "metric", None)
    return nullcontext() if metric is None else threads_for(len(chain.start), metric)


def _batched_hook(emit: Emit, kernel: Any, params: dict[str, Tensor], stage: str, i: int) -> None:
    if i == 0:
        check_statistics(kernel, len(params["z"]))
    kept = {name: value.cpu().numpy() for name, value in kernel.statistics.items()}
    draw = Draw(
        z=params["z"].detach().cpu().numpy(),
        kinetic=kept.get("kinetic", math.nan),
        diverging=kept.get("diverging", False),
        acceptance_rate=kept.get("acceptance_rate", math.nan),
        step_size=float(kernel.step_size),
        n_steps=kernel.num_steps,
        tree_depth=math.nan,
    )
    emit(0, stage.startswith("Warmup"), draw)


class _Counted:
    """A potential that counts its gradient evaluations."""

    def __init__(self, potential: Callable[[dict[str, Tensor]], Tensor]):
        self.potential, self.calls = potential, 0

    def __call__(self, params: dict[str, Tensor]) -> Tensor:
        self.calls += params["z"].requires_grad
        try:
            return self.potential(params)
        except (
            NotPositiveDefiniteError
        ):  # a trial step too far out; to a kernel, NaN is a divergence
            nowhere: Tensor = (params["z"] * math.nan).sum()
            return nowhere


def _instrument(kernel: Any, counted: _Counted) -> list[float]:
    """Counts from the start of each transition; an HMC's first kinetic energy goes into the list."""
    first: list[float] = []
    transition: Callable[[dict[str, Tensor]], dict[str, Tensor]] = kernel.sample
    energy_of: Any = getattr(kernel, "_kinetic_energy", None)

    def sample(params: dict[str, Tensor]) -> dict[str, Tensor]:
        first.clear()
        counted.calls = 0
        return transition(params)

    def recorded(momentum: dict[Any, Tensor]) -> Tensor:
        energy: Tensor = energy_of(momentum)
        if not first:
            first.append(float(energy))
        return energy

    kernel.sample = sample
    if energy_of is not None:
        kernel._kinetic_energy = recorded
    return first

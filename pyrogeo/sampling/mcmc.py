"""Chains from Pyro's kernels, each with its own seed, and what the kernels do not keep.

Every chain is its own `pyro.infer.MCMC(num_chains=1)`, seeded from (seed, chain) and run on one
thread, in this process or in workers, so that a seed gives the same draws whatever the number of
workers and cores.
"""

import math
import pickle
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.multiprocessing as multiprocessing
from pyro.infer import HMC, MCMC, NUTS
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.errors import NotPositiveDefiniteError, SamplingWarning
from pyrogeo.sampling.draws import to_arviz

__all__ = ["sample"]

KernelFactory = Callable[..., Any]


def sample(
    density: Any,
    num_samples: int,
    kernel: KernelFactory = NUTS,
    num_chains: int = 4,
    *,
    warmup_steps: int = 500,
    initial_params: Tensor | None = None,
    seed: int | None = None,
    num_workers: int = 1,
    progress: bool = True,
) -> Any:
    """Draws chains from a density with one of Pyro's kernels.

    Args:
        density: has `potential` (a Pyro `potential_fn` of `{"z": (d,)}`), `log_density`, and
            `initial(n)`; `RiemannianUniform` does.
        num_samples: draws of each chain, after warm-up.
        kernel: called as `kernel(potential_fn=density.potential)`: `NUTS`, `HMC`,
            `partial(HMC, step_size=0.1, num_steps=10)`, or any `MCMCKernel`. While Pyro adapts the
            step size of an HMC it holds the trajectory length and not the number of steps.
        num_chains: at least two are needed for a verdict.
        warmup_steps: adaptation steps of each chain, thrown away.
        initial_params: starts of shape `(num_chains, d)`; by default different centroids.
        seed: None draws one from torch's global generator.
        num_workers: processes to spread the chains over. More than one are spawned, so the density
            and the kernel must pickle, and a script needs `if __name__ == "__main__":`.
        progress: show a bar with divergences and step size.

    Returns:
        `arviz.InferenceData` (ArviZ 0.2x) or `xarray.DataTree` (1.x): `posterior` with `z` of dims
        `(chain, draw, z_dim)`, and `sample_stats` with `lp` (log-density, not normalised),
        `energy` (at the start of the transition), `diverging`, `acceptance_rate`, `step_size`,
        `n_steps` (gradient evaluations) and, for NUTS, `tree_depth`. After Ctrl-C, the largest
        rectangle of draws so far, with the attribute `incomplete` set and a `SamplingWarning`.

    Raises:
        ValueError: before any sampling, for counts out of range, starts that are not finite, too
            few different starts, or parts that cannot be sent to a worker.
    """
    _check_counts(num_samples, num_chains, warmup_steps, num_workers)
    if not all(hasattr(density, name) for name in ("potential", "log_density", "initial")):
        raise ValueError(
            f"expected a density such as RiemannianUniform(metric), got {type(density)}"
        )
    seed = fresh_seed(seed)
    with forked(seed), torch.inference_mode(False):
        starts = _starts(density, num_chains, initial_params)
    max_tree_depth = _checked_kernel(kernel, density.potential)
    chains = [
        _Chain(density.potential, kernel, num_samples, warmup_steps, start, derived_seed(seed, i))
        for i, start in enumerate(starts)
    ]
    run = _in_turn if num_workers == 1 else _in_workers
    collected = _Collected(num_chains, warmup_steps, num_samples, progress)
    try:
        with collected.bar:
            run(chains, collected, min(num_workers, num_chains))
    except KeyboardInterrupt:
        collected.interrupted = True
    attrs = {"seed": seed, "incomplete": collected.interrupted} | max_tree_depth
    return _assembled(density, starts, collected, attrs)


class _Chain(NamedTuple):
    """All that one chain needs; it can be sent to another process."""

    potential: Callable
    kernel: KernelFactory
    num_samples: int
    warmup_steps: int
    start: Tensor
    seed: int


class _Transition(NamedTuple):
    """What is kept of one draw; `kinetic` is that of the fresh momentum."""

    z: np.ndarray
    kinetic: float
    diverging: bool
    acceptance_rate: float
    step_size: float
    n_steps: int
    tree_depth: float


class _Collected:
    """Transitions by chain as they come in, and the progress bar they move."""

    def __init__(self, num_chains: int, warmup_steps: int, num_samples: int, progress: bool):
        self.draws: list[list[_Transition]] = [[] for _ in range(num_chains)]
        self.before: list[np.ndarray | None] = [None] * num_chains
        self.interrupted = False
        self.num_samples = num_samples
        self.divergences = 0
        total = num_chains * (warmup_steps + num_samples)
        self.bar = tqdm(total=total, desc="sample", disable=not progress)

    def __call__(self, chain: int, warmup: bool, transition: _Transition) -> None:
        if warmup:
            self.before[chain] = transition.z
        else:
            self.draws[chain].append(transition)
            self.divergences += transition.diverging
        self.bar.set_postfix_str(
            f"chain {chain + 1}{' (warm-up)' if warmup else ''}, step size "
            f"{transition.step_size:.2e}, {self.divergences} divergences",
            refresh=False,
        )
        self.bar.update()


def _check_counts(num_samples: int, num_chains: int, warmup_steps: int, num_workers: int) -> None:
    counts = {
        "num_samples": (num_samples, 1),
        "num_chains": (num_chains, 1),
        "warmup_steps": (warmup_steps, 0),
        "num_workers": (num_workers, 1),
    }
    for name, (value, least) in counts.items():
        if not isinstance(value, (int, np.integer)) or isinstance(value, bool) or value < least:
            raise ValueError(f"{name} must be an integer of at least {least}, got {value!r}")


def _starts(density: Any, num_chains: int, initial_params: Tensor | None) -> Tensor:
    if initial_params is None:
        return density.initial(num_chains)
    starts = initial_params.get("z") if isinstance(initial_params, dict) else initial_params
    expected = (num_chains, *density.event_shape)
    if not torch.is_tensor(starts) or tuple(starts.shape) != expected:
        got = tuple(starts.shape) if torch.is_tensor(starts) else type(starts)
        raise ValueError(f"initial_params: expected a tensor of shape {expected}, got {got}")
    if not torch.isfinite(starts).all():
        raise ValueError("initial_params: expected finite numbers, got NaN or infinite values")
    # A kernel that starts where the density is NaN or zero searches a step size for ever.
    if not torch.isfinite(density.log_density(starts)).all():
        raise ValueError("initial_params: the log-density is not finite at every start")
    return starts.detach().clone()


def _checked_kernel(kernel: KernelFactory, potential: Callable) -> dict[str, int]:
    """Makes one kernel to see that it is one; for a NUTS, its largest tree depth."""
    if not callable(kernel) or isinstance(kernel, MCMCKernel):
        raise ValueError(
            f"kernel: expected a class or function that is called as kernel(potential_fn=...), such "
            f"as NUTS or partial(HMC, num_steps=10), got {type(kernel)}"
        )
    made = kernel(potential_fn=potential)
    for name in ("initial_params", "setup", "sample", "diagnostics", "logging", "cleanup"):
        if not hasattr(made, name):
            raise ValueError(f"kernel: {type(made)} is not a Pyro MCMCKernel, it has no {name}")
    return {"max_tree_depth": made._max_tree_depth} if isinstance(made, NUTS) else {}


def _in_turn(chains: list[_Chain], emit: Callable, num_workers: int) -> None:
    for number, chain in enumerate(chains):
        _run_chain(number, chain, emit)


def _in_workers(chains: list[_Chain], emit: Callable, num_workers: int) -> None:
    try:
        pickle.dumps([c._replace(start=None) for c in chains])
    except Exception as error:  # pickle raises many things
        raise ValueError(f"num_workers > 1 needs parts that can be pickled: {error}") from error
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    processes = [
        context.Process(
            target=_work,
            args=([(i, chains[i]) for i in range(first, len(chains), num_workers)], queue),
            daemon=True,
        )
        for first in range(num_workers)
    ]
    try:
        for process in processes:
            process.start()
        for _ in range(sum(c.warmup_steps + c.num_samples for c in chains)):
            emit(*_next_message(queue, processes))
    finally:
        for process in processes:
            process.terminate()
            process.join()


def _next_message(queue: Any, processes: list) -> tuple:
    while True:
        try:
            message = queue.get(timeout=1)
        except Empty:
            dead = [p.exitcode for p in processes if p.exitcode]
            if dead:
                raise RuntimeError(f"a worker died with exit code {dead[0]}") from None
            continue
        if isinstance(message, str):
            raise RuntimeError(f"a worker failed:\n{message}")
        return message


def _work(share: list[tuple[int, _Chain]], queue: Any) -> None:
    try:
        for number, chain in share:
            _run_chain(number, chain, lambda *message: queue.put(message))
    except KeyboardInterrupt:  # the parent got it too, and it reports
        pass
    except Exception:
        queue.put(traceback.format_exc())


def _run_chain(number: int, chain: _Chain, emit: Callable) -> None:
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
        transition = _Transition(
            z=params["z"].detach().cpu().numpy(),
            kinetic=kinetic[0] if kinetic else math.nan,
            diverging=divergences > seen["divergences"],
            acceptance_rate=float(np.clip(after - before, 0, 1)),
            step_size=float(getattr(kernel, "step_size", math.nan)),
            n_steps=counted.calls,
            tree_depth=counted.calls.bit_length() if isinstance(kernel, NUTS) else math.nan,
        )
        seen.update(divergences=divergences, acceptance=after)
        emit(number, stage.startswith("Warmup"), transition)

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
        _one_thread(),
        forked(chain.seed, chain.start.device),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        mcmc.run()


class _Counted:
    """A potential that counts its gradient evaluations."""

    def __init__(self, potential: Callable):
        self.potential, self.calls = potential, 0

    def __call__(self, params: dict[str, Tensor]) -> Tensor:
        self.calls += params["z"].requires_grad
        try:
            return self.potential(params)
        except (
            NotPositiveDefiniteError
        ):  # a trial step too far out; to a kernel, NaN is a divergence
            return (params["z"] * math.nan).sum()


def _instrument(kernel: Any, counted: _Counted) -> list[float]:
    """Counts from the start of each transition; an HMC's first kinetic energy goes into the list."""
    first: list[float] = []
    transition, energy_of = kernel.sample, getattr(kernel, "_kinetic_energy", None)

    def sample(params: dict[str, Tensor]) -> dict[str, Tensor]:
        first.clear()
        counted.calls = 0
        return transition(params)

    def recorded(momentum: dict[Any, Tensor]) -> Tensor:
        energy = energy_of(momentum)
        if not first:
            first.append(float(energy))
        return energy

    kernel.sample = sample
    if energy_of is not None:
        kernel._kinetic_energy = recorded
    return first


@contextmanager
def _one_thread() -> Iterator[None]:
    """The order of a sum, and so its last bit, may depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _assembled(density: Any, starts: Tensor, collected: _Collected, attrs: dict) -> Any:
    lengths = [len(draws) for draws in collected.draws]
    if max(lengths) == 0:
        raise KeyboardInterrupt
    keep, n = _largest_rectangle(lengths)
    if collected.interrupted:
        warnings.warn(
            f"interrupted: {len(keep)} chains of {n} draws are returned, of {len(lengths)} chains "
            f"of {collected.num_samples}",
            SamplingWarning,
            stacklevel=3,
        )
    chains = [collected.draws[i][:n] for i in keep]
    columns = {
        name: np.array([[getattr(t, name) for t in chain] for chain in chains])
        for name in _Transition._fields
    }
    z, kinetic, tree_depth = (columns.pop(name) for name in ("z", "kinetic", "tree_depth"))
    origins = [collected.before[i] for i in keep]
    origins = [
        starts[i].cpu().numpy() if o is None else o for i, o in zip(keep, origins, strict=True)
    ]
    path = torch.from_numpy(np.concatenate([np.stack(origins)[:, None], z], 1)).to(starts)
    lp = density.log_density(path).detach().cpu().numpy()
    stats = {"lp": lp[:, 1:], "energy": kinetic - lp[:, :-1], **columns}
    stats = {name: value for name, value in stats.items() if not np.isnan(value).all()}
    if not np.isnan(tree_depth).any():
        stats["tree_depth"] = tree_depth.astype(int)
    return to_arviz({"z": z}, stats, attrs)


def _largest_rectangle(lengths: list[int]) -> tuple[list[int], int]:
    """The chains to keep, and their common length, for the most draws in all."""
    n = max(lengths, key=lambda m: m * sum(length >= m for length in lengths))
    return [i for i, length in enumerate(lengths) if length >= n], n

"""Chains from Pyro's kernels, each with its own seed, and what the kernels do not keep.

Every chain is its own `pyro.infer.MCMC(num_chains=1)`, seeded from (seed, chain) and run on one
thread, in this process or in workers, so that a seed gives the same draws whatever the number of
workers and cores.
"""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pyro.infer import NUTS
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.errors import SamplingWarning
from pyrogeo.sampling.chains import Chain, KernelFactory, Transition, in_turn, in_workers
from pyrogeo.sampling.draws import to_arviz

__all__ = ["sample"]


def sample(
    density: Any,
    num_samples: int,
    kernel: KernelFactory = NUTS,
    num_chains: int = 4,
    *,
    warmup_steps: int = 500,
    initial_params: Tensor | None = None,
    seed: int | None = None,
    num_superchains: int | None = None,
    num_workers: int = 1,
    progress: bool = True,
) -> Any:
    """Draws chains from a density with one of Pyro's kernels.

    Args:
        density: has `potential` (a Pyro `potential_fn` of `{"z": (d,)}`), `log_density`, and
            `initial(n)`; `RiemannianUniform` does.
        num_samples: draws of each chain, after warm-up.
        kernel: called as `kernel(potential_fn=density.potential)`: `NUTS`, `HMC`,
            `partial(HMC, step_size=0.1, num_steps=10)`, `BatchHMC` for hundreds of chains at once, or
            any `MCMCKernel`. While Pyro adapts the step size of an HMC it holds the trajectory length
            and not the number of steps.
        num_chains: at least two are needed for a verdict.
        warmup_steps: adaptation steps of each chain, thrown away.
        initial_params: starts of shape `(num_chains, d)`; by default different centroids.
        seed: None draws one from torch's global generator.
        num_superchains: groups of chains that start at one point, for nested R-hat; must divide
            `num_chains`. By default every chain starts elsewhere, if the density has starts enough;
            for more chains of a batched kernel, as many groups as it has starts for.
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

    >>> from pyrogeo.distributions import RiemannianUniform
    >>> from pyrogeo.geometry import CentroidMetric
    >>> means = torch.eye(2, dtype=torch.float64)
    >>> posterior = torch.distributions.Normal(means, torch.full_like(means, 0.1))
    >>> density = RiemannianUniform(CentroidMetric.from_posterior(posterior, None))
    >>> draws = sample(density, 20, num_chains=2, warmup_steps=20, seed=0, progress=False)
    >>> dict(draws.posterior.sizes)
    {'chain': 2, 'draw': 20, 'z_dim': 2}
    """
    _check_counts(num_samples, num_chains, warmup_steps, num_workers)
    if not all(hasattr(density, name) for name in ("potential", "log_density", "initial")):
        raise ValueError(
            f"expected a density such as RiemannianUniform(metric), got {type(density)}"
        )
    seed = fresh_seed(seed)
    with forked(seed), torch.inference_mode(False):
        made = _checked_kernel(kernel, density.potential)
        batched = getattr(made, "batched", False)
        groups = _groups(density, num_chains, num_superchains, batched and initial_params is None)
        starts = _starts(density, num_chains, groups, initial_params)
    if batched:
        collected = _CollectedBatch(num_chains, warmup_steps, num_samples, progress)
        chains = [
            Chain(density.potential, kernel, num_samples, warmup_steps, starts, derived_seed(seed))
        ]
        run = in_turn
    else:
        collected = _Collected(num_chains, warmup_steps, num_samples, progress)
        chains = [
            Chain(
                density.potential, kernel, num_samples, warmup_steps, start, derived_seed(seed, i)
            )
            for i, start in enumerate(starts)
        ]
        run = in_turn if num_workers == 1 else in_workers
    try:
        with collected.bar:
            run(chains, collected, min(num_workers, num_chains))
    except KeyboardInterrupt:
        collected.interrupted = True
    attrs = {"seed": seed, "incomplete": collected.interrupted}
    attrs |= {"superchains": groups} if groups < num_chains else {}
    attrs |= {"max_tree_depth": made._max_tree_depth} if isinstance(made, NUTS) else {}
    return _assembled(density, starts, collected, attrs)


class _Collected:
    """Transitions by chain as they come in, and the progress bar they move."""

    def __init__(self, num_chains: int, warmup_steps: int, num_samples: int, progress: bool):
        self.draws: list[list[Transition]] = [[] for _ in range(num_chains)]
        self.before: list[np.ndarray | None] = [None] * num_chains
        self.interrupted = False
        self.num_samples = num_samples
        self.divergences = 0
        total = num_chains * (warmup_steps + num_samples)
        self.bar = tqdm(total=total, desc="sample", disable=not progress)

    def __call__(self, chain: int, warmup: bool, transition: Transition) -> None:
        if warmup:
            self.before[chain] = transition.z
        else:
            self.draws[chain].append(transition)
            self.divergences += transition.diverging
        self._show(f"chain {chain}", warmup, transition.step_size)

    def _show(self, who: str, warmup: bool, step_size: float) -> None:
        self.bar.set_postfix_str(
            f"{who}{' (warm-up)' if warmup else ''}, step size {step_size:.2e}, "
            f"{self.divergences} divergences",
            refresh=False,
        )
        self.bar.update()

    def rectangle(self, starts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Columns of shape `(chain, draw, …)` of as many draws as make a rectangle, and the points
        from which the chains came to their first draws."""
        lengths = [len(draws) for draws in self.draws]
        if max(lengths) == 0:
            raise KeyboardInterrupt
        keep, n = _largest_rectangle(lengths)
        columns = {
            name: np.array([[getattr(t, name) for t in self.draws[i][:n]] for i in keep])
            for name in Transition._fields
        }
        origins = [starts[i] if self.before[i] is None else self.before[i] for i in keep]
        return columns, np.stack(origins)


class _CollectedBatch(_Collected):
    """The same for a kernel that moves all chains at once: a transition holds arrays."""

    def __init__(self, num_chains: int, warmup_steps: int, num_samples: int, progress: bool):
        super().__init__(1, warmup_steps, num_samples, progress)

    def __call__(self, chain: int, warmup: bool, transition: Transition) -> None:
        if warmup:
            self.before[0] = transition.z
        else:
            self.draws[0].append(transition)
            self.divergences += int(np.sum(transition.diverging))
        self._show(f"{len(transition.z)} chains", warmup, transition.step_size)

    def rectangle(self, starts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
        draws, chains = self.draws[0], len(starts)
        if not draws:
            raise KeyboardInterrupt
        columns = {
            name: np.stack(
                [
                    np.broadcast_to(getattr(t, name), (chains, *np.shape(getattr(t, name))[1:]))
                    for t in draws
                ],
                1,
            )
            for name in Transition._fields
        }
        return columns, starts if self.before[0] is None else self.before[0]


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


def _groups(density: Any, num_chains: int, wanted: int | None, may_share: bool) -> int:
    """Number of different starts."""
    if wanted is not None:
        if not isinstance(wanted, int) or wanted < 1 or num_chains % wanted:
            raise ValueError(f"num_superchains must divide {num_chains} chains, got {wanted!r}")
        return wanted
    most = getattr(density, "num_starts", num_chains) if may_share else num_chains
    if num_chains <= most:
        return num_chains
    divisors = [n for n in range(2, most + 1) if num_chains % n == 0]
    if not divisors:
        raise ValueError(
            f"{num_chains} chains cannot be shared out evenly to at most {most} different starts; take "
            "a number of chains with more divisors, or pass initial_params"
        )
    return divisors[-1]


def _starts(density: Any, num_chains: int, groups: int, initial_params: Tensor | None) -> Tensor:
    if initial_params is None:
        return density.initial(groups).repeat_interleave(num_chains // groups, 0)
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


def _checked_kernel(kernel: KernelFactory, potential: Callable) -> Any:
    """Makes one kernel to see that it is one."""
    if not callable(kernel) or isinstance(kernel, MCMCKernel):
        raise ValueError(
            f"kernel: expected a class or function that is called as kernel(potential_fn=...), such "
            f"as NUTS or partial(HMC, num_steps=10), got {type(kernel)}"
        )
    made = kernel(potential_fn=potential)
    for name in ("initial_params", "setup", "sample", "diagnostics", "logging", "cleanup"):
        if not hasattr(made, name):
            raise ValueError(f"kernel: {type(made)} is not a Pyro MCMCKernel, it has no {name}")
    return made


def _assembled(density: Any, starts: Tensor, collected: Any, attrs: dict) -> Any:
    columns, origins = collected.rectangle(starts.cpu().numpy())
    z, kinetic, tree_depth = (columns.pop(name) for name in ("z", "kinetic", "tree_depth"))
    if collected.interrupted:
        warnings.warn(
            f"interrupted: {z.shape[0]} chains of {z.shape[1]} draws are returned, of {len(starts)} "
            f"chains of {collected.num_samples}",
            SamplingWarning,
            stacklevel=3,
        )
    path = torch.from_numpy(np.concatenate([origins[:, None], z], 1)).to(starts)
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

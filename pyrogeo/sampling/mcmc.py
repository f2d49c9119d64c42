"""Chains from Pyro's kernels, each with its own seed, and what the kernels do not keep.

Every chain is its own `pyro.infer.MCMC(num_chains=1)`, seeded from (seed, chain) and run on one
thread, in this process or in workers, so that a seed gives the same draws whatever the number of
workers and cores.
"""

from typing import Any

import torch
from pyro.infer import HMC, NUTS
from torch import Tensor

from pyrogeo._checks import as_tensor, whole
from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.sampling.chains import Chain
from pyrogeo.sampling.collected import Collected, CollectedBatch, assembled
from pyrogeo.sampling.engines import in_turn, in_workers, workers
from pyrogeo.sampling.kernels.protocol import KernelFactory, is_batched, made_kernel

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
        initial_params: starts of shape `(num_chains, d)`; by default different centroids. They are
            taken in the density's precision.
        seed: None draws one from torch's global generator.
        num_superchains: groups of chains that start at one point, for nested R-hat; must divide
            `num_chains`. By default every chain starts elsewhere, if the density has starts enough;
            for more chains of a batched kernel, as many groups as it has starts for.
        num_workers: processes to spread the chains over, by joblib: the density and the kernel must
            pickle. Within `joblib.parallel_config(backend=...)` the chains go to that backend, such as
            Dask or Ray. A batched kernel runs here.
        progress: show a bar with divergences and step size.

    Returns:
        `arviz.InferenceData` (ArviZ 0.2x) or `xarray.DataTree` (1.x): `posterior` with `z` of dims
        `(chain, draw, z_dim)`, and `sample_stats` with `lp` (log-density, not normalised),
        `energy` (at the start of the transition), `diverging`, `acceptance_rate`, `step_size`,
        `n_steps` (gradient evaluations) and, for NUTS, `tree_depth`. After Ctrl-C, the largest
        rectangle of draws so far, with `incomplete` set and a `SamplingWarning`. What belongs to a chain or
        its run has the dimension `chain` alone, and stays with its chains in `sel` and `arviz.concat`:
        `superchain` (chains of one run with the same number started at one point), `seed`, `incomplete`,
        `jumps` (between modes, where the kernel tells) and, for NUTS, `max_tree_depth`.

    Raises:
        ValueError: before any sampling, for counts out of range, starts that are not finite, too
            few different starts, a kernel that takes no potential, or parts that cannot be sent to a
            worker.
        RuntimeError: for what goes wrong in a worker.

    >>> from pyrogeo.distributions import RiemannianUniform
    >>> from pyrogeo.geometry import CentroidMetric
    >>> means = torch.eye(2, dtype=torch.float64)
    >>> posterior = torch.distributions.Normal(means, torch.full_like(means, 0.1))
    >>> density = RiemannianUniform(CentroidMetric.from_posterior(posterior, None))
    >>> draws = sample(density, 20, num_chains=2, warmup_steps=20, seed=0, progress=False)
    >>> dict(draws.posterior.sizes)
    {'chain': 2, 'draw': 20, 'z_dim': 2}
    """
    num_samples, num_chains = whole("num_samples", num_samples), whole("num_chains", num_chains)
    warmup_steps = whole("warmup_steps", warmup_steps, 0)
    num_workers = whole("num_workers", num_workers)
    _check_density(density)
    seed = fresh_seed(seed)
    with forked(seed), torch.inference_mode(False):
        made = made_kernel(kernel, density.potential)
        batched = is_batched(made)
        groups = _groups(density, num_chains, num_superchains, batched and initial_params is None)
        starts = _starts(density, num_chains, groups, initial_params)
    shares = {(): starts} if batched else {(i,): start for i, start in enumerate(starts)}
    chains = [
        Chain(density.potential, kernel, num_samples, warmup_steps, z, derived_seed(seed, *number))
        for number, z in shares.items()
    ]
    kind = CollectedBatch if batched else Collected
    collected = kind(num_chains, warmup_steps, num_samples, progress)
    run = in_turn if batched or workers(num_workers) == 1 else in_workers
    try:
        with collected.bar:
            run(chains, collected, num_workers)
    except KeyboardInterrupt:
        collected.interrupted = True
    attrs = {"seed": seed, "incomplete": collected.interrupted}
    superchain = torch.arange(groups).repeat_interleave(num_chains // groups).numpy()
    facts = {**attrs, "superchain": superchain, **_facts(made)}
    return assembled(density, starts, collected, attrs, facts)


def _facts(kernel: Any) -> dict[str, Any]:
    """What a kernel says of its chains; attributes of the draws would not follow `sel` and `concat`."""
    jumps = False if isinstance(kernel, HMC) else getattr(kernel, "jumps", None)
    facts = {"max_tree_depth": kernel._max_tree_depth} if isinstance(kernel, NUTS) else {}
    return facts if jumps is None else {**facts, "jumps": bool(jumps)}


def _check_density(density: Any) -> None:
    if not all(hasattr(density, name) for name in ("potential", "log_density", "initial")):
        raise ValueError(
            f"expected a density such as RiemannianUniform(metric), got {type(density)}"
        )


def _groups(density: Any, num_chains: int, wanted: int | None, may_share: bool) -> int:
    """Number of different starts."""
    if wanted is not None:
        wanted = whole("num_superchains", wanted)
        if num_chains % wanted:
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
        shared: Tensor = density.initial(groups).repeat_interleave(num_chains // groups, 0)
        return shared
    starts = initial_params.get("z") if isinstance(initial_params, dict) else initial_params
    starts = as_tensor("initial_params", starts)
    expected = (num_chains, *density.event_shape)
    if tuple(starts.shape) != expected:
        raise ValueError(
            f"initial_params: expected a tensor of shape {expected}, got {tuple(starts.shape)}"
        )
    if not torch.isfinite(starts).all():
        raise ValueError("initial_params: expected finite numbers, got NaN or infinite values")
    starts = starts.detach().clone().to(_dtype(density) or starts.dtype)
    # A kernel that starts where the density is NaN or zero searches a step size for ever.
    if not torch.isfinite(density.log_density(starts)).all():
        raise ValueError("initial_params: the log-density is not finite at every start")
    return starts


def _dtype(density: Any) -> torch.dtype | None:
    """The precision in which a density computes, if it or its metric's tensors say one."""
    metric = getattr(density, "metric", None)
    tensors = metric.state_dict().values() if isinstance(metric, torch.nn.Module) else ()
    floats = [tensor.dtype for tensor in tensors if tensor.is_floating_point()]
    return getattr(density, "dtype", None) or next(iter(floats), None)

"""Many HMC chains as one tensor, with jumps between modes."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    num_chains: int = 128,
    warmup_steps: int = 500,
    step_size: float = 0.1,
    num_steps: int = 10,
    jump_every: int | None = 5,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """`pyrogeo.sample` with `BatchHMC`, whose settings are explained there."""
    from functools import partial

    from pyrogeo.distributions import RiemannianUniform
    from pyrogeo.sampling.kernels.batch_hmc import BatchHMC
    from pyrogeo.sampling.mcmc import sample

    kernel = partial(BatchHMC, step_size=step_size, num_steps=num_steps, jump_every=jump_every)
    draws = sample(
        RiemannianUniform(metric),
        num_samples,
        kernel,
        num_chains,
        warmup_steps=warmup_steps,
        seed=seed,
        progress=progress,
    )
    return signed(draws, METHOD.name)


METHOD = Method(
    name="batch",
    summary="many HMC chains as one tensor, with jumps between modes",
    draw=draw,
    words="many Markov chains of Hamiltonian Monte Carlo, which jump between modes: each draw follows from "
    "the one before it.",
    title="HMC chains in one tensor",
    order=4,
)

"""Chains of Pyro's HMC."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    num_chains: int = 4,
    warmup_steps: int = 500,
    step_size: float = 0.1,
    num_steps: int = 10,
    target_accept_prob: float = 0.8,
    num_workers: int = 1,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """`pyrogeo.sample` with Pyro's HMC; its settings are explained there and in Pyro."""
    from functools import partial

    from pyro.infer import HMC

    from pyrogeo.distributions import RiemannianUniform
    from pyrogeo.sampling.mcmc import sample

    options = {"num_steps": num_steps, "target_accept_prob": target_accept_prob}
    draws = sample(
        RiemannianUniform(metric),
        num_samples,
        partial(HMC, step_size=step_size, **options),
        num_chains,
        warmup_steps=warmup_steps,
        num_workers=num_workers,
        seed=seed,
        progress=progress,
    )
    return signed(draws, METHOD.name)


METHOD = Method(
    name="hmc",
    summary="Pyro's HMC on the uniform density",
    draw=draw,
    words="Markov chains of Pyro's HMC: each draw follows from the one before it.",
    title="Pyro's HMC",
    order=3,
)

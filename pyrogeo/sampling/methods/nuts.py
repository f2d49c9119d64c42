"""Chains of Pyro's NUTS."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    num_chains: int = 4,
    warmup_steps: int = 500,
    target_accept_prob: float = 0.8,
    max_tree_depth: int = 10,
    num_workers: int = 1,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """`pyrogeo.sample` with Pyro's NUTS; its settings are explained there and in Pyro."""
    from functools import partial

    from pyro.infer import NUTS

    from pyrogeo.distributions import RiemannianUniform
    from pyrogeo.sampling.mcmc import sample

    kernel = partial(NUTS, target_accept_prob=target_accept_prob, max_tree_depth=max_tree_depth)
    draws = sample(
        RiemannianUniform(metric),
        num_samples,
        kernel,
        num_chains,
        warmup_steps=warmup_steps,
        num_workers=num_workers,
        seed=seed,
        progress=progress,
    )
    return signed(draws, METHOD.name)


METHOD = Method(
    name="nuts",
    summary="Pyro's NUTS on the uniform density",
    draw=draw,
    words="Markov chains of Pyro's NUTS: each draw follows from the one before it.",
    title="Pyro's NUTS",
    order=2,
)

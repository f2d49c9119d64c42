"""Exact draws from the uniform density."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    num_chains: int = 8,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Independent runs of sequential Monte Carlo, `num_chains` of them: `pyrogeo.sample_smc`."""
    from pyrogeo.distributions import RiemannianUniform
    from pyrogeo.sampling.exact import sample_smc

    density = RiemannianUniform(metric)
    draws = sample_smc(density, num_samples, num_chains, seed=seed, progress=progress)
    return signed(draws, METHOD.name)


METHOD = Method(
    name="exact",
    summary="exact draws from the uniform density, by sequential Monte Carlo",
    draw=draw,
    words="independent runs of sequential Monte Carlo, whose draws follow the density exactly in the limit "
    "of large runs.",
    title="Exact draws",
    order=1,
)

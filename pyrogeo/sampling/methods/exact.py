"""Exact draws from the uniform density."""

from typing import Any

from pyrogeo.sampling.methods.record import Method

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    num_chains: int = 8,
    proposal: Any = None,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Independent runs of sequential Monte Carlo, `num_chains` of them: `pyrogeo.sample_smc`.

    `proposal` is that of `RiemannianUniform`, where the metric brings none.
    """
    from pyrogeo.distributions import RiemannianUniform
    from pyrogeo.sampling.exact import sample_smc

    density = RiemannianUniform(metric, proposal=proposal)
    return sample_smc(density, num_samples, num_chains, seed=seed, progress=progress)


METHOD = Method(
    name="exact",
    summary="exact draws from the uniform density, by sequential Monte Carlo",
    draw=draw,
    words="independent runs of sequential Monte Carlo, whose draws follow the density exactly in the limit "
    "of large runs.",
    title="Exact draws",
    order=1,
)

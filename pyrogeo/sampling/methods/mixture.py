"""Draws from the geometric mixture."""

from typing import Any

from pyrogeo.sampling.methods.record import Method

__all__ = ["METHOD"]


def draw(metric: Any, num_samples: int, *, num_chains: int = 4, seed: int | None = None) -> Any:
    """Independent draws of `GeometricMixture(metric)`, cut into chains."""
    from pyrogeo.distributions import GeometricMixture
    from pyrogeo.sampling.independent import sample_law

    return sample_law(GeometricMixture(metric), num_samples, num_chains, METHOD.name, metric, seed)


METHOD = Method(
    name="mixture",
    summary="exact draws from the geometric mixture",
    draw=draw,
    independent=True,
    uniform=False,
    words="independent draws of the geometric mixture.",
    note="These are independent draws of the geometric mixture, not of the uniform density.",
    title="The geometric mixture",
    order=5,
)

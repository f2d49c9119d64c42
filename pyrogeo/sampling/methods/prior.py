"""Draws from the prior."""

from typing import Any

from pyrogeo.sampling.methods.record import Method

__all__ = ["METHOD"]


def draw(
    metric: Any, num_samples: int, *, prior: Any, num_chains: int = 4, seed: int | None = None
) -> Any:
    """Independent draws of a distribution of event shape `(d,)`, as `vae.prior()` is one."""
    from pyrogeo.sampling.independent import sample_law

    return sample_law(prior, num_samples, num_chains, METHOD.name, metric, seed)


METHOD = Method(
    name="prior",
    summary="the prior of the VAE",
    draw=draw,
    independent=True,
    uniform=False,
    words="independent draws of the prior.",
    note="These are independent draws of the prior, not of the uniform density.",
    title="The prior",
    needs_metric=False,
    order=7,
)

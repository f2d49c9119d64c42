"""Draws from a Gaussian mixture fitted to the embeddings."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    embeddings: Any,
    num_chains: int = 4,
    n_components: int = 10,
    covariance: str = "full",
    seed: int | None = None,
) -> Any:
    """Independent draws of what `latents.fit_gaussian_mixture` makes of embeddings `(N, d)`."""
    from pyrogeo._random import derived_seed, fresh_seed
    from pyrogeo.latents import fit_gaussian_mixture
    from pyrogeo.sampling.independent import sample_law

    seed = fresh_seed(seed)
    law = fit_gaussian_mixture(embeddings, n_components, covariance, seed=seed)
    noise = derived_seed(seed, 1) % 2**32  # other than the fit's
    draws = sample_law(law, num_samples, num_chains, METHOD.name, metric, noise)
    return signed(draws, METHOD.name, seed=seed)


METHOD = Method(
    name="gaussian-mixture",
    summary="a Gaussian mixture fitted to the embeddings",
    draw=draw,
    independent=True,
    uniform=False,
    words="independent draws of a Gaussian mixture that was fitted to the embeddings.",
    note="These are independent draws of a Gaussian mixture of the embeddings, not of the uniform density.",
    title="A Gaussian mixture of embeddings",
    needs_metric=False,
    order=8,
)

"""Draws from a second VAE of the embeddings."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    embeddings: Any,
    num_chains: int = 4,
    epochs: int = 200,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Independent draws of what `latents.fit_two_stage` makes of embeddings `(N, d)`."""
    from pyrogeo._random import derived_seed, fresh_seed
    from pyrogeo.latents import fit_two_stage
    from pyrogeo.sampling.independent import sample_law

    seed = fresh_seed(seed)
    law = fit_two_stage(embeddings, epochs=epochs, seed=seed, progress=progress)
    noise = derived_seed(seed, 1) % 2**32  # other than the fit's
    draws = sample_law(law, num_samples, num_chains, METHOD.name, metric, noise)
    return signed(draws, METHOD.name, seed=seed)


METHOD = Method(
    name="two-stage",
    summary="a second VAE, of the embeddings",
    draw=draw,
    independent=True,
    uniform=False,
    words="independent draws of a second VAE that was trained on the embeddings.",
    note="These are independent draws of a second VAE of the embeddings, not of the uniform density.",
    title="A second VAE",
    needs_metric=False,
    order=10,
)

"""Draws from an autoregressive flow fitted to the embeddings."""

from typing import Any

from pyrogeo.sampling.methods.record import Method, signed

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    embeddings: Any,
    num_chains: int = 4,
    kind: str = "masked",
    num_blocks: int = 4,
    epochs: int = 200,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Independent draws of what `latents.fit_flow` makes of embeddings `(N, d)`."""
    from pyrogeo._random import derived_seed, fresh_seed
    from pyrogeo.latents import fit_flow
    from pyrogeo.sampling.independent import sample_law

    seed = fresh_seed(seed)
    law = fit_flow(
        embeddings, kind, num_blocks=num_blocks, epochs=epochs, seed=seed, progress=progress
    )
    noise = derived_seed(seed, 1) % 2**32  # other than the fit's
    draws = sample_law(law, num_samples, num_chains, METHOD.name, metric, noise)
    return signed(draws, METHOD.name, seed=seed)


METHOD = Method(
    name="flow",
    summary="an autoregressive flow fitted to the embeddings",
    draw=draw,
    independent=True,
    uniform=False,
    words="independent draws of an autoregressive flow that was fitted to the embeddings.",
    note="These are independent draws of a flow of the embeddings, not of the uniform density.",
    title="A flow of embeddings",
    needs_metric=False,
    order=9,
)

"""The paper's procedure."""

from typing import Any

from pyrogeo.sampling.methods.record import Method

__all__ = ["METHOD"]


def draw(
    metric: Any,
    num_samples: int,
    *,
    embeddings: Any,
    num_chains: int = 4,
    num_iterations: int = 100,
    num_steps: int = 10,
    step_size: float = 0.01,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Last states of short chains from embeddings `(N, d)`: `pyrogeo.sampling.paper_protocol`."""
    from pyrogeo.sampling.independent import sample_protocol

    return sample_protocol(
        metric,
        num_samples,
        num_chains,
        starts=embeddings,
        num_iterations=num_iterations,
        num_steps=num_steps,
        step_size=step_size,
        seed=seed,
        progress=progress,
    )


METHOD = Method(
    name="protocol",
    summary="the paper's procedure: last states of short chains from embeddings",
    draw=draw,
    independent=True,
    words="last states of short chains that start at training data, the procedure of the paper.",
    note="These are last states of short chains from the embeddings: they follow the training data more "
    "than the uniform density.",
    title="The paper's procedure",
    order=6,
)

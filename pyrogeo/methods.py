"""Ways to draw latent points, by the names that the command line gives them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from pyro.infer import HMC, NUTS
from torch import Tensor

from pyrogeo.distributions import RiemannianUniform
from pyrogeo.geometry import CentroidMetric
from pyrogeo.sampling import BatchHMC, sample, sample_smc
from pyrogeo.sampling.independent import sample_mixture, sample_protocol

__all__ = ["METHODS", "chosen"]

#: what each name draws, in a line
METHODS = {
    "nuts": "Pyro's NUTS on the uniform density",
    "hmc": "Pyro's HMC on the uniform density",
    "batch": "many HMC chains as one tensor, with jumps between modes",
    "exact": "exact draws from the uniform density, by sequential Monte Carlo",
    "mixture": "exact draws from the geometric mixture",
    "protocol": "the paper's procedure: last states of short chains from embeddings",
}
_JUMP_EVERY = 5


def chosen(
    method: str,
    embeddings: Tensor,
    *,
    chains: int | None = None,
    warmup: int = 500,
    num_steps: int = 10,
    workers: int = 1,
    seed: int = 0,
    progress: bool = True,
) -> Callable[[CentroidMetric, int], Any]:
    """The function `(metric, num_samples) -> ArviZ data` of a name in `METHODS`.

    Args:
        method: the name.
        embeddings: of the training data, for `"protocol"`.
        chains: by default 4, of `"batch"` 128, of `"exact"` 8 (independent runs).
        warmup, num_steps, workers: of the kernels that have them.
        seed, progress: as everywhere.

    Raises:
        ValueError: for another name.

    >>> import torch
    >>> z = torch.randn(20, 2)
    >>> metric = CentroidMetric.from_posterior(torch.distributions.Normal(z, torch.ones_like(z)), None)
    >>> draw = chosen("mixture", z)
    >>> dict(draw(metric, 10).posterior.sizes)
    {'chain': 4, 'draw': 10, 'z_dim': 2}
    """
    every = {"seed": seed, "progress": progress}
    if method == "exact":
        return lambda metric, n: sample_smc(RiemannianUniform(metric), n, chains or 8, **every)
    if method == "mixture":
        return partial(sample_mixture, num_chains=chains or 4, seed=seed)
    if method == "protocol":
        return lambda metric, n: sample_protocol(
            metric, n, chains or 4, starts=embeddings.to(metric.centroids), **every
        )
    kernels = {
        "nuts": NUTS,
        "hmc": partial(HMC, step_size=0.1, num_steps=num_steps),
        "batch": partial(BatchHMC, num_steps=num_steps, jump_every=_JUMP_EVERY),
    }
    if method not in kernels:
        raise ValueError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}")
    options = {"warmup_steps": warmup, "num_workers": workers, **every}
    number = chains or (128 if method == "batch" else 4)
    return lambda metric, n: sample(
        RiemannianUniform(metric), n, kernels[method], number, **options
    )

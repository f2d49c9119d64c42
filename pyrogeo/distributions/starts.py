"""Where chains start: overdispersed, at centroids that lie far apart."""

import math

import torch
from torch import Tensor

from pyrogeo.geometry import Metric

__all__ = ["different_centroids", "farthest_first"]


def different_centroids(metric: Metric) -> Tensor:
    """The centroids of a metric, each once, shape `(S, d)`.

    Raises:
        ValueError: for a metric without centroids.
    """
    centroids = getattr(metric, "centroids", None)
    if not torch.is_tensor(centroids):
        raise ValueError(f"{type(metric).__name__} has no centroids; pass initial_params=...")
    starts: Tensor = torch.unique(centroids, dim=0)
    return starts


def farthest_first(starts: Tensor, n: int) -> Tensor:
    """`n` of the points `(S, d)`: one at random, then again and again the farthest from all before it.

    Raises:
        ValueError: for more than there are.

    >>> sorted(farthest_first(torch.tensor([[0.0], [1.0], [9.0]]), 2)[:, 0].tolist())[1]
    9.0
    """
    if n < 1:
        raise ValueError(f"expected a positive number of starts, got {n}")
    if n > len(starts):
        raise ValueError(
            f"{n} chains need {n} different starts, the metric has {len(starts)} different "
            "centroids; pass initial_params=..."
        )
    chosen = [int(torch.randint(len(starts), ()))]
    nearest = torch.full_like(starts[:, 0], math.inf)
    while len(chosen) < n:
        nearest = nearest.minimum((starts - starts[chosen[-1]]).square().sum(1))
        nearest[chosen] = -1.0  # also where squares underflow
        chosen.append(int(nearest.argmax()))
    return starts[chosen]

"""Independent points in the place of chains: the geometric mixture, and the paper's protocol."""

import torch
from torch import Tensor

from pyrogeo._random import forked, fresh_seed
from pyrogeo.distributions import GeometricMixture
from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.sampling.draws import to_arviz
from pyrogeo.sampling.protocol import paper_protocol

__all__ = ["sample_mixture", "sample_protocol"]


def sample_mixture(
    metric: CentroidMetric, num_samples: int, num_chains: int = 4, *, seed: int | None = None
):
    """Draws of the geometric mixture as ArviZ data: independent, and cut into equal chains.

    Args:
        metric: whose `GeometricMixture` is drawn from.
        num_samples, num_chains: size of the rectangle.
        seed: None draws one from torch's global generator.

    Returns:
        ArviZ data as `sample` returns it, with `lp` = ½ log det G and attribute `method="mixture"`.
    """
    seed = fresh_seed(seed)
    with forked(seed, metric.centroids.device):
        z = GeometricMixture(metric).sample((num_chains, num_samples))
    return _as_draws(metric, z, {"method": "mixture", "seed": seed})


def sample_protocol(
    metric: Metric,
    num_samples: int,
    num_chains: int = 4,
    *,
    starts: Tensor,
    seed: int | None = None,
    progress: bool = True,
):
    """`paper_protocol`'s points as ArviZ data, cut into equal chains.

    Args:
        metric: G; τ may be 0.
        num_samples, num_chains: size of the rectangle; each of its points is the last state of a
            short chain of its own.
        starts: training embeddings of shape `(N, d)`.
        seed: None draws one from torch's global generator.
        progress: show a bar.

    Returns:
        ArviZ data as `sample` returns it, with `lp` = ½ log det G and attribute `method="protocol"`.
    """
    seed = fresh_seed(seed)
    n = num_chains * num_samples
    z = paper_protocol(metric, starts, n, seed=seed, progress=progress)
    return _as_draws(
        metric, z.reshape(num_chains, num_samples, -1), {"method": "protocol", "seed": seed}
    )


def _as_draws(metric: Metric, z: Tensor, attrs: dict):
    with torch.no_grad():
        lp = metric.log_volume_element(z)
    return to_arviz({"z": z.cpu().numpy()}, {"lp": lp.cpu().numpy()}, attrs)

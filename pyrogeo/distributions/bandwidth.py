"""Which bandwidth, by what held-out data say."""

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from pyrogeo.distributions.mixture import log_components
from pyrogeo.geometry import CentroidMetric

__all__ = ["BandwidthChoice", "choose_bandwidth"]

_SPAN = 30.0  # the search runs from default/30 to default·30
_POINTS = 41


class BandwidthChoice(NamedTuple):
    """What `choose_bandwidth` found.

    Attributes:
        bandwidth: ρ of the highest held-out log-likelihood.
        log_likelihood: there, in nats per latent point.
        bandwidths: the ρ searched, shape `(n,)`.
        curve: their log-likelihoods, shape `(n,)`.
    """

    bandwidth: float
    log_likelihood: float
    bandwidths: np.ndarray
    curve: np.ndarray


def choose_bandwidth(metric: CentroidMetric, validation_latents: Tensor) -> BandwidthChoice:
    """The bandwidth under which the geometric mixture explains held-out embeddings best.

    Maximises (1/N) Σ log (1/K) Σᵢ N(zₙ; cᵢ, (ρ²/d) Σᵢ) over ρ, on a grid around the metric's own and
    then between the grid's best neighbours. `metric.with_bandwidth(choice.bandwidth)` applies it.

    Args:
        metric: centroids and covariances; its bandwidth is where the search is centred.
        validation_latents: embeddings that are not among the centroids, shape `(N, d)`, of any
            floating-point dtype; they are taken in the metric's precision.

    Raises:
        ValueError: for latents of another shape or device, or that are not finite.

    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> one = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0)
    >>> z = torch.tensor([[2.0, 0.0], [0.0, 2.0]])
    >>> round(choose_bandwidth(one, z).bandwidth, 3)  # for one centroid, ρ² is the mean square
    2.0
    """
    if not torch.is_tensor(validation_latents) or validation_latents.dim() != 2:
        raise ValueError("validation_latents: expected a tensor of shape (N, d)")
    if len(validation_latents) == 0 or not torch.isfinite(validation_latents).all():
        raise ValueError("validation_latents: expected at least one point, all finite")
    d = metric.dimension
    with torch.no_grad():
        squares = metric.squared_distances(validation_latents.to(metric.dtype))
        log_dets = metric.log_det_covariances()

    def mean_log_likelihood(log_rho: float) -> float:
        precision = log_dets.new_tensor(d * math.exp(-2 * log_rho))
        components = log_components(squares.clone(), log_dets, precision, d)
        return components.logsumexp(-1).mean().item()

    centre = math.log(metric.bandwidth.item())
    grid = centre + np.linspace(-math.log(_SPAN), math.log(_SPAN), _POINTS)
    curve = np.array([mean_log_likelihood(x) for x in grid])
    best = int(curve.argmax())
    bounds = grid[max(best - 1, 0)], grid[min(best + 1, _POINTS - 1)]
    found = minimize_scalar(lambda x: -mean_log_likelihood(x), bounds=bounds, method="bounded")
    return BandwidthChoice(math.exp(found.x), -found.fun, np.exp(grid), curve)

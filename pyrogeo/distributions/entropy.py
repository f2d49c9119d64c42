"""The entropy of a Gaussian mixture has no closed form; bounds from both sides have.

With pairs of components i and j, D(i‖j) a divergence and H(i) the entropies of the components,
H_D = Σᵢ H(i)/K − Σᵢ (1/K) log Σⱼ (1/K) e^{−D(i‖j)}: with Bhattacharyya's divergence a lower bound, with that of
Kullback and Leibler an upper one (Kolchinsky and Tracey). Both are right to rounding where components
coincide or lie far apart. A normal law of the mixture's covariance bounds from above too.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry import CentroidMetric

__all__ = ["EntropyBounds", "component_variances", "entropy_bounds"]

_NUMBERS = 2**21  # in a block: 16 MiB in float64


class EntropyBounds(NamedTuple):
    """What `GeometricMixture.entropy_bounds` found, in nats.

    Attributes:
        lower, upper: −∫ p log p dz lies between them.

    >>> print(EntropyBounds(2.1512, 2.3041))
    entropy between 2.1512 and 2.3041 nats
    """

    lower: float
    upper: float

    def __str__(self) -> str:
        return f"entropy between {self.lower:.4f} and {self.upper:.4f} nats"


@torch.no_grad()
def component_variances(metric: CentroidMetric) -> Tensor:
    """Of each coordinate under N(0, Σᵢ), shape `(K, d)`.

    Args:
        metric: with centroids.
    """
    total = torch.zeros_like(metric.centroids)
    index = torch.arange(len(total), device=total.device)
    for unit in torch.eye(metric.dimension).to(total):
        total += metric.unwhiten(index, unit.expand_as(total)).square()
    return total


@torch.no_grad()
def entropy_bounds(metric: CentroidMetric) -> EntropyBounds:
    """Bounds of the entropy of equal weights on N(cᵢ, (ρ²/d) Σᵢ).

    Args:
        metric: with centroids cᵢ, covariances Σᵢ and bandwidth ρ.
    """
    k, d = metric.centroids.shape
    width = (metric.bandwidth**2 / d).item()
    log_dets = metric.log_det_covariances() + d * math.log(width)
    inner = 0.5 * (d * (1 + math.log(2 * math.pi)) + log_dets.mean().item())
    covariances = width * _covariances(metric)
    below, above = (0.0, 0.0)
    for index in torch.arange(k, device=log_dets.device).split(_rows(metric)):
        below -= _overlap(_bhattacharyya(metric.centroids, covariances, index, log_dets))
        above -= _overlap(_kullback_leibler(metric, index, log_dets, width))
    upper = min(inner + above / k, _normal(metric.centroids, covariances))
    return EntropyBounds(min(inner + below / k, upper), upper)  # equal but for rounding, at most


def _overlap(divergence: Tensor) -> float:
    """Σᵢ log (1/K) Σⱼ e^{−D(i‖j)} for rows i, shape `(B, K)`."""
    return ((-divergence).logsumexp(-1) - math.log(divergence.shape[1])).sum().item()


def _rows(metric: CentroidMetric) -> int:
    k, d = metric.centroids.shape
    return max(1, _NUMBERS // (k * (d if _is_diagonal(metric) else d * d)))


def _is_diagonal(metric: CentroidMetric) -> bool:
    return metric.typical_factor().dim() == 1


def _bhattacharyya(
    centroids: Tensor, covariances: Tensor, index: Tensor, log_dets: Tensor
) -> Tensor:
    """⅛ Δᵀ S⁻¹ Δ + ½ log det S − ¼ (log det Sᵢ + log det Sⱼ), S = (Sᵢ + Sⱼ)/2, for rows i."""
    delta = centroids[index, None] - centroids
    half = 0.25 * (log_dets[index, None] + log_dets)
    mean = 0.5 * (covariances[index, None] + covariances)
    if covariances.dim() == 2:
        apart: Tensor = 0.125 * (delta**2 / mean).sum(-1) + 0.5 * mean.log().sum(-1) - half
        return apart
    root = torch.linalg.cholesky(mean)
    white = torch.linalg.solve_triangular(root, delta[..., None], upper=False)[..., 0]
    log_det = root.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    far: Tensor = 0.125 * white.square().sum(-1) + log_det - half
    return far


def _kullback_leibler(
    metric: CentroidMetric, index: Tensor, log_dets: Tensor, width: float
) -> Tensor:
    """½ (Eᵢ (z − cⱼ)ᵀ Sⱼ⁻¹ (z − cⱼ) − d + log det Sⱼ − log det Sᵢ) for rows i.

    The mean of a quadratic form under a normal law is that over 2 d points, cᵢ ± √d Lᵢ eₑ.
    """
    d = metric.dimension
    squares = torch.zeros(len(index), metric.n_centroids).to(log_dets)
    for unit in torch.eye(d).to(log_dets):
        step = math.sqrt(d * width) * metric.unwhiten(index, unit.expand(len(index), d))
        for points in (metric.centroids[index] + step, metric.centroids[index] - step):
            squares += metric.squared_distances(points) / (2 * d * width)
    return 0.5 * (squares - d + log_dets - log_dets[index, None])


def _normal(centroids: Tensor, covariances: Tensor) -> float:
    """The entropy of the normal law with the mixture's covariance, which no other exceeds."""
    z, within = centroids - centroids.mean(0), covariances.mean(0)
    spread = z.mT @ z / len(z) + (torch.diag(within) if within.dim() == 1 else within)
    log_det: float = torch.linalg.slogdet(spread).logabsdet.item()
    return 0.5 * (z.shape[1] * (1 + math.log(2 * math.pi)) + log_det)


def _covariances(metric: CentroidMetric) -> Tensor:
    """Σᵢ, shape `(K, d, d)`; of a diagonal metric the diagonals, `(K, d)`."""
    if _is_diagonal(metric):
        return component_variances(metric)
    k, d = metric.centroids.shape
    index = torch.arange(k, device=metric.centroids.device)
    units = torch.eye(d).to(metric.centroids)
    factors = torch.stack([metric.unwhiten(index, unit.expand(k, d)) for unit in units], -1)
    return factors @ factors.mT

"""The geometric mixture: what √det G becomes where centroids do not overlap."""

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrogeo.geometry import CentroidMetric

__all__ = ["GeometricMixture"]


class GeometricMixture(TorchDistribution):
    """Equal weights on N(cᵢ, (ρ²/d) Σᵢ): normalised, and sampled exactly.

    Near an isolated centroid G(z) ≈ Σᵢ⁻¹ ωᵢ(z), so √det G ∝ ωᵢ^{d/2}, a Gaussian of covariance
    (ρ²/d) Σᵢ, and of mass (2πρ²/d)^{d/2} whatever Σᵢ. Where the ωᵢ overlap and d > 2, the Riemannian
    uniform puts more mass on the crowd than this mixture does: (Σ ωᵢ)^{d/2} against Σ ωᵢ^{d/2}.

    Args:
        metric: a `CentroidMetric`; its λ and τ play no part.

    >>> metric = CentroidMetric.from_posterior(
    ...     torch.distributions.Normal(torch.eye(3).double(), torch.ones(3, 3).double()), None)
    >>> GeometricMixture(metric).log_prob(torch.zeros(3).double())
    tensor(-2.8986, dtype=torch.float64)
    """

    arg_constraints: ClassVar[dict] = {}
    support = constraints.real_vector

    def __init__(self, metric: CentroidMetric, validate_args: bool | None = None):
        if not isinstance(metric, CentroidMetric):
            raise ValueError(f"expected a CentroidMetric, got {type(metric)}")
        self.metric = metric
        super().__init__(event_shape=(metric.dimension,), validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        flat = value.reshape(-1, self.metric.dimension)
        total = self.metric.in_blocks(lambda z: self._log_components(z).logsumexp(-1), flat)
        return total.reshape(value.shape[:-1])

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient in closed form, for points `(B, d)`."""
        both = self.metric.in_blocks(self._value_and_grad, z)
        return both[:, 0], both[:, 1:]

    def _value_and_grad(self, z: Tensor) -> Tensor:
        components = self._log_components(z)
        value = components.logsumexp(-1, keepdim=True)
        pull = self.metric.weighted_displacements((components - value).exp(), z)
        return torch.cat([value, -self._inverse_width * pull], 1)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        metric, shape = self.metric, self._extended_shape(torch.Size(sample_shape))
        n = shape[:-1].numel()
        centroids = metric.centroids
        index = torch.randint(metric.n_centroids, (n,), device=centroids.device)
        noise = torch.randn(n, metric.dimension, dtype=centroids.dtype, device=centroids.device)
        z = centroids[index] + metric.unwhiten(index, noise) / self._inverse_width.sqrt()
        return z.reshape(shape)

    @property
    def _inverse_width(self) -> Tensor:
        return self.metric.dimension / self.metric.bandwidth**2

    def _log_components(self, z: Tensor) -> Tensor:
        """log of each component's share of the density, shape `(*, K)`."""
        metric, d = self.metric, self.metric.dimension
        log_norm = 0.5 * (
            d * (2 * math.pi / self._inverse_width).log() + metric.log_det_covariances()
        )
        exponent = -0.5 * self._inverse_width * metric.squared_distances(z)
        return exponent - log_norm - math.log(metric.n_centroids)

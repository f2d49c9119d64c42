"""The geometric mixture: what √det G becomes where centroids do not overlap."""

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrogeo.geometry import CentroidMetric

__all__ = ["GeometricMixture", "StartingLaw"]

_VACUUM_WEIGHT = (0.015, 0.985)  # bounds of the vacuum's share of p₀


class GeometricMixture(TorchDistribution):
    """Equal weights on N(cᵢ, (ρ²/d) Σᵢ): normalised, and sampled exactly.

    Near an isolated centroid G(z) ≈ Σᵢ⁻¹ ωᵢ(z), so √det G ∝ ωᵢ^{d/2}, a Gaussian of covariance
    (ρ²/d) Σᵢ, and of mass (2πρ²/d)^{d/2} whatever Σᵢ. Where the ωᵢ overlap and d > 2, the Riemannian
    uniform puts more mass on the crowd than this mixture does: (Σ ωᵢ)^{d/2} against Σ ωᵢ^{d/2}.

    Args:
        metric: a `CentroidMetric`; its λ and τ play no part.

    Raises:
        ValueError: for another metric.

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
        share = components.sub_(value).exp_()
        pull = self.metric.weighted_displacements(share, z)
        return torch.cat([value, -self._inverse_width * pull], 1)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        return self.draw(shape[:-1].numel()).reshape(shape)

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """`n` draws of shape `(n, d)` from a generator of one's own."""
        metric, centroids = self.metric, self.metric.centroids
        options = {"generator": generator, "device": centroids.device}
        index = torch.randint(metric.n_centroids, (n,), **options)
        noise = torch.randn(n, metric.dimension, dtype=centroids.dtype, **options)
        return centroids[index] + metric.unwhiten(index, noise) / self._inverse_width.sqrt()

    @property
    def _inverse_width(self) -> Tensor:
        return self.metric.dimension / self.metric.bandwidth**2

    def _log_components(self, z: Tensor) -> Tensor:
        """log of each component's share of the density, shape `(*, K)`."""
        metric, d = self.metric, self.metric.dimension
        log_norm = 0.5 * (
            d * (2 * math.pi / self._inverse_width).log() + metric.log_det_covariances()
        )
        exponent = metric.squared_distances(z).mul_(-0.5 * self._inverse_width)
        return exponent.sub_(log_norm + math.log(metric.n_centroids))


class StartingLaw:
    """p₀: the geometric mixture with a share of N(0, I/(τd)), the law of the vacuum.

    √det G itself where centroids are isolated; drawn exactly. Exact draws start in it, and chains
    jump with it.

    Args:
        metric: with τ > 0, or λ = 0.
        generator: of the draws; None takes torch's global state.
    """

    def __init__(self, metric: CentroidMetric, generator: torch.Generator | None = None):
        self.mixture, self.d = GeometricMixture(metric, validate_args=False), metric.dimension
        self.generator = generator
        self.vacuum_precision = metric.decay * self.d
        low, high = _VACUUM_WEIGHT
        odds = metric.log_vacuum_volume - metric.log_mixture_volume
        share = 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))
        self.weight = 0.0 if odds == -math.inf else min(max(share, low), high)

    def sample(self, n: int) -> Tensor:
        z = self.mixture.draw(n, self.generator)
        if self.weight == 0:
            return z
        options = {"generator": self.generator, "dtype": z.dtype, "device": z.device}
        vacuum = torch.randn(z.shape, **options) / self.vacuum_precision.sqrt()
        return torch.where(torch.rand(n, 1, **options) < self.weight, vacuum, z)

    def log_prob(self, z: Tensor) -> Tensor:
        return self._with_vacuum(self.mixture.log_prob(z), z)[0]

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        value, gradient = self.mixture.log_prob_and_grad(z)
        total, share = self._with_vacuum(value, z)
        return total, (1 - share) * gradient - share * self.vacuum_precision * z

    def _with_vacuum(self, mixture: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p₀, and the vacuum's share of it as a column."""
        if self.weight == 0:
            return mixture, torch.zeros_like(mixture)[:, None]
        log_norm = 0.5 * self.d * (2 * math.pi / self.vacuum_precision).log()
        vacuum = -0.5 * self.vacuum_precision * (z * z).sum(-1) - log_norm + math.log(self.weight)
        total = torch.logaddexp(mixture + math.log1p(-self.weight), vacuum)
        return total, (vacuum - total).exp()[:, None]

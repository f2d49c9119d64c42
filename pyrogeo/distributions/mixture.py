"""The geometric mixture: what √det G becomes where centroids do not overlap."""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Protocol, TypeGuard, runtime_checkable

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrogeo._checks import as_tensor
from pyrogeo._numbers import log_sum_exp
from pyrogeo.distributions.entropy import EntropyBounds, component_variances, entropy_bounds
from pyrogeo.geometry import CentroidMetric
from pyrogeo.geometry.precision import floating_point, in_precision_of_the_metric

__all__ = ["GeometricMixture", "HasCentroids", "StartingLaw", "has_centroids", "log_components"]

_VACUUM_WEIGHT = (0.015, 0.985)  # bounds of the vacuum's share of p₀


@runtime_checkable
class HasCentroids(Protocol):
    """What the mixture asks of a metric: centroids with covariances, as a `CentroidMetric` has them.

    >>> from pyrogeo.geometry import Euclidean
    >>> isinstance(Euclidean(), HasCentroids)
    False
    """

    def squared_distances(self, z: Tensor) -> Tensor:
        """(z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ), shape `(*, K)`."""

    def weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        """Σᵢ wᵢ Σᵢ⁻¹ (z − cᵢ), shape `(B, d)`."""

    def log_det_covariances(self) -> Tensor:
        """log det Σᵢ, shape `(K,)`."""

    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        """Lᵢ ε with Lᵢ Lᵢᵀ = Σᵢ, shape `(B, d)`."""

    def typical_factor(self) -> Tensor:
        """A typical Lᵢ: a vector `(d,)` of standard deviations, or a matrix `(d, d)`."""


def has_centroids(metric: Any) -> TypeGuard[CentroidMetric]:
    """Whether a metric can do what the mixture asks; its numbers are taken to be there then.

    Numbers are often buffers of a module, which from Python 3.12 on an instance check does not see.

    >>> from pyrogeo.geometry import Euclidean
    >>> has_centroids(Euclidean())
    False
    """
    return isinstance(metric, HasCentroids)


class GeometricMixture(TorchDistribution):
    """Equal weights on N(cᵢ, (ρ²/d) Σᵢ): normalised, and sampled exactly.

    Near an isolated centroid G(z) ≈ Σᵢ⁻¹ ωᵢ(z), so √det G ∝ ωᵢ^{d/2}, a Gaussian of covariance
    (ρ²/d) Σᵢ, and of mass (2πρ²/d)^{d/2} whatever Σᵢ. Where the ωᵢ overlap and d > 2, the Riemannian
    uniform puts more mass on the crowd than this mixture does: (Σ ωᵢ)^{d/2} against Σ ωᵢ^{d/2}.

    It is computed in the metric's precision; `log_prob` comes back in the points' own.

    Args:
        metric: a `CentroidMetric`; its λ and τ play no part.
        dtype: of draws and `log_prob`; None takes the metric's for draws and the points' for `log_prob`.

    Raises:
        ValueError: for another metric, or a dtype that is not floating-point.

    >>> metric = CentroidMetric.from_posterior(
    ...     torch.distributions.Normal(torch.eye(3).double(), torch.ones(3, 3).double()), None)
    >>> GeometricMixture(metric).log_prob(torch.zeros(3).double())
    tensor(-2.8986, dtype=torch.float64)
    >>> GeometricMixture(metric).entropy_bounds()
    EntropyBounds(lower=3.88..., upper=4.05...)
    >>> GeometricMixture(metric, dtype=torch.float32).sample().dtype
    torch.float32
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(
        self,
        metric: CentroidMetric,
        validate_args: bool | None = None,
        *,
        dtype: torch.dtype | None = None,
    ):
        if not has_centroids(metric):
            raise ValueError(f"expected a CentroidMetric, got {type(metric)}")
        self.metric, self.dtype = metric, floating_point("dtype", dtype)
        super().__init__(event_shape=torch.Size((metric.dimension,)), validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        value = as_tensor("value", value)
        if self._validate_args:
            self._validate_sample(value)
        flat = value.reshape(-1, self.metric.dimension)
        total = in_precision_of_the_metric(lambda _, z: self._log_prob(z))(self.metric, flat)
        return total.reshape(value.shape[:-1]).to(self.dtype or value.dtype)

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient in closed form, for points `(B, d)` and in their dtype."""
        blocks = in_precision_of_the_metric(lambda m, z: m.in_blocks(self._value_and_grad, z))
        both = blocks(self.metric, z)
        return both[:, 0], both[:, 1:]

    def component(self, z: Tensor) -> Tensor:
        """Index of the component that each of the points `(B, d)` most likely belongs to, shape `(B,)`."""
        z = z.to(self.metric.centroids.dtype)
        return self.metric.in_blocks(lambda block: self._log_components(block).argmax(-1), z)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        metric, centroids, n = self.metric, self.metric.centroids, shape[:-1].numel()
        index = torch.randint(metric.n_centroids, (n,), device=centroids.device)
        noise = torch.randn(n, metric.dimension, dtype=centroids.dtype, device=centroids.device)
        z = centroids[index] + metric.unwhiten(index, noise) / self._inverse_width.sqrt()
        return self._cast(z).reshape(shape)

    @property
    def mean(self) -> Tensor:
        """Σᵢ cᵢ/K, shape `(d,)`."""
        return self._cast(self.metric.centroids.mean(0))

    @property
    def variance(self) -> Tensor:
        """Of each coordinate, within components and between them, shape `(d,)`."""
        within = component_variances(self.metric).mean(0) / self._inverse_width
        return self._cast(within + self.metric.centroids.var(0, correction=0))

    def entropy_bounds(self) -> EntropyBounds:
        """Bounds of the entropy, which has no closed form itself.

        They cost K² divergences between components, in blocks.

        Source: Kolchinsky, Tracey, *Estimating mixture entropy with pairwise distances*, 2017.
        """
        return entropy_bounds(self.metric)

    def _cast(self, z: Tensor) -> Tensor:
        return z.to(self.dtype or z.dtype)

    @property
    def _inverse_width(self) -> Tensor:
        return self.metric.dimension / self.metric.bandwidth**2

    def _log_prob(self, z: Tensor) -> Tensor:
        return self.metric.in_blocks(lambda block: log_sum_exp(self._log_components(block)), z)

    def _value_and_grad(self, z: Tensor) -> Tensor:
        components = self._log_components(z)
        value = components.logsumexp(-1, keepdim=True)
        share = components.sub_(value.masked_fill(value == -torch.inf, 0.0)).exp_()
        pull = self.metric.weighted_displacements(share, z)
        return torch.cat([value, -self._inverse_width * pull], 1)

    def _log_components(self, z: Tensor) -> Tensor:
        log_dets = self.metric.log_det_covariances()
        return log_components(
            self.metric.squared_distances(z), log_dets, self._inverse_width, self.metric.dimension
        )


def log_components(squares: Tensor, log_dets: Tensor, precision: Tensor, d: int) -> Tensor:
    """log (1/K) N(z; cᵢ, Σᵢ/precision): each component's share of the mixture's density.

    Args:
        squares: (z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ), shape `(*, K)`, which the result is written to.
        log_dets: log det Σᵢ, shape `(K,)`.
        precision: d/ρ², a tensor of no dimensions.
        d: number of dimensions.

    Returns:
        shape `(*, K)`.

    >>> one = torch.tensor(1.0)
    >>> log_components(torch.zeros(1), torch.zeros(1), one, 2)  # of N(0, I) at 0 in the plane
    tensor([-1.8379])
    """
    log_norm = 0.5 * (d * (2 * math.pi / precision).log() + log_dets)
    return squares.mul_(-0.5 * precision).sub_(log_norm + math.log(len(log_dets)))


class StartingLaw:
    """p₀: the geometric mixture with a share of N(0, I/(τd)), the law of the vacuum.

    √det G itself where centroids are isolated; drawn exactly. It is the `Proposal` that a
    `CentroidMetric` brings: exact draws start in it, and chains jump with it. With τ = 0, where the
    vacuum has no law, it is the mixture alone.

    Args:
        metric: a `CentroidMetric`.

    Attributes:
        weight: the vacuum's share.
        scale: a mode's standard deviations, their geometric mean over the centroids, as a vector; or for
            full covariances the Cholesky factor of their mean, as a matrix.

    >>> posterior = torch.distributions.Normal(torch.eye(2).double(), torch.ones(2, 2).double())
    >>> law = StartingLaw(CentroidMetric.from_posterior(posterior, None))
    >>> law.sample(5).shape, law.weight, law.scale
    (torch.Size([5, 2]), 0.015, tensor([1., 1.], dtype=torch.float64))
    """

    #: what makes exact draws long in coming, as a warning says it
    why_hard = "centroids overlap so strongly"

    def __init__(self, metric: CentroidMetric):
        self.mixture, self.d = GeometricMixture(metric, validate_args=False), metric.dimension
        self.vacuum_precision = metric.decay * self.d
        low, high = _VACUUM_WEIGHT
        odds = metric.log_vacuum_volume - metric.log_mixture_volume
        share = 1 / (1 + math.exp(-min(max(odds, -50.0), 50.0)))
        self.scale = metric.bandwidth / math.sqrt(self.d) * metric.typical_factor()
        self.weight = 0.0 if math.isinf(odds) else min(max(share, low), high)

    def sample(self, n: int) -> Tensor:
        """`n` draws of shape `(n, d)`, from torch's global generator."""
        z = self.mixture.sample((n,))
        if self.weight == 0:
            return z
        vacuum = torch.randn_like(z) / self.vacuum_precision.sqrt()
        chosen = torch.rand(n, 1, dtype=z.dtype, device=z.device) < self.weight
        return torch.where(chosen, vacuum, z)

    def log_prob(self, z: Tensor) -> Tensor:
        """log p₀ at points `(n, d)`, shape `(n,)`."""
        return self._with_vacuum(self.mixture.log_prob(z), z)[0]

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log p₀ and its gradient in closed form, of shapes `(n,)` and `(n, d)`."""
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
        known = total.masked_fill(total == -torch.inf, 0.0)
        return total, (vacuum - known).exp()[:, None]

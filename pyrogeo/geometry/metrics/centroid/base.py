"""The metric of a VAE's posteriors (slides, Eq. 4 and Algorithm 1).

G(z) = Σᵢ Σᵢ⁻¹ ωᵢ(z) + λ e^{−τ‖z‖²} I,   ωᵢ(z) = exp(−(z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) / ρ²).

Everything is computed relative to the largest of log ωᵢ(z) and log λ − τ‖z‖², point by point, so
that nothing under- or overflows however far z lies from the data. Distances come from matrix
products with z and cᵢ taken from the centroids' mean. For diagonal covariances the rounding error of a
squared distance is then at most about `4 ε Σₑ sᵢₑ (|zₑ| + |cᵢₑ|)²` with sᵢ the precisions and ε the
machine epsilon: with float32, centroids 3 units from their mean and σ = 0.03 some hundredths, with
float64 nothing. For full covariances it also grows with their condition number; very large ones warn.
"""

import math
import os
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo._checks import not_negative, positive
from pyrogeo._numbers import is_far_out
from pyrogeo.geometry.checks import check_points
from pyrogeo.geometry.kmedoids import MedoidEstimator, default_bandwidth
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.centroid.build import chosen_centroids
from pyrogeo.geometry.metrics.centroid.kept import read_metric, write_metric
from pyrogeo.geometry.metrics.centroid.volumes import log_mixture_volume, proper_decay
from pyrogeo.geometry.precision import hold_, in_precision_of_the_metric

__all__ = ["CentroidMetric"]

_RAY = 128  # points of the quadrature to infinity
_BLOCK = 2**19  # numbers in a (points × centroids) block: 4 MiB in float64, what a cache holds
_LEAST_ROWS = 64  # of a block, below which the products no longer pay for reading the centroids


class CentroidMetric(Metric):
    """Base of `DiagonalCentroidMetric` and `FullCentroidMetric`; made by `from_posterior`.

    Attributes:
        centroids: cᵢ, shape `(K, d)`.
        bandwidth: ρ, which a distance measured in posterior standard deviations is compared with.
        regularization: λ.
        decay: τ.

    Raises:
        ValueError: for centroids of another shape or not finite, and settings out of range.

    >>> from torch.distributions import Normal
    >>> metric = CentroidMetric.from_posterior(Normal(torch.eye(2), torch.ones(2, 2)), None)
    >>> metric.n_centroids, metric.bandwidth  # the medoids are √2 apart
    (2, tensor(1.4142, dtype=torch.float64))
    """

    # The class for full covariances and the one for diagonal ones, which name themselves.
    _kinds: ClassVar[dict[bool, Callable[..., "CentroidMetric"]]] = {}

    centroids: Tensor
    bandwidth: Tensor
    regularization: Tensor
    decay: Tensor

    def __init_subclass__(cls, full: bool | None = None, **options: Any):
        super().__init_subclass__(**options)
        if full is not None:
            CentroidMetric._kinds[full] = cls

    def __init__(
        self,
        centroids: Tensor,
        bandwidth: float | None,
        regularization: float,
        decay: float | None,
    ):
        super().__init__()
        check_points("centroids", centroids)
        self.register_buffer("centroids", centroids.detach().clone())
        if bandwidth is None:
            bandwidth = default_bandwidth(centroids.detach().cpu().double().numpy())
        bandwidth = positive("bandwidth ρ", bandwidth)
        regularization = not_negative("regularization λ", regularization)
        if decay is None:
            k, d = centroids.shape
            decay = proper_decay(k, d, bandwidth, regularization)
        decay = not_negative("decay τ", decay)
        numbers = {"bandwidth": bandwidth, "regularization": regularization, "decay": decay}
        for name, value in numbers.items():
            self.register_buffer(name, centroids.new_tensor(value))

    @classmethod
    def from_posterior(
        cls,
        posterior: Distribution,
        n_centroids: int | None = 100,
        bandwidth: float | None = None,
        regularization: float = 0.01,
        decay: float | None = None,
        estimator: MedoidEstimator | None = None,
        init: str = "k-medoids++",
        seed: int | None = 0,
        dtype: torch.dtype = torch.float64,
        covariance: str = "posterior",
        n_neighbors: int = 30,
    ) -> "CentroidMetric":
        """Algorithm 1: centroids among the posterior means, with their covariances.

        Args:
            posterior: a torch or Pyro distribution over N latent points: `Normal` of batch shape
                `(N, d)`, or batch shape `(N,)` and event shape `(d,)`: `Independent` (its mean and
                variance), `MultivariateNormal` or `LowRankMultivariateNormal` (its covariance), or a
                point mass, such as Pyro's `Delta`, with `covariance="local"`. The posterior of a
                deterministic encoder can also be given, as `MultivariateNormal(means, covariances)`, say
                with `laplace_covariances` of its decoder.
            n_centroids: K, or None for all N points.
            bandwidth: ρ; None takes the paper's maxᵢ min_{j≠i} ‖cᵢ − cⱼ‖.
            regularization: λ.
            decay: τ; None takes the one for which the λ term holds at most 1% of the volume.
            estimator: selects the centroids instead of the built-in `KMedoids`: `fit(X)` and then
                `medoid_indices_`, as `sklearn_extra.cluster.KMedoids` and `CLARA` have.
            init, seed: of the built-in `KMedoids`.
            dtype: of the metric. In float32, see the bound in this module's docstring.
            covariance: `"posterior"` takes the posterior's Σᵢ; `"local"` adds to it the scatter of the
                nearest embeddings around their mean, a full covariance that follows the data.
            n_neighbors: embeddings that make a local scatter.

        Returns:
            a `DiagonalCentroidMetric`, or a `FullCentroidMetric` for multivariate normals.

        Raises:
            ValueError: for anything else, non-finite moments, more centroids than points, and
                settings out of range.

        Source: Chadebec, Allassonnière, *A geometric perspective on variational autoencoders*,
        NeurIPS 2022.

        >>> from torch.distributions import Normal
        >>> means = torch.cartesian_prod(torch.arange(5.0), torch.arange(5.0))
        >>> posterior = Normal(means, torch.full((25, 2), 0.1))
        >>> CentroidMetric.from_posterior(posterior, n_centroids=25)
        DiagonalCentroidMetric(K=25, d=2, bandwidth=1, regularization=0.01, decay=0.04)
        """
        loc, spread, is_full = chosen_centroids(
            posterior, n_centroids, estimator, init, seed, dtype, covariance, n_neighbors
        )
        return cls._kinds[is_full](loc, spread, bandwidth, regularization, decay)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes the metric to a safetensors file, replacing it if it exists."""
        write_metric(path, self.state_dict(), type(self).__name__)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "CentroidMetric":
        """The metric that `save` wrote, diagonal or full.

        Raises:
            BrokenFileError: for a file that is missing, truncated, foreign or of a newer format.
        """
        return read_metric(path, cls._kinds.values())

    def with_bandwidth(self, bandwidth: float, decay: float | None = None) -> Self:
        """The same centroids and covariances with another ρ, and by default the τ that fits it."""
        parts: dict[str, Any] = {k: v for k, v in self.state_dict().items() if v.dim() > 0}
        regularization = self.regularization.item()
        return type(self)(**parts, bandwidth=bandwidth, regularization=regularization, decay=decay)

    def copy(self, dtype: torch.dtype | None = None) -> Self:
        made = super().copy(dtype)
        if torch.finfo(made.centroids.dtype).bits > torch.finfo(self.centroids.dtype).bits:
            made._derive()  # to all digits that there are now
        return made

    def a_tensor(self) -> Tensor:
        return self.centroids

    @property
    def n_centroids(self) -> int:
        """The number of centroids, K."""
        return self.centroids.shape[0]

    @property
    def dimension(self) -> int:
        """The number of dimensions, d."""
        return self.centroids.shape[1]

    def extra_repr(self) -> str:
        return (
            f"K={self.n_centroids}, d={self.dimension}, bandwidth={self.bandwidth:.4g}, "
            f"regularization={self.regularization:.4g}, decay={self.decay:.4g}"
        )

    @property
    def log_mixture_volume(self) -> float:
        """log V with V = K (2πρ²/d)^{d/2}: the volume of K isolated centroids (design law)."""
        return log_mixture_volume(self.n_centroids, self.dimension, self.bandwidth.item())

    @property
    def log_vacuum_volume(self) -> float:
        """log W with W = (2πλ/(τd))^{d/2}: the volume of the λ term alone; infinite where τ = 0."""
        lam, tau, d = self.regularization.item(), self.decay.item(), self.dimension
        if lam == 0:
            return -math.inf
        return math.inf if tau == 0 else d / 2 * math.log(2 * math.pi * lam / (tau * d))

    @in_precision_of_the_metric
    def squared_distances(self, z: Tensor) -> Tensor:
        """(z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) of points `(*, d)` to all centroids, shape `(*, K)`."""
        z = self._checked(z)
        return self._distances(z.reshape(-1, self.dimension)).reshape(*z.shape[:-1], -1)

    @in_precision_of_the_metric
    def weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        """Σᵢ wᵢ Σᵢ⁻¹ (z − cᵢ) for weights `(B, K)` and points `(B, d)`, shape `(B, d)`.

        Half the gradient of Σᵢ wᵢ (z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) with the weights held fixed.
        """
        return self._weighted_displacements(weights, self._checked(z))

    @abstractmethod
    def log_det_covariances(self) -> Tensor:
        """log det Σᵢ, shape `(K,)`."""

    @abstractmethod
    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        """Lᵢ ε with Lᵢ Lᵢᵀ = Σᵢ, for indices `(B,)` and noise `(B, d)`, shape `(B, d)`."""

    @abstractmethod
    def typical_factor(self) -> Tensor:
        """A typical Lᵢ.

        Standard deviations `(d,)`, in the geometric mean over the centroids, or the Cholesky factor
        `(d, d)` of the mean covariance.
        """

    def log_volume_element(self, z: Tensor) -> Tensor:
        z = self._checked(z)
        flat = z.reshape(-1, self.dimension)
        # Autograd keeps every block anyway, so cutting it up would only cost time.
        if torch.is_grad_enabled() and z.requires_grad:
            return self._log_volume(flat).reshape(z.shape[:-1])
        return self.in_blocks(self._log_volume, flat).reshape(z.shape[:-1])

    def log_volume_element_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = self._checked(z.detach())
        with torch.no_grad():
            flat = z.reshape(-1, self.dimension)
            both = self.in_blocks(lambda block: torch.cat(self._volume_and_grad(block), 1), flat)
        return both[:, 0].reshape(z.shape[:-1]), both[:, 1:].reshape(z.shape)

    def distance_to_infinity(self, z: Tensor) -> Tensor:
        """The length of the ray from z away from the origin, an upper bound of the distance.

        Finite for τ > 0; √(λπ/(2τ)) from the origin if there are no centroids.
        """
        z, tau, lam = self._checked(z), self.decay.item(), self.regularization.item()
        if tau == 0 and lam > 0:
            return torch.full_like(z[..., 0], torch.inf)
        widest = (0.5 * self.log_det_covariances().max() / self.dimension).exp()
        reach = (10 * self.bandwidth * widest).item()
        reach = max(reach, 10 * tau**-0.5 if tau > 0 else 0.0)
        reach += 2 * self.centroids.norm(dim=-1).max().item()
        # Steps grow with the distance, as the metric's features do.
        u = (torch.arange(_RAY, dtype=z.dtype, device=z.device) + 0.5) / _RAY
        s, ds = reach * u**3, 3 * reach * u**2 / _RAY

        def length(start: Tensor) -> Tensor:
            outward = torch.nn.functional.normalize(start, dim=-1)
            outward = torch.where(start.any(-1, keepdim=True), outward, self.dimension**-0.5)
            ray = start[:, None] + s[:, None] * outward[:, None]
            total: Tensor = (self.norm(ray, outward[:, None].expand_as(ray)) * ds).sum(-1)
            return total

        flat = z.reshape(-1, self.dimension)
        return torch.cat([length(part) for part in flat.split(_LEAST_ROWS)]).reshape(z.shape[:-1])

    def in_blocks(self, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        """Applies a function of points to at most some 2¹⁹ / K of them at a time."""
        rows = max(_LEAST_ROWS, _BLOCK // max(self.n_centroids, self.dimension**2))
        if len(z) <= rows:
            return function(z)
        first = function(z[:rows])
        # Written to one tensor: small results that outlive the large temporaries of each block leave
        # holes in the memory that the next block's do not fit into.
        results = first.new_empty(len(z), *first.shape[1:])
        results[:rows] = first
        for start in range(rows, len(z), rows):
            results[start : start + rows] = function(z[start : start + rows])
        return results

    def _weights(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ω and the vacuum λ e^{−τ‖z‖²}, both divided by e^shift, and the shift: (B, K), (B, 1), (B, 1).

        None is subnormal; where e^shift is wanted, what the products give is multiplied by it.
        """
        log_omega = self._distances(z).div_(-(self.bandwidth**2))
        square = (z * z).sum(-1, keepdim=True)
        # Where squares overflow λ still counts for τ = 0, and ∞ times zero is no number.
        log_vacuum = self.regularization.log() - torch.where(self.decay > 0, self.decay * square, 0)
        with torch.no_grad():
            shift = torch.maximum(log_omega.amax(-1, keepdim=True), log_vacuum)
            above = shift.masked_fill(shift == -torch.inf, 0.0)
        # In place, as a fresh (B, K) tensor costs more than what is written into it.
        omega, vacuum = hold_(log_omega.sub_(above)).exp_(), hold_(log_vacuum - above).exp()
        return omega, vacuum * (self.regularization > 0), shift

    def _distances(self, z: Tensor) -> Tensor:
        """`_squared_distances`, infinite where squares overflow."""
        far = is_far_out(z)
        if not far.any():
            return self._squared_distances(z)
        near = z.masked_fill(far[:, None], 0.0)
        return self._squared_distances(near).masked_fill(far[:, None], torch.inf)

    def _checked(self, z: Tensor) -> Tensor:
        if not torch.is_tensor(z) or z.shape[-1:] != (self.dimension,):
            got = tuple(z.shape) if torch.is_tensor(z) else type(z)
            raise ValueError(f"expected latent points of shape (*, {self.dimension}), got {got}")
        return z

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._derive()

    @abstractmethod
    def _derive(self) -> None:
        """Precomputes what the products need, as buffers that are not saved."""

    @abstractmethod
    def _squared_distances(self, z: Tensor) -> Tensor:
        """Shape (B, K), a tensor that the caller may write to."""

    @abstractmethod
    def _weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_volume(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Closed forms, of shapes (B, 1) and (B, d)."""


def clipped(squared_distances: Tensor) -> Tensor:
    """Without the tiny negatives that rounding leaves; cutting them off must not cut the gradient off."""
    if torch.is_grad_enabled():
        return squared_distances - squared_distances.detach().clamp(max=0)
    return squared_distances.clamp_(min=0)

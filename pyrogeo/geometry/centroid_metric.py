"""The metric of a VAE's posteriors (slides, Eq. 4 and Algorithm 1).

G(z) = Σᵢ Σᵢ⁻¹ ωᵢ(z) + λ e^{−τ‖z‖²} I,   ωᵢ(z) = exp(−(z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) / ρ²).

Everything is computed relative to the largest of log ωᵢ(z) and log λ − τ‖z‖², point by point, so
that nothing under- or overflows however far z lies from the data. Distances come from matrix
products with z and cᵢ taken from the centroids' mean. The rounding error of a squared distance is
then at most about `4 ε Σₑ sᵢₑ (|zₑ| + |cᵢₑ|)²` with sᵢ the precisions and ε the machine epsilon: with
float32, centroids 3 units from their mean and σ = 0.03 some hundredths, with float64 nothing.
"""

import math
from abc import abstractmethod
from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal

from pyrogeo.geometry import centroids as medoids
from pyrogeo.geometry.metric import Metric

__all__ = ["CentroidMetric", "DiagonalCentroidMetric", "FullCentroidMetric"]

VACUUM_FRACTION = 0.01  # what decay=None leaves to the λ term, at most
_BUDGET = 2**24  # numbers in a (points × centroids) block: 128 MiB in float64


class CentroidMetric(Metric):
    """Base of `DiagonalCentroidMetric` and `FullCentroidMetric`; made by `from_posterior`.

    Attributes:
        centroids: cᵢ, shape `(K, d)`.
        bandwidth: ρ, in the units of the latent space times those of a standardised distance.
        regularization: λ.
        decay: τ.
    """

    centroids: Tensor
    bandwidth: Tensor
    regularization: Tensor
    decay: Tensor

    def __init__(
        self,
        centroids: Tensor,
        bandwidth: float | None,
        regularization: float,
        decay: float | None,
    ):
        super().__init__()
        _check_points("centroids", centroids, 2)
        self.register_buffer("centroids", centroids.detach().clone())
        if bandwidth is None:
            bandwidth = medoids.default_bandwidth(centroids.detach().cpu().double().numpy())
        if not 0 < bandwidth < math.inf:
            raise ValueError(f"bandwidth ρ must be positive and finite, got {bandwidth}")
        if not 0 <= regularization < math.inf:
            raise ValueError(f"regularization λ must be finite and not negative, got {regularization}")
        if decay is None:
            decay = _proper_decay(*centroids.shape, float(bandwidth), float(regularization))
        if not 0 <= decay < math.inf:
            raise ValueError(f"decay τ must be finite and not negative, got {decay}")
        for name, value in [
            ("bandwidth", bandwidth),
            ("regularization", regularization),
            ("decay", decay),
        ]:
            self.register_buffer(name, centroids.new_tensor(float(value)))

    @classmethod
    def from_posterior(
        cls,
        posterior: Distribution,
        n_centroids: int | None = 100,
        bandwidth: float | None = None,
        regularization: float = 0.01,
        decay: float | None = None,
        estimator: medoids.MedoidEstimator | None = None,
        init: str = "k-medoids++",
        seed: int | None = 0,
        dtype: torch.dtype = torch.float64,
    ) -> "CentroidMetric":
        """Algorithm 1: centroids among the posterior means, with their covariances.

        Args:
            posterior: a torch or Pyro distribution over N latent points: `Normal` of batch shape
                `(N, d)`, or batch shape `(N,)` and event shape `(d,)`: `Independent` (its mean and
                variance), `MultivariateNormal` or `LowRankMultivariateNormal` (its covariance).
            n_centroids: K, or None for all N points.
            bandwidth: ρ; None takes the paper's maxᵢ min_{j≠i} ‖cᵢ − cⱼ‖.
            regularization: λ.
            decay: τ; None takes the one for which the λ term holds at most 1% of the volume.
            estimator: selects the centroids instead of the built-in `KMedoids`: `fit(X)` and then
                `medoid_indices_`, as `sklearn_extra.cluster.KMedoids` and `CLARA` have.
            init, seed: of the built-in `KMedoids`.
            dtype: of the metric. In float32, see the bound in this module's docstring.

        Returns:
            a `DiagonalCentroidMetric`, or a `FullCentroidMetric` for multivariate normals.

        Raises:
            ValueError: for anything else, non-finite moments, more centroids than points, and
                settings out of range.

        Source: Chadebec, Allassonnière, *A geometric perspective on variational autoencoders*,
        NeurIPS 2022.

        >>> from torch.distributions import Normal
        >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
        <torch._C.Generator ...>
        >>> posterior = Normal(torch.randn(50, 2), torch.full((50, 2), 0.1))
        >>> CentroidMetric.from_posterior(posterior, n_centroids=10)
        DiagonalCentroidMetric(K=10, d=2, bandwidth=0.7953, regularization=0.01, decay=0.1573)
        """
        loc, spread, kind = _moments(posterior)
        _check_points("posterior means", loc, 2)
        points = loc.detach().cpu().double().numpy()
        index = medoids.select(points, n_centroids, estimator, init, seed)
        index = torch.as_tensor(index, device=loc.device)
        return kind(
            loc[index].to(dtype), spread[index].to(dtype), bandwidth, regularization, decay
        )

    @property
    def n_centroids(self) -> int:
        """K."""
        return self.centroids.shape[0]

    @property
    def dimension(self) -> int:
        """d."""
        return self.centroids.shape[1]

    def extra_repr(self) -> str:
        return (
            f"K={self.n_centroids}, d={self.dimension}, bandwidth={self.bandwidth:.4g}, "
            f"regularization={self.regularization:.4g}, decay={self.decay:.4g}"
        )

    @property
    def log_mixture_volume(self) -> float:
        """log V with V = K (2πρ²/d)^{d/2}: the volume of K isolated centroids (design law)."""
        return _log_mixture_volume(*self.centroids.shape, self.bandwidth.item())

    @property
    def log_vacuum_volume(self) -> float:
        """log W with W = (2πλ/(τd))^{d/2}: the volume of the λ term alone; infinite where τ = 0."""
        lam, tau, d = self.regularization.item(), self.decay.item(), self.dimension
        if lam == 0:
            return -math.inf
        return math.inf if tau == 0 else d / 2 * math.log(2 * math.pi * lam / (tau * d))

    def squared_distances(self, z: Tensor) -> Tensor:
        """(z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) of points `(*, d)` to all centroids, shape `(*, K)`."""
        z = self._checked(z)
        return self._squared_distances(z.reshape(-1, self.dimension)).reshape(*z.shape[:-1], -1)

    def weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        """Σᵢ wᵢ Σᵢ⁻¹ (z − cᵢ) for weights `(B, K)` and points `(B, d)`, shape `(B, d)`: half the
        gradient of Σᵢ wᵢ (z − cᵢ)ᵀ Σᵢ⁻¹ (z − cᵢ) with the weights held fixed."""
        return self._weighted_displacements(weights, self._checked(z))

    @abstractmethod
    def log_det_covariances(self) -> Tensor:
        """log det Σᵢ, shape `(K,)`."""

    @abstractmethod
    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        """Lᵢ ε with Lᵢ Lᵢᵀ = Σᵢ, for indices `(B,)` and noise `(B, d)`, shape `(B, d)`."""

    def log_volume_element(self, z: Tensor) -> Tensor:
        z = self._checked(z)
        flat = z.reshape(-1, self.dimension)
        # Autograd keeps every block anyway, so cutting it up would only cost time.
        if torch.is_grad_enabled() and z.requires_grad:
            return self._log_volume(flat).reshape(z.shape[:-1])
        return self._in_blocks(self._log_volume, flat).reshape(z.shape[:-1])

    def log_volume_element_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        z = self._checked(z.detach())
        with torch.no_grad():
            flat = z.reshape(-1, self.dimension)
            both = self._in_blocks(lambda block: torch.cat(self._volume_and_grad(block), 1), flat)
        return both[:, 0].reshape(z.shape[:-1]), both[:, 1:].reshape(z.shape)

    def _in_blocks(self, function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
        rows = max(1, _BUDGET // max(self.n_centroids, self.dimension**2))
        if len(z) <= rows:
            return function(z)
        return torch.cat([function(block) for block in z.split(rows)])

    def _weights(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """ω and the vacuum λ e^{−τ‖z‖²}, both divided by e^shift, and the shift: (B, K), (B, 1), (B, 1)."""
        log_omega = self._squared_distances(z) / -(self.bandwidth**2)
        log_vacuum = self.regularization.log() - self.decay * (z * z).sum(-1, keepdim=True)
        shift = torch.maximum(log_omega.amax(-1, keepdim=True), log_vacuum).detach()
        return (log_omega - shift).exp(), (log_vacuum - shift).exp(), shift

    def _checked(self, z: Tensor) -> Tensor:
        if not torch.is_tensor(z) or z.shape[-1:] != (self.dimension,):
            got = tuple(z.shape) if torch.is_tensor(z) else type(z)
            raise ValueError(f"expected latent points of shape (*, {self.dimension}), got {got}")
        if z.dtype != self.centroids.dtype or z.device != self.centroids.device:
            raise ValueError(
                f"the metric is {self.centroids.dtype} on {self.centroids.device}, the points are "
                f"{z.dtype} on {z.device}; use metric.to(...) or z.to(...)"
            )
        return z

    def _load_from_state_dict(self, *args, **kwargs) -> None:
        super()._load_from_state_dict(*args, **kwargs)
        self._derive()

    @abstractmethod
    def _derive(self) -> None:
        """Precomputes what the products need, as buffers that are not saved."""

    @abstractmethod
    def _squared_distances(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _log_volume(self, z: Tensor) -> Tensor: ...

    @abstractmethod
    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Closed forms, of shapes (B, 1) and (B, d)."""


class DiagonalCentroidMetric(CentroidMetric):
    """Diagonal covariances: G(z) = diag g(z), gₑ = Σᵢ sᵢₑ ωᵢ + λ e^{−τ‖z‖²}, sᵢ = 1/σᵢ².

    With wₑ = 1/gₑ and νᵢ = ωᵢ Σₑ wₑ sᵢₑ,
    ∇ ½ log det G = −ρ⁻² Σᵢ νᵢ sᵢ∘(z − cᵢ) − τ λ e^{−τ‖z‖²} (Σₑ wₑ) z.

    Args:
        centroids: cᵢ, shape `(K, d)`.
        variances: σᵢ², shape `(K, d)`, positive.
        bandwidth, regularization, decay: ρ, λ, τ, as in `CentroidMetric.from_posterior`.
    """

    variances: Tensor

    def __init__(
        self,
        centroids: Tensor,
        variances: Tensor,
        bandwidth: float | None = None,
        regularization: float = 0.01,
        decay: float | None = None,
    ):
        super().__init__(centroids, bandwidth, regularization, decay)
        _check_like(centroids, "variances", variances, tuple(centroids.shape))
        if not (variances > 0).all():
            raise ValueError(f"variances must be positive, got {variances.min().item()}")
        self.register_buffer("variances", variances.detach().clone())
        self._derive()

    def _derive(self) -> None:
        centre = self.centroids.mean(0)
        s, c = 1 / self.variances, self.centroids - centre
        self.register_buffer("_centre", centre, persistent=False)
        self.register_buffer("_products", torch.cat([s, s * c], 1), persistent=False)
        self.register_buffer("_constant", (s * c * c).sum(-1), persistent=False)

    @property
    def _precisions(self) -> Tensor:
        return self._products[:, : self.dimension]

    def _squared_distances(self, z: Tensor) -> Tensor:
        z = z - self._centre
        q = torch.addmm(self._constant, torch.cat([z * z, -2 * z], 1), self._products.T)
        # Rounding can leave a tiny negative; cutting it off must not cut the gradient off.
        return q - q.detach().clamp(max=0)

    def _weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        slope, offset = (weights @ self._products).chunk(2, 1)
        return slope * (z - self._centre) - offset

    def log_det_covariances(self) -> Tensor:
        return self.variances.log().sum(-1)

    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        return self.variances[index].sqrt() * noise

    def diagonal(self, z: Tensor) -> Tensor:
        """g(z), the diagonal of G(z), of shape `(*, d)`."""
        z = self._checked(z)
        omega, vacuum, shift = self._weights(z.reshape(-1, self.dimension))
        return ((omega @ self._precisions + vacuum) * shift.exp()).reshape(z.shape)

    def forward(self, z: Tensor) -> Tensor:
        return torch.diag_embed(self.diagonal(z))

    def cholesky(self, z: Tensor) -> Tensor:
        return torch.diag_embed(self.diagonal(z).sqrt())

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (self.diagonal(z) * u * v).sum(-1)

    def _log_volume(self, z: Tensor) -> Tensor:
        omega, vacuum, shift = self._weights(z)
        g = omega @ self._precisions + vacuum
        return (0.5 * (g.log().sum(-1, keepdim=True) + self.dimension * shift)).squeeze(-1)

    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        omega, vacuum, shift = self._weights(z)
        g = omega @ self._precisions + vacuum
        value = 0.5 * (g.log().sum(-1, keepdim=True) + self.dimension * shift)
        w = 1 / g
        pull = self._weighted_displacements(omega * (w @ self._precisions.T), z)
        fall = self.decay * vacuum * w.sum(-1, keepdim=True) * z
        return value, -pull / self.bandwidth**2 - fall


class FullCentroidMetric(CentroidMetric):
    """Full covariances Σᵢ: G(z) = Σᵢ Σᵢ⁻¹ ωᵢ(z) + λ e^{−τ‖z‖²} I.

    With νᵢ = ωᵢ tr(G⁻¹ Σᵢ⁻¹),
    ∇ ½ log det G = −ρ⁻² Σᵢ νᵢ Σᵢ⁻¹ (z − cᵢ) − τ λ e^{−τ‖z‖²} tr(G⁻¹) z.

    Args:
        centroids: cᵢ, shape `(K, d)`.
        covariances: Σᵢ, shape `(K, d, d)`, symmetric positive definite.
        bandwidth, regularization, decay: ρ, λ, τ, as in `CentroidMetric.from_posterior`.
    """

    covariances: Tensor

    def __init__(
        self,
        centroids: Tensor,
        covariances: Tensor,
        bandwidth: float | None = None,
        regularization: float = 0.01,
        decay: float | None = None,
    ):
        super().__init__(centroids, bandwidth, regularization, decay)
        k, d = centroids.shape
        _check_like(centroids, "covariances", covariances, (k, d, d))
        _check_positive_definite(covariances)
        self.register_buffer("covariances", covariances.detach().clone())
        self._derive()

    def _derive(self) -> None:
        k, d = self.centroids.shape
        centre = self.centroids.mean(0)
        c = self.centroids - centre
        factors = torch.linalg.cholesky(self.covariances)
        self.register_buffer("_factors", factors, persistent=False)
        precisions = torch.cholesky_inverse(factors)
        precisions = 0.5 * (precisions + precisions.mT)
        pc = torch.einsum("kij,kj->ki", precisions, c)
        self.register_buffer("_centre", centre, persistent=False)
        products = torch.cat([precisions.reshape(k, d * d), pc], 1)
        self.register_buffer("_products", products, persistent=False)
        self.register_buffer("_constant", (pc * c).sum(-1), persistent=False)

    @property
    def _precisions(self) -> Tensor:
        return self._products[:, : self.dimension**2]

    def _squared_distances(self, z: Tensor) -> Tensor:
        z = z - self._centre
        square = (z[:, :, None] * z[:, None, :]).flatten(1)
        q = torch.addmm(self._constant, torch.cat([square, -2 * z], 1), self._products.T)
        return q - q.detach().clamp(max=0)

    def _weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        slope, offset = (weights @ self._products).split([self.dimension**2, self.dimension], 1)
        slope = slope.reshape(-1, self.dimension, self.dimension)
        return (slope @ (z - self._centre)[..., None])[..., 0] - offset

    def log_det_covariances(self) -> Tensor:
        return 2 * _log_diagonal(self._factors)

    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        return (self._factors[index] @ noise[..., None])[..., 0]

    def _shifted(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """G(z) e^{−shift}, ω e^{−shift}, the vacuum, the shift."""
        omega, vacuum, shift = self._weights(z)
        g = (omega @ self._precisions).reshape(-1, self.dimension, self.dimension)
        identity = torch.eye(self.dimension, dtype=z.dtype, device=z.device)
        return 0.5 * (g + g.mT) + vacuum[..., None] * identity, omega, vacuum, shift

    def forward(self, z: Tensor) -> Tensor:
        z = self._checked(z)
        g, _, _, shift = self._shifted(z.reshape(-1, self.dimension))
        return (g * shift.exp()[..., None]).reshape(*z.shape, self.dimension)

    def _log_volume(self, z: Tensor) -> Tensor:
        g, _, _, shift = self._shifted(z)
        return _log_diagonal(torch.linalg.cholesky(g)) + 0.5 * self.dimension * shift.squeeze(-1)

    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        g, omega, vacuum, shift = self._shifted(z)
        factor = torch.linalg.cholesky(g)
        value = _log_diagonal(factor)[:, None] + 0.5 * self.dimension * shift
        inverse = torch.cholesky_inverse(factor)
        nu = omega * (inverse.flatten(1) @ self._precisions.T)
        trace = inverse.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        pull = self._weighted_displacements(nu, z)
        return value, -pull / self.bandwidth**2 - self.decay * vacuum * trace * z


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


def _log_mixture_volume(k: int, d: int, rho: float) -> float:
    return math.log(k) + d / 2 * math.log(2 * math.pi * rho**2 / d)


def _proper_decay(k: int, d: int, rho: float, lam: float) -> float:
    """The τ at which W = f V, so that the vacuum holds at most the fraction f."""
    if lam == 0:
        return 0.0
    log_volume = math.log(VACUUM_FRACTION) + _log_mixture_volume(k, d, rho)
    return math.exp(math.log(2 * math.pi * lam / d) - 2 / d * log_volume)


def _moments(posterior: Distribution) -> tuple[Tensor, Tensor, type[CentroidMetric]]:
    """Means, (co)variances and the class that they make."""
    if isinstance(posterior, (MultivariateNormal, LowRankMultivariateNormal)):
        return posterior.mean, posterior.covariance_matrix, FullCentroidMetric
    if isinstance(posterior, Normal):
        return _same("scale", posterior.loc, posterior.scale) + (DiagonalCentroidMetric,)
    if isinstance(posterior, Independent) and len(posterior.event_shape) == 1:
        base = posterior.base_dist
        if isinstance(base, Normal):
            return _moments(base)
        return posterior.mean, posterior.variance, DiagonalCentroidMetric
    raise ValueError(
        "expected a posterior with means and covariances: Normal, Independent, MultivariateNormal "
        f"or LowRankMultivariateNormal, got {type(posterior)}"
    )


def _same(name: str, loc: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    if loc.dtype != scale.dtype or loc.device != scale.device:
        raise ValueError(
            f"posterior: loc is {loc.dtype} on {loc.device}, {name} is {scale.dtype} on "
            f"{scale.device}; expected one dtype and device"
        )
    return loc, scale**2


def _check_points(name: str, points: Tensor, ndim: int) -> None:
    if not torch.is_tensor(points) or not points.is_floating_point():
        got = points.dtype if torch.is_tensor(points) else type(points)
        raise ValueError(f"{name}: expected a floating-point tensor, got {got}")
    if points.dim() != ndim or points.numel() == 0:
        raise ValueError(f"{name}: expected shape (N, d) with N, d ≥ 1, got {tuple(points.shape)}")
    if not torch.isfinite(points).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinite values")


def _check_like(centroids: Tensor, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    if not torch.is_tensor(value) or tuple(value.shape) != shape:
        got = tuple(value.shape) if torch.is_tensor(value) else type(value)
        raise ValueError(f"{name}: expected shape {shape}, got {got}")
    if value.dtype != centroids.dtype or value.device != centroids.device:
        raise ValueError(
            f"{name} are {value.dtype} on {value.device}, centroids {centroids.dtype} on "
            f"{centroids.device}; expected one dtype and device"
        )
    if not torch.isfinite(value).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinite values")


def _check_positive_definite(covariances: Tensor) -> None:
    info = torch.linalg.cholesky_ex(covariances).info
    asymmetry = (covariances - covariances.mT).abs().amax((-2, -1))
    bad = (info > 0) | (asymmetry > 1e-4 * covariances.abs().amax((-2, -1)))
    if bad.any():
        raise ValueError(
            f"covariances must be symmetric positive definite, got {int(bad.sum())} that are not, "
            f"the first at index {int(bad.nonzero()[0])}"
        )

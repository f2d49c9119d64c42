"""The centroid metric of full covariances."""

import torch
from torch import Tensor

from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry.checks import check_like, check_positive_definite
from pyrogeo.geometry.metrics.centroid.base import CentroidMetric, clipped

__all__ = ["FullCentroidMetric"]


class FullCentroidMetric(CentroidMetric, full=True):
    """Full covariances Σᵢ: G(z) = Σᵢ Σᵢ⁻¹ ωᵢ(z) + λ e^{−τ‖z‖²} I.

    With νᵢ = ωᵢ tr(G⁻¹ Σᵢ⁻¹),
    ∇ ½ log det G = −ρ⁻² Σᵢ νᵢ Σᵢ⁻¹ (z − cᵢ) − τ λ e^{−τ‖z‖²} tr(G⁻¹) z.

    Args:
        centroids: cᵢ, shape `(K, d)`.
        covariances: Σᵢ, shape `(K, d, d)`, symmetric positive definite.
        bandwidth, regularization, decay: ρ, λ, τ, as in `CentroidMetric.from_posterior`.

    Raises:
        ValueError: for tensors of other shapes, covariances that are not symmetric positive definite,
            and settings out of range.

    >>> covariance = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
    >>> FullCentroidMetric(torch.zeros(1, 2), covariance, 1.0, 0.0)(torch.zeros(1, 2))  # Σ⁻¹
    tensor([[[ 1.3333, -0.6667],
             [-0.6667,  1.3333]]])
    """

    covariances: Tensor
    _factors: Tensor
    _centre: Tensor
    _products: Tensor
    _constant: Tensor

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
        check_like(centroids, "covariances", covariances, (k, d, d))
        check_positive_definite(covariances)
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
        return clipped(
            torch.addmm(self._constant, torch.cat([square, -2 * z], 1), self._products.T)
        )

    def _weighted_displacements(self, weights: Tensor, z: Tensor) -> Tensor:
        slope, offset = (weights @ self._products).split([self.dimension**2, self.dimension], 1)
        slope = slope.reshape(-1, self.dimension, self.dimension)
        total: Tensor = (slope @ (z - self._centre)[..., None])[..., 0] - offset
        return total

    def log_det_covariances(self) -> Tensor:
        return 2 * _log_diagonal(self._factors)

    def unwhiten(self, index: Tensor, noise: Tensor) -> Tensor:
        return (self._factors[index] @ noise[..., None])[..., 0]

    def typical_factor(self) -> Tensor:
        factor: Tensor = torch.linalg.cholesky(self.covariances.mean(0))
        return factor

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
        factor, info = torch.linalg.cholesky_ex(g)
        if info.any():
            where = z.detach()[info > 0][0].tolist()
            raise NotPositiveDefiniteError(f"the metric is not positive definite at z = {where}")
        return _log_diagonal(factor) + 0.5 * self.dimension * shift.squeeze(-1)

    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        g, omega, vacuum, shift = self._shifted(z)
        factor, info = torch.linalg.cholesky_ex(g)
        factor = factor.where((info == 0)[:, None, None], torch.nan)  # a sampler refuses NaN
        value = _log_diagonal(factor)[:, None] + 0.5 * self.dimension * shift
        inverse = torch.cholesky_inverse(factor)
        nu = omega.mul_(inverse.flatten(1) @ self._precisions.T)
        trace = inverse.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
        pull = self._weighted_displacements(nu, z)
        return value, -pull / self.bandwidth**2 - self.decay * vacuum * trace * z


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

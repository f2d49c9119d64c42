"""The centroid metric of diagonal covariances, the usual case. No d × d matrix is ever formed."""

import torch
from torch import Tensor

from pyrogeo.geometry._checks import check_like
from pyrogeo.geometry.centroid_metric import CentroidMetric, clipped

__all__ = ["DiagonalCentroidMetric"]


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
        check_like(centroids, "variances", variances, tuple(centroids.shape))
        if not (variances > 0).all() or not torch.isfinite(1 / variances).all():
            raise ValueError(
                f"variances must be positive, with finite inverses in {variances.dtype}, got "
                f"{variances.min().item()}"
            )
        self.register_buffer("variances", variances.detach().clone())
        self._derive()

    def _derive(self) -> None:
        centre = self.centroids.mean(0)
        s, c = 1 / self.variances, self.centroids - centre
        self.register_buffer("_centre", centre, persistent=False)
        self.register_buffer("_products", torch.cat([s, s * c], 1), persistent=False)
        self.register_buffer("_precisions", s, persistent=False)
        self.register_buffer("_constant", (s * c * c).sum(-1), persistent=False)

    def _squared_distances(self, z: Tensor) -> Tensor:
        z = z - self._centre
        return clipped(torch.addmm(self._constant, torch.cat([z * z, -2 * z], 1), self._products.T))

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

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        return self.diagonal(z) * v

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return p / self.diagonal(z)

    def _log_volume(self, z: Tensor) -> Tensor:
        omega, vacuum, shift = self._weights(z)
        g = omega @ self._precisions + vacuum
        return (0.5 * (g.log().sum(-1, keepdim=True) + self.dimension * shift)).squeeze(-1)

    def _volume_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        omega, vacuum, shift = self._weights(z)
        g = omega @ self._precisions + vacuum
        value = 0.5 * (g.log().sum(-1, keepdim=True) + self.dimension * shift)
        w = 1 / g
        pull = self._weighted_displacements(omega.mul_(w @ self._precisions.T), z)
        fall = self.decay * vacuum * w.sum(-1, keepdim=True) * z
        return value, -pull / self.bandwidth**2 - fall

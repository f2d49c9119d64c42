"""The centroid metric of diagonal covariances, the usual case. No d × d matrix is ever formed."""

import torch
from torch import Tensor

from pyrogeo.geometry.checks import check_like
from pyrogeo.geometry.metrics.centroid.base import CentroidMetric, clipped
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["DiagonalCentroidMetric"]


class DiagonalCentroidMetric(CentroidMetric, full=False):
    """Diagonal covariances: G(z) = diag g(z), gₑ = Σᵢ sᵢₑ ωᵢ + λ e^{−τ‖z‖²}, sᵢ = 1/σᵢ².

    With wₑ = 1/gₑ and νᵢ = ωᵢ Σₑ wₑ sᵢₑ,
    ∇ ½ log det G = −ρ⁻² Σᵢ νᵢ sᵢ∘(z − cᵢ) − τ λ e^{−τ‖z‖²} (Σₑ wₑ) z.

    Args:
        centroids: cᵢ, shape `(K, d)`.
        variances: σᵢ², shape `(K, d)`, positive.
        bandwidth, regularization, decay: ρ, λ, τ, as in `CentroidMetric.from_posterior`.

    Raises:
        ValueError: for tensors of other shapes, variances that are not positive, and settings out of
            range.

    >>> one = DiagonalCentroidMetric(torch.zeros(1, 2), torch.full((1, 2), 0.5), 1.0, 0.0)
    >>> one(torch.zeros(1, 2))  # at a centroid, ω = 1 and G = Σ⁻¹
    tensor([[[2., 0.],
             [0., 2.]]])
    """

    variances: Tensor
    _centre: Tensor
    _products: Tensor
    _precisions: Tensor
    _constant: Tensor

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

    def typical_factor(self) -> Tensor:
        return (0.5 * self.variances.log().mean(0)).exp()

    @in_precision_of_the_metric
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

    def square_gradients(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q(z, v) = ⟨v, v⟩_z, its first derivatives in closed form, and g(z)."""
        shape, d = z.shape, self.dimension
        with torch.no_grad():
            both = torch.cat([self._checked(z).reshape(-1, d), v.reshape(-1, d)], 1)
            parts = self.in_blocks(self._square_gradients, both)
        q, g_z, g_v, g = parts.split([1, d, d, d], 1)
        return q.reshape(shape[:-1]), g_z.reshape(shape), g_v.reshape(shape), g.reshape(shape)

    def _square_gradients(self, both: Tensor) -> Tensor:
        """Of points and vectors side by side, `(B, 2 d)`: the parts one after another."""
        z, v = both.split(self.dimension, 1)
        omega, vacuum, shift = self._weights(z)
        g = omega @ self._precisions + vacuum
        square = (v * v).sum(-1, keepdim=True)
        weighted = omega.mul_((v * v) @ self._precisions.T)
        slope, offset = (weighted @ self._products).chunk(2, 1)
        pull = self.bandwidth**-2 * (slope * (z - self._centre) - offset)
        fall = self.decay * vacuum * square * z
        parts = [(g * v * v).sum(-1, keepdim=True), -2 * (pull + fall), 2 * g * v, g]
        return torch.cat(parts, 1).mul_(shift.exp())

    def square_derivatives(
        self, z: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """First and second derivatives of q(z, v) = ⟨v, v⟩_z in closed form.

        With aᵢ = vᵀ Σᵢ⁻¹ v, yᵢ = Σᵢ⁻¹ (z − cᵢ) and the vacuum W = λ e^{−τ‖z‖²},
        q = Σᵢ ωᵢ aᵢ + W ‖v‖², ∂q/∂z = −2ρ⁻² Σᵢ ωᵢ aᵢ yᵢ − 2τ W ‖v‖² z,
        ∂²q/∂z² = Σᵢ ωᵢ aᵢ (4ρ⁻⁴ yᵢ yᵢᵀ − 2ρ⁻² Σᵢ⁻¹) + W ‖v‖² (4τ² z zᵀ − 2τ I),
        ∂²q/∂z∂v = −4ρ⁻² Σᵢ ωᵢ yᵢ (Σᵢ⁻¹ v)ᵀ − 4τ W z vᵀ.
        """
        shape, d = z.shape, self.dimension
        with torch.no_grad():
            both = torch.cat([self._checked(z).reshape(-1, d), v.reshape(-1, d)], 1)
            parts = self.in_blocks(self._square_derivatives, both)
        g_z, g_v, h_zz, h_zv, g = parts.split([d, d, d * d, d * d, d], 1)
        h_zz, h_zv = (h.reshape(*shape, d) for h in (h_zz, h_zv))
        h_vv = torch.diag_embed(2 * g.reshape(shape))
        return g_z.reshape(shape), g_v.reshape(shape), h_zz, h_zv, h_vv

    def _square_derivatives(self, both: Tensor) -> Tensor:
        """Of points and vectors side by side, `(B, 2 d)`: the parts one after another, g in place of 2 G."""
        d, s, rate = self.dimension, self._precisions, self.bandwidth**-2
        z, v = both.split(d, 1)
        omega, vacuum, shift = self._weights(z)
        weighted = omega * ((v * v) @ s.T)
        x, square, tau = z - self._centre, (v * v).sum(-1, keepdim=True), self.decay
        # Σᵢ wᵢ yᵢ yᵢᵀ and Σᵢ wᵢ yᵢ sᵢᵀ from moments of s and s∘c, so that no (B, K, d) tensor is made.
        ss, sc, cc = (weighted @ self._moments).unflatten(1, (3, d, d)).unbind(1)
        yy = x[:, :, None] * ss * x[:, None] - x[:, :, None] * sc - sc.mT * x[:, None] + cc
        flat_ss, flat_sc = (omega @ self._moments[:, : 2 * d * d]).unflatten(1, (2, d, d)).unbind(1)
        ys = x[:, :, None] * flat_ss - flat_sc.mT
        slope, offset = (weighted @ self._products).chunk(2, 1)
        g = omega @ s + vacuum
        g_z = -2 * rate * (slope * x - offset) - 2 * tau * vacuum * square * z
        h_zz = 4 * rate**2 * yy - 2 * rate * torch.diag_embed(slope)
        outer = 4 * tau**2 * z[:, :, None] * z[:, None] - 2 * tau * torch.eye(d).to(z)
        h_zz = h_zz + (vacuum * square)[..., None] * outer
        h_zv = (-4 * rate * ys - 4 * tau * vacuum[..., None] * z[..., None]) * v[:, None]
        parts = [g_z, 2 * g * v, h_zz.flatten(1), h_zv.flatten(1), g]
        return torch.cat(parts, 1).mul_(shift.exp())

    @property
    def _moments(self) -> Tensor:
        """sᵢ sᵢᵀ, sᵢ (sᵢ∘cᵢ)ᵀ and (sᵢ∘cᵢ)(sᵢ∘cᵢ)ᵀ side by side, `(K, 3 d²)`."""
        s, sc = self._products.split(self.dimension, 1)
        pairs = ((s, s), (s, sc), (sc, sc))
        return torch.cat([(a[:, :, None] * b[:, None]).flatten(1) for a, b in pairs], 1)

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

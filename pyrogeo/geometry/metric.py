"""Metrics: a symmetric positive definite matrix G(z) at every latent point.

A Riemannian metric gives a length ‖v‖_z = √(vᵀ G(z) v) to a velocity v at z, and a volume
√det G(z) dz to a small cell around z.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pyrogeo.errors import NotPositiveDefiniteError

__all__ = ["Metric"]


class Metric(nn.Module, ABC):
    """A Riemannian metric on ℝᵈ. A subclass fills in `forward`; the rest follows.

    >>> class Polar(Metric):
    ...     def forward(self, z):
    ...         return torch.diag_embed(torch.stack([torch.ones_like(z[..., 0]), z[..., 0] ** 2], -1))
    >>> Polar().log_volume_element(torch.tensor([[2.0, 0.0]])).exp()
    tensor([2.])
    """

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """G(z).

        Args:
            z: points of shape `(*, d)`.

        Returns:
            symmetric positive definite matrices of shape `(*, d, d)`, in the dtype of z.
        """

    def cholesky(self, z: Tensor) -> Tensor:
        """The lower triangular L with L Lᵀ = G(z), shape `(*, d, d)`.

        Raises:
            NotPositiveDefiniteError: with the first point at which there is none.
        """
        factor, info = torch.linalg.cholesky_ex(self(z))
        if info.any():
            where = z.detach().expand(*info.shape, z.shape[-1])[info > 0][0].tolist()
            raise NotPositiveDefiniteError(f"the metric is not positive definite at z = {where}")
        return factor

    def log_volume_element(self, z: Tensor) -> Tensor:
        """½ log det G(z), of shape `(*,)`: the logarithm of the volume element √det G (slides, Eq. 2)."""
        return self.cholesky(z).diagonal(dim1=-2, dim2=-1).log().sum(-1)

    def log_volume_element_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """½ log det G(z) and its gradient, of shapes `(*,)` and `(*, d)`, both detached."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.log_volume_element(z)
            (gradient,) = torch.autograd.grad(value.sum(), z)
        return value.detach(), gradient

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """⟨u, v⟩_z = uᵀ G(z) v for tangent vectors of shape `(*, d)`, shape `(*,)`."""
        return torch.einsum("...i,...ij,...j->...", u, self(z), v)

    def norm(self, z: Tensor, v: Tensor) -> Tensor:
        """‖v‖_z = √⟨v, v⟩_z, shape `(*,)`."""
        return self.inner(z, v, v).sqrt()

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        """♭: the covector G(z) v of a tangent vector, both of shape `(*, d)`."""
        return torch.einsum("...ij,...j->...i", self(z), v)

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        """♯: the tangent vector G(z)⁻¹ p of a covector, both of shape `(*, d)`.

        Raises:
            NotPositiveDefiniteError: with the first point at which G is not.
        """
        factor = self.cholesky(z)
        p = p.expand(torch.broadcast_shapes(p.shape, factor.shape[:-1]))
        return torch.cholesky_solve(p[..., None], factor)[..., 0]

    def contains(self, z: Tensor) -> Tensor:
        """Whether points belong to the domain of the metric, shape `(*,)`; everywhere, unless a subclass
        says otherwise. Curves do not leave it."""
        return torch.isfinite(z).all(-1)

    def distance_to_infinity(self, z: Tensor) -> Tensor:
        """An upper bound of the distance to infinity, shape `(*,)`; infinite for a complete manifold,
        which a metric is taken for unless a subclass knows better."""
        return torch.full_like(z[..., 0], torch.inf)

    @property
    def inverse(self) -> "Metric":
        """G⁻¹ as a metric: a view of this one, which changes with it."""
        return _Inverse(self)


class _Inverse(Metric):
    def __init__(self, metric: Metric):
        super().__init__()
        self.metric = metric

    def forward(self, z: Tensor) -> Tensor:
        return torch.cholesky_inverse(self.metric.cholesky(z))

    def log_volume_element(self, z: Tensor) -> Tensor:
        return -self.metric.log_volume_element(z)

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * self.metric.sharp(z, v)).sum(-1)

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        return self.metric.sharp(z, v)

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return self.metric.flat(z, p)

    def contains(self, z: Tensor) -> Tensor:
        return self.metric.contains(z)

    @property
    def inverse(self) -> Metric:
        return self.metric

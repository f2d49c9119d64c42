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

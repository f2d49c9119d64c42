"""Metrics that are the same everywhere."""

import torch
from torch import Tensor

from pyrogeo._checks import as_tensor
from pyrogeo.geometry.checks import check_points, check_positive_definite
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["Constant", "Euclidean"]


class Euclidean(Metric):
    """G(z) = I, in any dimension.

    >>> Euclidean().norm(torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """

    def forward(self, z: Tensor) -> Tensor:
        identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        return identity.expand(*z.shape, z.shape[-1])

    def log_volume_element(self, z: Tensor) -> Tensor:
        return 0.0 * z.sum(-1)  # which keeps z's graph

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * v).sum(-1).expand(torch.broadcast_shapes(z.shape, u.shape, v.shape)[:-1])

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        return v.expand(torch.broadcast_shapes(z.shape, v.shape))

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return self.flat(z, p)


class Constant(Metric):
    """G(z) = G: lengths are Mahalanobis distances, geodesics straight lines.

    Args:
        matrix: G, symmetric positive definite, shape `(d, d)`.

    Raises:
        ValueError: for another shape, a matrix that is not symmetric positive definite, or one that
            is not finite.

    >>> Constant(torch.diag(torch.tensor([4.0, 1.0]))).norm(torch.zeros(2), torch.ones(2))
    tensor(2.2361)
    """

    matrix: Tensor

    def __init__(self, matrix: Tensor):
        super().__init__()
        matrix = as_tensor("matrix", matrix)
        check_points("matrix", matrix)
        if matrix.shape[0] != matrix.shape[1]:
            raise ValueError(f"matrix: expected shape (d, d), got {tuple(matrix.shape)}")
        check_positive_definite(matrix[None])
        self.register_buffer("matrix", matrix.detach().clone())

    @property
    def dimension(self) -> int:
        """The number of dimensions, d."""
        return len(self.matrix)

    def forward(self, z: Tensor) -> Tensor:
        if z.shape[-1:] != (self.dimension,):
            raise ValueError(
                f"expected points of shape (*, {self.dimension}) in {self.matrix.dtype}, got "
                f"{tuple(z.shape)} in {z.dtype}"
            )
        return self.matrix.expand(*z.shape, z.shape[-1])

    def log_volume_element(self, z: Tensor) -> Tensor:
        return super().log_volume_element(z) + 0.0 * z.sum(-1)  # which keeps z's graph

"""A mixture of many Gaussians, each with its own covariance, as a proposal."""

import math

import torch
from torch import Tensor

__all__ = ["Gaussians"]

_BLOCK = 2**20  # numbers in a (points × components) block


class Gaussians:
    """Σₜ wₜ N(mₜ, Λₜ⁻¹): a `Proposal`, in float64, that takes and gives points in another precision.

    Args:
        means: mₜ, shape `(T, d)`.
        precisions: Λₜ, shape `(T, d)` if diagonal, else `(T, d, d)`.
        log_weights: log wₜ up to a constant, shape `(T,)`.
        scale: the units of moves.
        dtype: of draws.

    >>> law = Gaussians(torch.zeros(1, 2), torch.ones(1, 2), torch.zeros(1), 1.0, torch.float32)
    >>> law.log_prob(torch.zeros(1, 2)), law.sample(3).shape
    (tensor([-1.8379]), torch.Size([3, 2]))
    """

    #: what makes exact draws long in coming, as a warning says it
    why_hard = "centroids overlap so strongly"

    def __init__(
        self,
        means: Tensor,
        precisions: Tensor,
        log_weights: Tensor,
        scale: Tensor | float,
        dtype: torch.dtype,
    ):
        self.means, self.precisions = means.double(), precisions.double()
        self.log_weights = log_weights.double().log_softmax(0)
        self.scale, self.dtype = scale, dtype
        self._middle = self.means.mean(0)
        centred = self.means - self._middle
        d = means.shape[1]
        if precisions.dim() == 2:
            self._factors = self.precisions.rsqrt()
            self._slopes = self.precisions * centred
            half_log_dets = 0.5 * self.precisions.log().sum(-1)
            self._features = torch.cat([self.precisions, -2 * self._slopes], 1)
        else:
            upper = torch.linalg.cholesky(self.precisions)
            eye = torch.eye(d).to(upper).expand_as(upper)
            self._factors = torch.linalg.solve_triangular(upper.mT, eye, upper=True)
            self._slopes = (self.precisions @ centred[..., None])[..., 0]
            half_log_dets = upper.diagonal(dim1=-2, dim2=-1).log().sum(-1)
            self._features = torch.cat([self.precisions.flatten(1), -2 * self._slopes], 1)
        self._constants = (self._slopes * centred).sum(-1)
        self._log_norms = half_log_dets - 0.5 * d * math.log(2 * math.pi)

    def __len__(self) -> int:
        return len(self.means)

    @property
    def event_shape(self) -> torch.Size:
        """`(d,)`."""
        return self.means.shape[1:]

    def sample(self, n: int) -> Tensor:
        """`n` draws of shape `(n, d)`, from torch's global generator."""
        uniform = torch.rand(n, dtype=torch.float64, device=self.means.device)
        cumulative = self.log_weights.exp().cumsum(0)
        index = torch.searchsorted(cumulative, uniform * cumulative[-1]).clamp(max=len(self) - 1)
        noise = torch.randn(n, *self.event_shape).to(self.means)
        if self._factors.dim() == 2:
            noise = self._factors[index] * noise
        else:
            noise = torch.cat(
                [
                    (self._factors[i] @ e[..., None])[..., 0]
                    for i, e in zip(index.split(4096), noise.split(4096), strict=True)
                ]
            )
        return (self.means[index] + noise).to(self.dtype)

    def log_prob(self, z: Tensor) -> Tensor:
        """The log-density at points `(n, d)`, shape `(n,)`."""
        blocks = self._blocks(z)
        return torch.cat([self.log_components(block).logsumexp(-1) for block in blocks]).to(z.dtype)

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient in closed form, of shapes `(n,)` and `(n, d)`."""
        values, gradients = zip(*map(self._value_and_grad, self._blocks(z)), strict=True)
        return torch.cat(values).to(z.dtype), torch.cat(gradients).to(z.dtype)

    def log_components(self, z: Tensor) -> Tensor:
        """log wₜ N(z; mₜ, Λₜ⁻¹) at points `(n, d)`, shape `(n, T)`."""
        z = z.double() - self._middle
        square = z * z if self._factors.dim() == 2 else (z[:, :, None] * z[:, None]).flatten(1)
        distances = torch.addmm(self._constants, torch.cat([square, z], 1), self._features.T)
        return distances.clamp_(min=0).mul_(-0.5).add_(self.log_weights + self._log_norms)

    def _value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        components = self.log_components(z)
        value = components.logsumexp(-1, keepdim=True)
        share = components.sub_(value).exp_().nan_to_num_(0.0)  # far out every component is zero
        slopes = share @ self._slopes
        z = z.double() - self._middle
        if self._factors.dim() == 2:
            pull = (share @ self.precisions) * z
        else:
            precision = (share @ self.precisions.flatten(1)).unflatten(1, self.precisions.shape[1:])
            pull = (precision @ z[..., None])[..., 0]
        return value[:, 0], slopes - pull

    def _blocks(self, z: Tensor) -> tuple[Tensor, ...]:
        rows = max(64, _BLOCK // max(len(self), math.prod(self.precisions.shape[1:])))
        blocks: tuple[Tensor, ...] = z.split(rows)
        return blocks

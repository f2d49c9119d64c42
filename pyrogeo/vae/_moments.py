"""Means and covariances from draws, for guides that know none in closed form."""

from collections.abc import Callable

import pyro.distributions as dist
import torch
from torch import Tensor

from pyrogeo._checks import whole_or_none
from pyrogeo.errors import NotPositiveDefiniteError

__all__ = ["matched_normal"]

_POINTS = 2**13  # drawn in one pass


def matched_normal(
    draw: Callable[[int], Tensor], num_samples: int, shape: torch.Size
) -> dist.TorchDistribution:
    """The normal distributions with the mean and covariance of draws.

    Args:
        draw: from a number P to P draws of shape `(P, *batch, d)`.
        num_samples: draws in all, at least `d + 2`, as fewer make no invertible covariance.
        shape: `(*batch, d)`.

    Returns:
        a `MultivariateNormal` of batch shape `batch` in the dtype of the draws. Its moments are
        summed in float64 from the first pass's mean on, so that small covariances keep their digits.

    Raises:
        ValueError: for too few draws.
        NotPositiveDefiniteError: for draws without an invertible covariance, a collapsed posterior's.
    """
    d = shape[-1]
    count = whole_or_none(num_samples)
    if count is None or count < d + 2:
        raise ValueError(
            f"num_samples: expected an integer of at least d + 2 = {d + 2}, got {num_samples!r}"
        )
    at_once = max(1, _POINTS // max(1, shape[:-1].numel()))
    centre = total = products = torch.zeros((), dtype=torch.float64)
    for part in torch.arange(count).split(at_once):
        z = draw(len(part))
        dtype = z.dtype
        z = z.double()
        centre = z.mean(0) if centre.dim() == 0 else centre
        z = z - centre
        total = total + z.sum(0)
        products = products + torch.einsum("p...i,p...j->...ij", z, z)
    mean = total / count
    covariance = products - count * mean[..., :, None] * mean[..., None, :]
    factor, info = torch.linalg.cholesky_ex(covariance / (count - 1))
    if info.any():
        raise NotPositiveDefiniteError(
            f"the draws of {int((info > 0).sum())} posteriors have no invertible covariance"
        )
    return dist.MultivariateNormal((centre + mean).to(dtype), scale_tril=factor.to(dtype))

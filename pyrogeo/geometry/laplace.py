"""Covariances for encoders that give none, from the decoder."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo._checks import positive, whole
from pyrogeo.geometry.checks import check_points
from pyrogeo.geometry.metrics.pullback import Pullback

__all__ = ["laplace_covariances"]


def laplace_covariances(
    decoder: Callable[[Tensor], Tensor | Distribution],
    z: Tensor,
    prior_precision: float = 1.0,
    fisher: bool = True,
    batch_size: int = 256,
) -> Tensor:
    """Σ(z) = (J(z)ᵀ W(z) J(z) + α I)⁻¹, the inverse of the decoder's pull-back metric, regularised.

    With Fisher's information for W and the precision α of a prior N(0, I/α) this is the Laplace
    approximation (with Gauss and Newton's Hessian) of p(z|x) for an x that is decoded from z: narrow where
    the decoder is steep, and the prior's where it does not care.

    Args:
        decoder: as `Pullback` takes it; of a VAE, `vae.eval().likelihood`.
        z: embeddings of shape `(N, d)`, in the decoder's dtype.
        prior_precision: α > 0, which bounds variances by 1/α.
        fisher: whether W is the Fisher information of the decoded distribution, or the identity, for
            decoders that return a tensor.
        batch_size: points per pass.

    Returns:
        shape `(N, d, d)`, symmetric positive definite; with the means it makes a posterior,
        `MultivariateNormal(z, laplace_covariances(decoder, z))`.

    Raises:
        ValueError: for points of another shape or not finite, α out of range, or as `Pullback` does.

    Source: Daxberger et al., *Laplace redux*, 2021.

    >>> decoder = lambda z: torch.cat([z, 2 * z], -1)
    >>> laplace_covariances(decoder, torch.zeros(1, 2), fisher=False).diagonal(dim1=-2, dim2=-1)
    tensor([[0.1667, 0.1667]])
    """
    check_points("z", z)
    prior_precision = positive("prior_precision α", prior_precision)
    batch_size = whole("batch_size", batch_size)
    metric = Pullback(decoder, fisher)
    with torch.no_grad():
        pulled = torch.cat([metric(part).double() for part in z.detach().split(batch_size)])
    precision = pulled + prior_precision * torch.eye(z.shape[1]).to(pulled)
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return (0.5 * (covariance + covariance.mT)).to(z.dtype)

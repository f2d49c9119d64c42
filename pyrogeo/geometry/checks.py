"""What may become a metric: moments of a posterior, checked at the door."""

import warnings

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal
from torch.distributions.lowrank_multivariate_normal import LowRankMultivariateNormal

from pyrogeo.errors import PyrogeoWarning

__all__ = [
    "check_like",
    "check_points",
    "check_positive_definite",
    "has_moments",
    "location_and_spread",
]


def location_and_spread(
    posterior: Distribution, dtype: torch.dtype | None = None
) -> tuple[Tensor, Tensor, bool]:
    """Means, variances or covariances, and whether they are full.

    They are squared in `dtype`, by default the posterior's, as small ones lose digits in float32.

    Raises:
        ValueError: for a distribution that has none.
    """
    if isinstance(posterior, MultivariateNormal):
        factor = posterior.scale_tril.to(dtype)
        return posterior.mean.to(dtype), factor @ factor.mT, True
    if isinstance(posterior, LowRankMultivariateNormal):
        factor, diagonal = posterior.cov_factor.to(dtype), posterior.cov_diag.to(dtype)
        covariance = factor @ factor.mT + torch.diag_embed(diagonal)
        return posterior.mean.to(dtype), covariance, True
    if isinstance(posterior, Normal):
        _check_same(posterior.loc, posterior.scale)
        return posterior.loc.to(dtype), posterior.scale.to(dtype) ** 2, False
    if isinstance(posterior, Independent) and len(posterior.event_shape) == 1:
        base = posterior.base_dist
        if isinstance(base, Normal):
            return location_and_spread(base, dtype)
        return posterior.mean.to(dtype), posterior.variance.to(dtype), False
    if _is_deterministic(posterior):
        return posterior.mean.to(dtype), torch.zeros_like(posterior.mean, dtype=dtype), False
    raise ValueError(
        "expected a posterior with means and covariances: Normal, Independent, MultivariateNormal "
        f"or LowRankMultivariateNormal, or a point mass, got {type(posterior)}"
    )


def has_moments(posterior: Distribution) -> bool:
    """Whether `location_and_spread` knows means and covariances of a distribution."""
    known = (MultivariateNormal, LowRankMultivariateNormal, Normal)
    independent = isinstance(posterior, Independent) and len(posterior.event_shape) == 1
    return isinstance(posterior, known) or independent or _is_deterministic(posterior)


def _is_deterministic(posterior: Distribution) -> bool:
    """A point mass, of whatever class: torch has none, and Pyro's is not known here."""
    if not isinstance(posterior, Distribution) or len(posterior.event_shape) != 1:
        return False
    try:
        return not posterior.variance.any()
    except NotImplementedError:
        return False


def _check_same(loc: Tensor, scale: Tensor) -> None:
    if loc.dtype != scale.dtype or loc.device != scale.device:
        raise ValueError(
            f"posterior: loc is {loc.dtype} on {loc.device}, scale is {scale.dtype} on "
            f"{scale.device}; expected one dtype and device"
        )


def check_points(name: str, points: Tensor) -> None:
    """Finite floating-point numbers of shape `(N, d)`, or a ValueError."""
    if not torch.is_tensor(points) or not points.is_floating_point():
        got = points.dtype if torch.is_tensor(points) else type(points)
        raise ValueError(f"{name}: expected a floating-point tensor, got {got}")
    if points.dim() != 2 or points.numel() == 0:
        raise ValueError(f"{name}: expected shape (N, d) with N, d ≥ 1, got {tuple(points.shape)}")
    if not torch.isfinite(points).all():
        raise ValueError(f"{name}: expected finite numbers, got NaN or infinite values")


def check_like(centroids: Tensor, name: str, value: Tensor, shape: tuple[int, ...]) -> None:
    """Finite numbers of a shape, in the dtype and on the device of the centroids, or a ValueError."""
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


def check_positive_definite(covariances: Tensor) -> None:
    """Symmetric positive definite matrices, or a ValueError that names the first that is not."""
    info = torch.linalg.cholesky_ex(covariances).info
    asymmetry = (covariances - covariances.mT).abs().amax((-2, -1))
    bad = (info > 0) | (asymmetry > 1e-4 * covariances.abs().amax((-2, -1)))
    if bad.any():
        raise ValueError(
            f"covariances must be symmetric positive definite, got {int(bad.sum())} that are not, "
            f"the first at index {int(bad.nonzero()[0])}"
        )
    eigenvalues = torch.linalg.eigvalsh(covariances)
    lost = torch.finfo(covariances.dtype).eps * (eigenvalues[:, -1] / eigenvalues[:, 0]).max()
    if not 0 <= lost < 1e-3:
        warnings.warn(
            f"covariances are so ill-conditioned that their inverses in {covariances.dtype} have "
            f"relative errors of {lost.item():.1g}",
            PyrogeoWarning,
            stacklevel=3,
        )

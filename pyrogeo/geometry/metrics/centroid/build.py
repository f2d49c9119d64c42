"""What a posterior gives to a metric: centroids among its means, and their covariances (Algorithm 1)."""

import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo._checks import whole
from pyrogeo.geometry.checks import check_points, location_and_spread
from pyrogeo.geometry.kmedoids import MedoidEstimator, select

__all__ = ["chosen_centroids"]


def chosen_centroids(
    posterior: Distribution,
    n_centroids: int | None,
    estimator: MedoidEstimator | None,
    init: str,
    seed: int | None,
    dtype: torch.dtype,
    covariance: str,
    n_neighbors: int,
) -> tuple[Tensor, Tensor, bool]:
    """Centroids `(K, d)`, their variances or covariances, and whether those are full.

    Arguments and errors as of `CentroidMetric.from_posterior`.
    """
    loc, spread, is_full = location_and_spread(posterior, dtype)
    check_points("posterior means", loc)
    points = loc.detach().cpu().double().numpy()
    rows = select(points, n_centroids, estimator, init, seed)
    index = torch.as_tensor(rows, device=loc.device)
    spread = spread[index]
    if covariance == "posterior":
        if not is_full and not spread.any():
            raise ValueError(
                "variances must be positive, those of a point mass are 0: take covariance='local', or give "
                "MultivariateNormal(means, covariances), as with laplace_covariances"
            )
        return loc[index], spread, is_full
    if covariance != "local":
        raise ValueError(f"covariance: expected 'posterior' or 'local', got {covariance!r}")
    if not is_full and not spread.any() and n_neighbors <= loc.shape[1]:
        raise ValueError(
            f"n_neighbors: the scatter of {n_neighbors} points around their mean has no inverse "
            f"in {loc.shape[1]} dimensions; expected at least {loc.shape[1] + 1}"
        )
    spread = spread if is_full else torch.diag_embed(spread)
    return loc[index], spread + _scatter(loc, index, n_neighbors), True


def _scatter(points: Tensor, index: Tensor, n_neighbors: int) -> Tensor:
    """Covariance of the nearest points, themselves included, around their mean: `(K, d, d)`."""
    n_neighbors = whole("n_neighbors", n_neighbors, 0)
    if not 2 <= n_neighbors <= len(points):
        raise ValueError(f"n_neighbors: expected 2 to {len(points)}, got {n_neighbors}")
    array = points.detach().cpu().double().numpy()
    neighbours = NearestNeighbors(n_neighbors=n_neighbors).fit(array)
    nearest = neighbours.kneighbors(array[index.cpu().numpy()], return_distance=False)
    near = points[torch.as_tensor(nearest, device=points.device)]
    near = near - near.mean(1, keepdim=True)
    return near.mT @ near / (n_neighbors - 1)

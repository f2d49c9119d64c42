"""Which training points carry the metric: k-medoids without a distance matrix, and the bandwidth."""

import warnings
from itertools import pairwise
from typing import Any, Protocol, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import pairwise_distances_argmin
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from pyrogeo._checks import whole
from pyrogeo.geometry.point_sets import Matrix, Points

__all__ = ["KMedoids", "MedoidEstimator", "default_bandwidth", "select"]

INITS = ("k-medoids++", "heuristic", "build", "random")
METRICS = ("euclidean", "precomputed")


class MedoidEstimator(Protocol):
    """Any scikit-learn style estimator that names rows of X as centroids."""

    medoid_indices_: np.ndarray

    def fit(self, X: np.ndarray) -> "MedoidEstimator": ...


class KMedoids(ClusterMixin, BaseEstimator):
    """Alternating k-medoids that never holds an n×n matrix: under 1 GiB whatever the number of points.

    Minimises Σᵢ min_k ‖xᵢ − m_k‖₂ over medoids m_k among the points: assign each point to its
    nearest medoid, then make the member of least total distance the medoid of its cluster.

    With `init="heuristic"` and `"build"` it finds the medoids of
    `sklearn_extra.cluster.KMedoids(n_clusters, method="alternate", init=...)`.

    With `metric="precomputed"`, X is the matrix of distances instead, of whatever kind: geodesic ones
    from `distance_matrix`.

    Args:
        n_clusters: number of medoids.
        init: `"k-medoids++"` spreads the first medoids out at random (squared-distance weights, as
            k-means++); `"heuristic"` takes the points of least total distance to all others, which
            lie close together; `"build"` is PAM's greedy start, O(n² n_clusters) in time;
            `"random"` draws them.
        max_iter: of the alternation.
        random_state: seed of the two random starts.
        metric: `"euclidean"` or `"precomputed"`.

    Attributes:
        medoid_indices_: rows of X, shape `(n_clusters,)`.
        cluster_centers_: those rows; None of a matrix of distances.
        labels_: the nearest medoid of each row.
        inertia_: the sum of distances to it.
        n_iter_: alternations made.

    Source: Park, Jun, *A simple and fast algorithm for k-medoids clustering*, 2009; Kaufman,
    Rousseeuw, *Partitioning around medoids*, 1990.

    >>> KMedoids(2, random_state=0).fit([[0.0], [1.0], [2.0], [9.0]]).cluster_centers_.tolist()
    [[1.0], [9.0]]
    >>> distances = [[0.0, 1.0, 8.0], [1.0, 0.0, 9.0], [8.0, 9.0, 0.0]]
    >>> KMedoids(2, random_state=0, metric="precomputed").fit(distances).labels_.tolist()
    [0, 0, 1]
    """

    def __init__(
        self,
        n_clusters: int = 8,
        init: str = "k-medoids++",
        max_iter: int = 300,
        random_state: int | np.random.RandomState | None = None,
        metric: str = "euclidean",
    ):
        self.n_clusters = n_clusters
        self.init = init
        self.max_iter = max_iter
        self.random_state = random_state
        self.metric = metric

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == "precomputed"
        return tags

    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Finds the medoids of X, shape `(n, d)`, or `(n, n)` if precomputed; y is ignored.

        Raises:
            ValueError: for more clusters than points, options that are not known, numbers that are
                not finite, and a matrix that is not of distances.
        """
        points: np.ndarray = validate_data(self, X, dtype=[np.float64, np.float32])
        if self.init not in INITS:
            raise ValueError(f"init must be one of {INITS}, got {self.init!r}")
        if self.metric not in METRICS:
            raise ValueError(f"metric must be one of {METRICS}, got {self.metric!r}")
        max_iter = whole("max_iter", self.max_iter)
        n_clusters = whole("n_clusters", self.n_clusters, 0)
        if not 1 <= n_clusters <= len(points):
            raise ValueError(f"expected 1 to {len(points)} clusters, got {n_clusters}")
        data = Matrix(points) if self.metric == "precomputed" else Points(points)
        medoids = self._initial(data)
        for n_iter in range(1, max_iter + 1):
            self.n_iter_ = n_iter
            before = medoids.copy()
            _update(data, data.nearest(medoids), medoids)
            if (medoids == before).all():
                break
        else:
            warnings.warn(f"not converged in {self.max_iter} steps", ConvergenceWarning, 2)
        self.medoid_indices_ = medoids
        self.cluster_centers_ = None if self.metric == "precomputed" else points[medoids]
        self.labels_ = data.nearest(medoids)
        self.inertia_ = data.inertia(medoids[self.labels_])
        return self

    def predict(self, X: ArrayLike) -> np.ndarray:
        """The nearest medoid of each row of X, integers of shape `(n,)`.

        If precomputed, a row has the distances to all points that were fitted.
        """
        points = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        nearest: np.ndarray
        if self.metric == "precomputed":
            nearest = points[:, self.medoid_indices_].argmin(axis=1)
        else:
            nearest = pairwise_distances_argmin(points, self.cluster_centers_)
        return nearest

    def _initial(self, data: Points | Matrix) -> np.ndarray:
        n_clusters = whole("n_clusters", self.n_clusters)
        random: np.random.RandomState = check_random_state(self.random_state)
        if self.init == "k-medoids++":
            return data.spread(n_clusters, random)
        if self.init == "random":
            return random.choice(len(data), n_clusters, replace=False)
        totals = data.totals()
        if self.init == "heuristic":
            return np.argpartition(totals, n_clusters - 1)[:n_clusters]
        return _build(data, n_clusters, totals)


def _update(data: Points | Matrix, labels: np.ndarray, medoids: np.ndarray) -> None:
    """Moves each medoid to the member of its cluster with the least total distance, in place."""
    order = np.argsort(labels, kind="stable")
    bounds = np.searchsorted(labels[order], np.arange(len(medoids) + 1))
    for k, (start, stop) in enumerate(pairwise(bounds)):
        members = order[start:stop]
        if len(members) == 0:  # a duplicate of another medoid took all points
            continue
        costs = data.costs(members)
        current = costs[np.argmax(members == medoids[k])]
        if costs.min() < current:
            medoids[k] = members[costs.argmin()]


def _build(data: Points | Matrix, n_clusters: int, totals: np.ndarray) -> np.ndarray:
    """PAM's BUILD: the most central point, then always the one that lowers the inertia most."""
    medoids = [int(totals.argmin())]
    nearest = data.to(medoids[0])
    for _ in range(n_clusters - 1):
        gains = data.gains(nearest)
        gains[medoids] = -np.inf
        medoids.append(len(gains) - 1 - int(gains[::-1].argmax()))  # the last of equals
        nearest = np.minimum(nearest, data.to(medoids[-1]))
    return np.array(medoids)


def select(
    points: np.ndarray,
    n_centroids: int | None,
    estimator: MedoidEstimator | None = None,
    init: str = "k-medoids++",
    seed: int | None = 0,
) -> np.ndarray:
    """Rows of `points` to be centroids.

    Args:
        points: shape `(N, d)`.
        n_centroids: how many; None takes every row.
        estimator: anything with `fit(X)` and `medoid_indices_`, which then decides how many.
        init, seed: of the built-in `KMedoids`.

    Returns:
        indices of shape `(K,)`.
    """
    n = len(points)
    if estimator is not None:
        return _fitted_indices(estimator, points)
    if n_centroids is None:
        return np.arange(n)
    n_centroids = whole("n_centroids", n_centroids, 0)
    if not 1 <= n_centroids <= n:
        raise ValueError(
            f"expected 1 to {n} centroids, as many as there are points, got {n_centroids}"
        )
    return KMedoids(n_centroids, init=init, random_state=seed).fit(points).medoid_indices_


def _fitted_indices(estimator: MedoidEstimator, points: np.ndarray) -> np.ndarray:
    if isinstance(estimator, type) or not hasattr(estimator, "fit"):
        raise ValueError(f"estimator: expected an instance with fit(X), got {estimator!r}")
    estimator.fit(points)
    indices = getattr(estimator, "medoid_indices_", None)
    if indices is None:
        raise ValueError(
            f"expected an estimator with medoid_indices_ after fit, got {type(estimator)}"
        )
    indices = np.asarray(indices)
    if indices.ndim != 1 or len(indices) < 1 or indices.min() < 0 or indices.max() >= len(points):
        raise ValueError(f"medoid_indices_ must be rows 0 to {len(points) - 1}, got {indices}")
    return indices


def default_bandwidth(centroids: np.ndarray) -> float:
    """ρ = maxᵢ min_{j≠i} ‖cᵢ − cⱼ‖₂, the paper's (Algorithm 1).

    Raises:
        ValueError: with one centroid only, or where it is zero because all have a duplicate.

    >>> default_bandwidth(np.array([[0.0], [1.0], [3.0]]))
    2.0
    """
    if len(centroids) < 2:
        raise ValueError("one centroid has no nearest neighbour to take ρ from; pass bandwidth=...")
    nearest = NearestNeighbors(n_neighbors=1).fit(centroids).kneighbors(return_distance=False)[:, 0]
    rho = np.linalg.norm(
        centroids - centroids[nearest], axis=1
    ).max()  # its own distances may cancel
    if not rho > 0:
        raise ValueError(
            "every centroid has a duplicate, which makes the default bandwidth ρ zero; pass "
            "bandwidth=... or remove the duplicates"
        )
    return float(rho)

"""Points as k-medoids sees them: by the distances among them, which may be too many to hold."""

from collections.abc import Callable

import numpy as np
from sklearn.cluster import kmeans_plusplus
from sklearn.metrics import (
    pairwise_distances,
    pairwise_distances_argmin,
    pairwise_distances_chunked,
)

__all__ = ["Matrix", "Points"]

_MEBIBYTES = 128


class Points:
    """Rows of X, `(n, d)`, of whose distances only some exist at a time."""

    def __init__(self, X: np.ndarray):
        self.X = X

    def __len__(self) -> int:
        return len(self.X)

    def nearest(self, medoids: np.ndarray) -> np.ndarray:
        """Which medoid is nearest to each row."""
        labels: np.ndarray = pairwise_distances_argmin(self.X, self.X[medoids])
        return labels

    def inertia(self, rows: np.ndarray) -> float:
        """Sum of the distances from each row to another of its own."""
        return float(np.linalg.norm(self.X - self.X[rows], axis=1).sum())

    def to(self, row: int) -> np.ndarray:
        """Distances to one row, shape `(n,)`."""
        distances: np.ndarray = np.linalg.norm(self.X - self.X[row], axis=1)
        return distances

    def totals(self) -> np.ndarray:
        """Sum of the distances from each row to all rows, shape `(n,)`."""
        return self._reduced(lambda D, start: D.sum(axis=1))

    def gains(self, nearest: np.ndarray) -> np.ndarray:
        """By how much each row would lower the sum of `nearest`, were it a medoid."""
        return self._reduced(lambda D, start: np.maximum(nearest - D, 0).sum(axis=1))

    def costs(self, members: np.ndarray) -> np.ndarray:
        """Sum of the distances from all members to each."""
        X = self.X[members]
        if len(X) ** 2 * X.itemsize > _MEBIBYTES * 2**20:
            return Points(X).totals()
        return _column_sums(pairwise_distances(X))

    def spread(self, n_clusters: int, random: np.random.RandomState) -> np.ndarray:
        medoids: np.ndarray = kmeans_plusplus(self.X, n_clusters, random_state=random)[1]
        return medoids

    def _reduced(self, reduce_func: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
        """One number for each row of the distance matrix."""
        chunks = pairwise_distances_chunked(
            self.X, reduce_func=reduce_func, working_memory=_MEBIBYTES
        )
        return np.concatenate(list(chunks))


class Matrix:
    """The distances themselves, `(n, n)`; methods as of `Points`."""

    def __init__(self, D: np.ndarray):
        _check_distances(D)
        self.D = D

    def __len__(self) -> int:
        return len(self.D)

    def nearest(self, medoids: np.ndarray) -> np.ndarray:
        labels: np.ndarray = self.D[:, medoids].argmin(axis=1)
        return labels

    def inertia(self, rows: np.ndarray) -> float:
        return float(self.D[np.arange(len(self.D)), rows].sum())

    def to(self, row: int) -> np.ndarray:
        distances: np.ndarray = self.D[row]
        return distances

    def totals(self) -> np.ndarray:
        sums: np.ndarray = self.D.sum(axis=1)
        return sums

    def gains(self, nearest: np.ndarray) -> np.ndarray:
        sums: np.ndarray = np.maximum(nearest - self.D, 0).sum(axis=1)
        return sums

    def costs(self, members: np.ndarray) -> np.ndarray:
        return _column_sums(self.D[np.ix_(members, members)])

    def spread(self, n_clusters: int, random: np.random.RandomState) -> np.ndarray:
        """k-means++ as scikit-learn's: each time the best of some candidates, drawn by their squared
        distances."""
        n = len(self.D)
        medoids = [random.choice(n, p=np.full(n, 1 / n))]
        nearest = self.D[medoids[0]] ** 2
        trials = 2 + int(np.log(n_clusters))
        for _ in range(n_clusters - 1):
            cumulative = nearest.cumsum()
            drawn = np.searchsorted(cumulative, random.uniform(size=trials) * cumulative[-1])
            candidates = drawn.clip(max=n - 1)
            after = np.minimum(nearest, self.D[candidates] ** 2)
            best = after.sum(axis=1).argmin()
            medoids.append(candidates[best])
            nearest = after[best]
        return np.array(medoids)


def _check_distances(D: np.ndarray) -> None:
    if D.shape[0] != D.shape[1]:
        raise ValueError(f"X: expected a matrix of distances, shape (n, n), got {D.shape}")
    if D.min() < 0:
        raise ValueError(f"X: expected distances, got the negative {D.min()}")
    slack = 1e-5 * D.max()
    for off, expected in (
        (np.abs(D - D.T), "a symmetric matrix"),
        (np.diag(D.diagonal()), "zeros on the diagonal"),
    ):
        if off.max() > slack:
            i, j = map(int, np.unravel_index(off.argmax(), off.shape))
            raise ValueError(
                f"X: expected {expected}, got {D[i, j]} at {(i, j)}, {D[j, i]} at {(j, i)}"
            )


def _column_sums(D: np.ndarray) -> np.ndarray:
    """Sum of the distances from all rows to each: mathematically that of the rows.

    The two members of a small cluster cost the same, and their rounding decides. Summed this way
    round, as scikit-learn-extra does, it decides alike.
    """
    sums: np.ndarray = np.ascontiguousarray(D.T).sum(axis=1)
    return sums

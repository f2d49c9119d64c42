import tracemalloc

import numpy as np
import pytest
import torch
from sklearn.metrics import pairwise_distances

from pyrogeo.geometry import Conformal, Euclidean, Newton
from pyrogeo.geometry.curves.distances import distance_matrix
from pyrogeo.geometry.kmedoids import INITS, KMedoids, default_bandwidth, select
from pyrogeo.geometry.point_sets import Points

try:
    import sklearn_extra.cluster as sklearn_extra
except ImportError:
    sklearn_extra = None


@pytest.fixture
def points(embedded):
    return embedded[16].mean.double().numpy()


@pytest.mark.parametrize("init", INITS)
def test_a_fixed_point_of_the_alternation(points, init):
    x = points[:300]
    found = KMedoids(12, init=init, random_state=0).fit(x)
    assert len(set(found.medoid_indices_)) == 12
    distances = pairwise_distances(x)
    np.testing.assert_array_equal(found.labels_, distances[found.medoid_indices_].argmin(0))
    for k, medoid in enumerate(found.medoid_indices_):
        members = np.flatnonzero(found.labels_ == k)
        costs = distances[np.ix_(members, members)].sum(1)
        assert costs.min() == pytest.approx(costs[members == medoid][0])
    assert found.inertia_ == pytest.approx(distances[found.medoid_indices_].min(0).sum())
    np.testing.assert_array_equal(found.predict(x), found.labels_)


def test_build_is_greedy(points):
    x = points[:150]
    distances = pairwise_distances(x)
    medoids = KMedoids(6, init="build", max_iter=1)._initial(Points(x))
    chosen = []
    for medoid in medoids:
        costs = [distances[[*chosen, i]].min(0).sum() for i in range(len(x))]
        assert costs[medoid] == pytest.approx(min(costs))
        chosen.append(medoid)


def test_the_spread_start_reaches_all_over_where_the_heuristic_stays(points):
    spread, central = (
        KMedoids(100, init=init, random_state=0).fit(points)
        for init in ("k-medoids++", "heuristic")
    )
    assert spread.inertia_ < 0.95 * central.inertia_


def test_one_seed_one_selection(points):
    a, b, c = (select(points, 20, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    assert (a != c).any()


def test_chunks_make_no_difference(points, monkeypatch):
    whole = KMedoids(20, init="heuristic").fit(points).medoid_indices_
    monkeypatch.setattr("pyrogeo.geometry.point_sets._MEBIBYTES", 1)
    pieces = KMedoids(20, init="heuristic").fit(points).medoid_indices_
    np.testing.assert_array_equal(whole, pieces)


def test_no_distance_matrix():
    x = np.random.default_rng(0).normal(size=(12_000, 8))  # the matrix would take 1.1 GiB
    tracemalloc.start()
    KMedoids(50, random_state=0, max_iter=2 * 10).fit(x[:4000])
    KMedoids(50, random_state=0).fit(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 700 * 2**20


def test_duplicates_are_no_obstacle():
    x = np.repeat(np.arange(4.0)[:, None], 10, axis=0)
    found = KMedoids(4, random_state=0).fit(x)
    assert sorted(x[found.medoid_indices_, 0]) == [0, 1, 2, 3]


@pytest.mark.parametrize("n", [10, 100])
@pytest.mark.parametrize("init", INITS)
def test_a_matrix_of_euclidean_distances_gives_the_same_medoids(points, init, n):
    """Also k-medoids++, which draws from the same numbers in the same order."""
    points = points[:500]
    distances = pairwise_distances(points)
    of_points = KMedoids(n, init, random_state=0).fit(points)
    of_matrix = KMedoids(n, init, random_state=0, metric="precomputed").fit(distances)
    np.testing.assert_array_equal(of_matrix.medoid_indices_, of_points.medoid_indices_)
    np.testing.assert_array_equal(of_matrix.labels_, of_points.labels_)
    assert of_matrix.inertia_ == pytest.approx(of_points.inertia_)
    assert of_matrix.cluster_centers_ is None
    new = points[:50] + 0.1
    np.testing.assert_array_equal(
        of_matrix.predict(pairwise_distances(new, points)), of_points.predict(new)
    )


@pytest.mark.parametrize("init", INITS)
def test_duplicates_in_a_matrix_are_no_obstacle(init):
    distances = np.abs(np.subtract.outer(*2 * [np.repeat(np.arange(4.0), 10)]))
    found = KMedoids(6, init, random_state=0, metric="precomputed").fit(distances)
    assert len(found.medoid_indices_) == 6


def test_geodesic_distances_follow_what_straight_ones_cut_across():
    """Two long rows of points, close to each other, with a ridge of the metric between them."""
    x = torch.linspace(-2, 2, 12, dtype=torch.float64)
    rows = [torch.stack([x, torch.full_like(x, y)], 1) for y in (-0.4, 0.4)]
    z, row = torch.cat(rows), np.repeat([0, 1], 12)
    ridge = Conformal(Euclidean(), lambda z: 2 * (-((z[..., 1] / 0.2) ** 2)).exp())
    geodesic = distance_matrix(ridge, z, progress=False, solver=Newton(32)).numpy()

    def agreement(labels):
        return max((labels == row).mean(), (labels != row).mean())

    options = {"n_clusters": 2, "random_state": 0}
    assert agreement(KMedoids(**options, metric="precomputed").fit(geodesic).labels_) == 1
    assert agreement(KMedoids(**options).fit(z.numpy()).labels_) < 0.6


class First:
    def __init__(self, indices):
        self.indices = indices

    def fit(self, x):
        self.medoid_indices_ = self.indices
        return self


def test_any_estimator_with_medoid_indices(points):
    np.testing.assert_array_equal(select(points, None, First([3, 1, 2])), [3, 1, 2])
    for indices, message in [
        (None, "medoid_indices_ after fit"),
        ([5000], "must be rows 0 to 1130"),
    ]:
        with pytest.raises(ValueError, match=message):
            select(points, None, First(indices))


def test_bad_input(points):
    with pytest.raises(ValueError, match="1 to 1131 clusters, got 2000"):
        KMedoids(2000).fit(points)
    with pytest.raises(ValueError, match="NaN"):
        KMedoids(2).fit(points * np.nan)
    with pytest.raises(ValueError, match="one centroid"):
        default_bandwidth(np.zeros((1, 2)))
    with pytest.raises(ValueError, match=r"metric must be one of .* got 'cosine'"):
        KMedoids(2, metric="cosine").fit(points)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((3, 2)), r"shape \(n, n\), got \(3, 2\)"),
        (np.array([[0, -1], [-1, 0]]), "negative -1"),
        (np.array([[0, np.nan], [1, 0]]), "NaN"),
        (np.array([[0, np.inf], [np.inf, 0]]), "infinity"),
        (
            np.array([[0, 1, 1], [1, 0, 2], [1, 3, 0]]),
            r"symmetric matrix, got 2.0 at \(1, 2\), 3.0",
        ),
        (np.array([[1, 0.5], [0.5, 1]]), "zeros on the diagonal, got 1.0"),
    ],
)
def test_what_is_no_matrix_of_distances(matrix, message):
    with pytest.raises(ValueError, match=message):
        KMedoids(2, metric="precomputed").fit(matrix)


@pytest.mark.sklearn_extra
@pytest.mark.skipif(sklearn_extra is None, reason="scikit-learn-extra is not installed")
class TestAgainstTheRealPackage:
    """Runs where scikit-learn-extra can be installed: Python 3.11 and NumPy 1."""

    @pytest.mark.parametrize("init", ["heuristic", "build"])
    @pytest.mark.parametrize("n", [10, 100])
    def test_the_same_medoids(self, points, init, n):
        theirs = sklearn_extra.KMedoids(n, method="alternate", init=init).fit(points)
        ours = KMedoids(n, init=init).fit(points)
        np.testing.assert_array_equal(ours.medoid_indices_, theirs.medoid_indices_)
        assert ours.inertia_ == pytest.approx(theirs.inertia_)

    @pytest.mark.parametrize("init", ["heuristic", "build"])
    def test_the_same_medoids_of_a_matrix(self, points, init):
        distances = pairwise_distances(points)
        options = {"init": init, "metric": "precomputed"}
        theirs = sklearn_extra.KMedoids(30, method="alternate", **options).fit(distances)
        ours = KMedoids(30, **options).fit(distances)
        np.testing.assert_array_equal(ours.medoid_indices_, theirs.medoid_indices_)
        np.testing.assert_array_equal(ours.predict(distances), theirs.predict(distances))

    @pytest.mark.parametrize("name", ["KMedoids", "CLARA"])
    def test_their_estimators_plug_in(self, points, name):
        estimator = getattr(sklearn_extra, name)(n_clusters=30, random_state=0)
        assert len(select(points, None, estimator)) == 30

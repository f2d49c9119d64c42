import tracemalloc

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from pyrogeo.geometry.centroids import INITS, KMedoids, default_bandwidth, select

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
    medoids = KMedoids(6, init="build", max_iter=1)._initial(x)
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
    monkeypatch.setattr("pyrogeo.geometry.centroids._MEBIBYTES", 1)
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

    @pytest.mark.parametrize("name", ["KMedoids", "CLARA"])
    def test_their_estimators_plug_in(self, points, name):
        estimator = getattr(sklearn_extra, name)(n_clusters=30, random_state=0)
        assert len(select(points, None, estimator)) == 30

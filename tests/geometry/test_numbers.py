"""Numbers at the geometry's doors: NumPy's and torch's are taken, True is refused, and so is what is out of range."""

import numpy as np
import pytest
import torch

from pyrogeo import plots
from pyrogeo.geometry import (
    Curve,
    Euclidean,
    KMedoids,
    LearnedMetric,
    Newton,
    Spline,
    distance_map,
    exp_map,
    frechet_mean,
    geodesic,
    laplace_covariances,
    parallel_transport,
    volume_seeking,
)
from pyrogeo.geometry.kmedoids import select
from tests.geometry.metrics import diagonal

A, B = torch.zeros(2), torch.ones(2)
LINE, AXIS, POINTS = Curve.line(A, B), torch.linspace(-1, 1, 5), np.arange(12.0).reshape(6, 2)


def decoder(z):
    return torch.cat([z, z], -1)


WHOLE = {  # a function of the number, and one that it takes
    "num_segments of Newton": (lambda n: Newton(num_segments=n), 8),
    "num_segments of Spline": (lambda n: Spline(num_segments=n), 8),
    "num_segments of a line": (lambda n: Curve.line(A, B, n), 2),
    "num_segments of the same path": (lambda n: LINE.reparametrized(Euclidean(), n), 2),
    "max_iterations": (lambda n: Newton(max_iterations=n), 5),
    "max_iterations of a mean": (
        lambda n: frechet_mean(Euclidean(), torch.eye(2), max_iterations=n),
        5,
    ),
    "chunk_size": (lambda n: geodesic(Euclidean(), A, B, chunk_size=n), 3),
    "n_neighbors": (lambda n: geodesic(Euclidean(), A, B, via=torch.rand(9, 2), n_neighbors=n), 2),
    "num_steps": (lambda n: parallel_transport(Euclidean(), LINE, B, num_steps=n), 4),
    "radius": (lambda n: distance_map(Euclidean(), A, (AXIS, AXIS), radius=n), 2),
    "batch_size": (lambda n: laplace_covariances(decoder, A[None], fisher=False, batch_size=n), 2),
    "n_centroids": (lambda n: select(POINTS, n), 2),
    "n_clusters": (lambda n: KMedoids(n, random_state=0).fit(POINTS), 2),
    "max_iter": (lambda n: KMedoids(2, max_iter=n, random_state=0).fit(POINTS), 20),
    "room": (lambda n: LearnedMetric.empty(n, 2), 2),
    "columns": (lambda n: plots.images(torch.rand(4, 1, 2, 2), columns=n), 2),
    "contours": (
        lambda n: plots.distance_map(distance_map(Euclidean(), A, (AXIS, AXIS)), contours=n),
        4,
    ),
}
POSITIVE = {
    "tolerance": lambda x: Newton(tolerance=x),
    "tolerance of a mean": lambda x: frechet_mean(Euclidean(), torch.eye(2), tolerance=x),
    "rtol": lambda x: exp_map(Euclidean(), A, B, rtol=x),
    "atol": lambda x: exp_map(Euclidean(), A, B, atol=x),
    "bandwidth": lambda x: diagonal(bandwidth=x),
    "temperature": lambda x: LearnedMetric.empty(2, 2, temperature=x),
    "prior_precision": lambda x: laplace_covariances(decoder, A[None], x, fisher=False),
    "power": lambda x: volume_seeking(Euclidean(), power=x),
    "scale": lambda x: plots.indicatrices(Euclidean(), torch.eye(2), scale=x),
}
NOT_NEGATIVE = {
    "regularization": lambda x: diagonal(regularization=x),
    "decay": lambda x: diagonal(decay=x),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name):
    take, good = WHOLE[name]
    for number in (good, np.int64(good), torch.tensor(good)):
        take(number)
    for bad in (True, 2.5, float(good), 0, -1, "4"):
        with pytest.raises(ValueError, match=r"must be|expected"):
            take(bad)


@pytest.mark.parametrize("name", POSITIVE)
def test_positive_numbers(name):
    for number in (0.5, np.float32(0.5), np.float64(0.5), torch.tensor(0.5), 1):
        POSITIVE[name](number)
    for bad in (True, 0, -1.0, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match="must be positive and finite"):
            POSITIVE[name](bad)


@pytest.mark.parametrize("name", NOT_NEGATIVE)
def test_numbers_that_are_not_negative(name):
    for number in (0, 0.5, np.float32(0.5), torch.tensor(0.5)):
        NOT_NEGATIVE[name](number)
    for bad in (True, -1e-9, float("nan"), float("inf"), "1"):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            NOT_NEGATIVE[name](bad)


def test_a_solver_keeps_pythons_own_numbers():
    solver = Newton(np.int64(8), np.float32(0.5), torch.tensor(3))
    assert [type(x) for x in (solver.num_segments, solver.tolerance, solver.max_iterations)] == [
        int,
        float,
        int,
    ]
    assert solver == Newton(8, 0.5, 3)

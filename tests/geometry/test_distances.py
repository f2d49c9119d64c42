"""Distances between many points, and means."""

import math

import pytest
import torch

from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry import (
    Constant,
    Euclidean,
    KMedoids,
    Newton,
    distance,
    distance_matrix,
    frechet_mean,
    log_map,
)
from tests.geometry.curved import FIXED, MANIFOLDS
from tests.geometry.metrics import Disk, HalfPlane, diagonal, uniform
from tests.geometry.test_geodesics import point, vacuum


@pytest.mark.parametrize("name", ["half-plane", "sphere", "constant"])
def test_the_matrix_of_distances(name):
    m = MANIFOLDS[name]()
    x, y = m.points[:9], m.points[9:13]
    square = distance_matrix(m.metric, x, progress=False)
    assert torch.equal(square, square.T)
    assert torch.equal(square.diagonal(), torch.zeros(9, dtype=torch.float64))
    i, j = torch.triu_indices(9, 9, 1)
    torch.testing.assert_close(square[i, j], m.distance(x[i], x[j]), rtol=1e-5, atol=0)
    torch.testing.assert_close(square[i, j], distance(m.metric, x[i], x[j]))
    across = distance_matrix(m.metric, x, y, progress=False, solver=Newton(16))
    assert across.shape == (9, 4)
    expected = m.distance(x[:, None].expand(9, 4, -1), y.expand(9, 4, -1))
    torch.testing.assert_close(across, expected, rtol=1e-3, atol=0)


def test_blocks_of_pairs_make_no_difference(monkeypatch):
    x = uniform(0.2, 1.2)[:7]
    whole = distance_matrix(HalfPlane(), x, progress=False)
    monkeypatch.setattr("pyrogeo.geometry.curves.distances._PAIRS", 4)
    torch.testing.assert_close(distance_matrix(HalfPlane(), x, progress=False), whole)


def test_one_point():
    assert torch.equal(distance_matrix(Euclidean(), torch.ones(1, 2)), torch.zeros(1, 1))


def test_a_bar_is_shown(capsys):
    distance_matrix(Euclidean(), torch.rand(3, 2), solver=Newton(4))
    assert "distances: 100%" in capsys.readouterr().err
    distance_matrix(Euclidean(), torch.rand(3, 2), solver=Newton(4), progress=False)
    assert capsys.readouterr().err == ""


def test_one_warning_for_all_pairs(monkeypatch):
    monkeypatch.setattr("pyrogeo.geometry.curves.distances._PAIRS", 2)
    x = uniform(0.2, 1.2)[:4]
    with pytest.warns(GeodesicWarning, match="^of 6 geodesics 6 did not converge, and 0") as record:
        distance_matrix(HalfPlane(), x, progress=False, solver=Newton(max_iterations=1))
    assert len(record) == 1
    ends = point(1.5, 0.0, -1.5, 0.0, 0.0, 0.0).reshape(3, 2)
    with pytest.warns(GeodesicWarning, match="and 1 are longer than a way through infinity"):
        distance_matrix(vacuum(), ends, progress=False)


def test_clustering_on_the_manifold():
    groups = torch.cat(
        [point(-1.0, 0.5) + 0.1 * uniform(-1, 1)[:8], point(1.0, 0.5) + 0.1 * uniform(-1, 1)[8:16]]
    )
    matrix = distance_matrix(HalfPlane(), groups, progress=False, solver=Newton(8))
    labels = KMedoids(2, random_state=0).fit(matrix.numpy()).labels_
    assert len(set(labels[:8])) == len(set(labels[8:])) == 1
    assert labels[0] != labels[8]


@pytest.mark.parametrize("metric", [Euclidean(), Constant(FIXED)])
def test_the_mean_where_space_is_flat(metric):
    x, w = uniform(-1, 1, 3)[:8], uniform(0, 1, 1)[:8, 0]
    torch.testing.assert_close(frechet_mean(metric, x), x.mean(0), rtol=0, atol=1e-5)
    expected = (w[:, None] * x).sum(0) / w.sum()
    torch.testing.assert_close(frechet_mean(metric, x, w), expected, rtol=0, atol=1e-5)


def test_the_mean_in_single_precision():
    x = uniform(0.2, 1.2)[:6]
    mean = frechet_mean(HalfPlane(), x.float())
    assert mean.dtype == torch.float32
    torch.testing.assert_close(mean.double(), frechet_mean(HalfPlane(), x), rtol=0, atol=1e-3)


def test_the_mean_of_two_points_is_between_them():
    a, b = point(0.0, 0.5), point(0.0, 2.0)
    mean = frechet_mean(HalfPlane(), torch.stack([a, b]))
    torch.testing.assert_close(mean, point(0.0, 1.0), rtol=0, atol=1e-5)
    shares = frechet_mean(HalfPlane(), torch.stack([a, b]), torch.tensor([0.25, 0.75]))
    torch.testing.assert_close(shares, point(0.0, 0.5 * 4**0.75), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", ["half-plane", "sphere", "disk"])
def test_the_mean_of_a_symmetric_configuration(name):
    # Corners of a regular polygon around a point, by the closed form of the exponential map.
    m = MANIFOLDS[name]()
    centre = point(0.3, 0.8) if name == "half-plane" else point(0.2, -0.1)
    angle = torch.arange(5, dtype=torch.float64) * 2 * math.pi / 5
    corners = m.exp(centre.expand(5, 2), 0.3 * torch.stack([angle.cos(), angle.sin()], -1))
    mean = frechet_mean(m.metric, corners)
    torch.testing.assert_close(mean, centre, rtol=0, atol=1e-4)
    far = frechet_mean(m.metric, corners, initial=corners[0])
    torch.testing.assert_close(far, mean, rtol=0, atol=1e-4)


def test_the_logarithms_at_the_mean_add_up_to_nothing():
    metric = diagonal(d=2)
    x = metric.centroids[:6] * 0.5
    mean = frechet_mean(metric, x, solver=Newton(32))
    logs = log_map(metric, mean, x, solver=Newton(32))
    spread = metric.norm(mean, logs).pow(2).mean().sqrt()
    assert metric.norm(mean, logs.mean(0)) < 1e-4 * spread


def test_means_of_one_point_and_of_equal_points():
    x = point(0.2, 0.1)
    assert torch.equal(frechet_mean(Disk(), x[None]), x)
    assert torch.equal(frechet_mean(Disk(), x.expand(4, 2)), x)


def test_a_mean_that_is_not_found_in_time():
    with pytest.warns(GeodesicWarning, match="did not converge in 1 steps"):
        frechet_mean(HalfPlane(), uniform(0.2, 1.2)[:5], initial=point(0.0, 5.0), max_iterations=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda x: distance_matrix(Euclidean(), x[0]), r"x: expected points .* got \(2,\)"),
        (lambda x: distance_matrix(Euclidean(), [x]), "x: expected points"),
        (lambda x: distance_matrix(Euclidean(), x, x[0]), r"y: expected points .* got \(2,\)"),
        (lambda x: distance_matrix(Euclidean(), x, x[:0]), r"y: expected points .* got \(0, 2\)"),
        (lambda x: distance_matrix(Euclidean(), x, torch.zeros(2, 3)), "do not fit"),
        (lambda x: distance_matrix(HalfPlane(), x - 1, progress=False), "outside"),
        (lambda x: frechet_mean(Euclidean(), x[0]), r"points: .* got \(2,\)"),
        (lambda x: frechet_mean(Euclidean(), x[:0]), r"points: .* got \(0, 2\)"),
        (lambda x: frechet_mean(Euclidean(), x, torch.ones(3)), r"weights: expected 5 .* \(3,\)"),
        (lambda x: frechet_mean(Euclidean(), x, -torch.ones(5)), "weights: expected 5"),
        (lambda x: frechet_mean(Euclidean(), x, torch.zeros(5)), "weights: expected 5"),
        (lambda x: frechet_mean(Euclidean(), x, torch.ones(5) / 0), "weights: expected 5 finite"),
        (lambda x: frechet_mean(Euclidean(), x, initial=torch.zeros(3)), "do not fit"),
        (lambda x: frechet_mean(Euclidean(), x, initial=x), "initial: expected shape"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(torch.rand(5, 2))

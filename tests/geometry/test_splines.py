"""Geodesics as splines with few nodes: against closed forms, against Newton's method, and over every metric."""

import warnings
from itertools import pairwise

import pytest
import torch

from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry import Curve, Metric, Spline, distance_matrix, geodesic
from tests.geometry.curved import MANIFOLDS
from tests.geometry.metrics import METRICS, HalfPlane, diagonal

SPLINE = Spline(num_segments=16, tolerance=1e-3)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_lengths_of_closed_forms(name):
    manifold = MANIFOLDS[name]()
    a, b = manifold.points.chunk(2)
    found = geodesic(manifold.metric, a, b, solver=SPLINE)
    assert found.converged.all()
    error = found.length / manifold.distance(a, b) - 1
    assert error.abs().max() < 2e-3
    assert error.min() > -1e-5  # no curve is shorter than the distance
    torch.testing.assert_close(found.curve(0.0), a)
    torch.testing.assert_close(found.curve(1.0), b)


def test_more_segments_are_closer():
    manifold = MANIFOLDS["half-plane"]()
    a, b = manifold.points.chunk(2)
    exact = manifold.distance(a, b)
    errors = []
    for n in (4, 8, 16, 32):
        solver = Spline(num_segments=n, tolerance=1e-6)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GeodesicWarning)  # four segments are coarse
            errors.append((geodesic(manifold.metric, a, b, solver=solver).length / exact - 1).max())
    assert all(coarse > 2 * fine for coarse, fine in pairwise(errors))


@pytest.mark.parametrize("name", METRICS)
def test_laws(name):
    metric, z = METRICS[name]()
    a, b = z[:6], z[6:12]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        found, back = (geodesic(metric, *ends, solver=SPLINE) for ends in ((a, b), (b, a)))
        straight = Curve.line(a, b, 64).length(metric)
    assert (found.length <= straight * (1 + 2e-3)).all()
    both = found.converged & back.converged
    assert both.double().mean() > 0.6
    torch.testing.assert_close(found.length[both], back.length[both], rtol=1e-2, atol=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_first_derivatives_are_those_of_autograd(name):
    metric, z = METRICS[name]()
    v = torch.randn_like(z)
    q, in_z, in_v, weight = metric.square_gradients(z, v)
    torch.testing.assert_close(q, metric.inner(z, v, v))
    for mine, its in zip((in_z, in_v), Metric.square_gradients(metric, z, v)[1:3], strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-9 * its.abs().max().item())
    assert (weight > 0).all()
    assert weight.shape[:-1] == q.shape
    assert weight.shape[-1] in (1, z.shape[-1])


def test_beside_newton_among_many_centroids():
    """Where Newton's method converged, the spline is hardly longer; and it is never longer than the line."""
    metric = diagonal(60, 6, spread=1.5)
    a, b = metric.centroids[:20], metric.centroids[20:40]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        newton, spline = geodesic(metric, a, b), geodesic(metric, a, b, solver=SPLINE)
    assert spline.converged.double().mean() > 0.9
    assert (spline.length / newton.length - 1).quantile(0.75) < 0.02
    assert (spline.length <= Curve.line(a, b, 64).length(metric) * (1 + 2e-3)).all()


def test_equal_end_points_and_those_that_are_there_already():
    z = torch.tensor([[0.0, 1.0], [0.3, 0.5]]).double()
    found = geodesic(HalfPlane(), z, z, solver=SPLINE)
    assert (found.length == 0).all()
    assert found.converged.all()
    assert torch.isfinite(found.curve.nodes).all()


def test_a_metric_matrix_takes_the_solver():
    z = torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.5, 2.0]]).double()
    fast = distance_matrix(HalfPlane(), z, progress=False, solver=SPLINE)
    torch.testing.assert_close(
        fast, distance_matrix(HalfPlane(), z, progress=False), rtol=1e-3, atol=0
    )


def test_chunks_and_other_pairs_make_no_difference():
    metric = diagonal(30, 4)
    a, b = metric.centroids[:12], metric.centroids[12:24]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        whole = geodesic(metric, a, b, solver=SPLINE)
        parts = geodesic(metric, a, b, chunk_size=5, solver=SPLINE)
    torch.testing.assert_close(whole.length, parts.length, rtol=1e-6, atol=0)


def test_what_did_not_converge_is_flagged():
    metric = diagonal(60, 6, spread=1.5)
    with pytest.warns(GeodesicWarning, match="did not converge"):
        found = geodesic(metric, *metric.centroids[:2], solver=Spline(max_iterations=1))
    assert not found.converged


def test_another_solver():
    z = torch.zeros(2).double()
    with pytest.raises(
        ValueError, match=r"solver: expected Newton\(...\) or Spline\(...\), got 'fast'"
    ):
        geodesic(diagonal(d=2), z, z + 1, solver="fast")

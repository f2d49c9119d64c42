"""Points of another precision than the metric's: computed with in the metric's, returned in their own."""

import warnings
from functools import partial

import pytest
import torch
from torch import nn

from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry import (
    Conformal,
    Constant,
    Curve,
    DiagonalCentroidMetric,
    Euclidean,
    Metric,
    Newton,
    Pullback,
    Spline,
    distance,
    distance_map,
    distance_matrix,
    exp_map,
    frechet_mean,
    geodesic,
    log_map,
    parallel_transport,
)
from tests.geometry.metrics import METRICS, diagonal, full, learned

POINTWISE = {
    "forward": lambda m, z, v: m(z),
    "cholesky": lambda m, z, v: m.cholesky(z),
    "log_volume_element": lambda m, z, v: m.log_volume_element(z),
    "log_volume_element_and_grad": lambda m, z, v: m.log_volume_element_and_grad(z),
    "inner": lambda m, z, v: m.inner(z, v, 2 * v),
    "norm": lambda m, z, v: m.norm(z, v),
    "flat": lambda m, z, v: m.flat(z, v),
    "sharp": lambda m, z, v: m.sharp(z, v),
    "square_gradients": lambda m, z, v: m.square_gradients(z, v),
    "square_derivatives": lambda m, z, v: m.square_derivatives(z, v),
    "distance_to_infinity": lambda m, z, v: m.distance_to_infinity(z),
    "the inverse": lambda m, z, v: m.inverse(z),
    "a part": lambda m, z, v: m.norm(z[0], v),
}
OF_CENTROIDS = {
    "squared_distances": lambda m, z: m.squared_distances(z),
    "weighted_displacements": lambda m, z: m.weighted_displacements(
        torch.ones(len(z), m.n_centroids).to(z), z
    ),
}


def parts(found):
    return found if isinstance(found, tuple) else (found,)


def check(function, single, *more, exact=True):
    """In float32 what float64 gives, rounded once if the metric is float64."""
    found = parts(function(*single, *more))
    expected = parts(function(*(x.double() for x in single), *more))
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        if exact:
            assert torch.equal(one, other.float())
        else:
            torch.testing.assert_close(one.double(), other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("method", POINTWISE)
@pytest.mark.parametrize("name", METRICS)
def test_float32_points_come_back_in_float32(name, method):
    metric, z = METRICS[name]()
    z = z[-8:].float()
    v = torch.randn(z.shape, generator=torch.Generator().manual_seed(0))
    assert metric.dtype in (None, torch.float64)
    exact = metric.dtype is not None
    check(lambda z, v: POINTWISE[method](metric, z, v), (z, v), exact=exact)
    assert metric.contains(z).dtype == torch.bool


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("method", OF_CENTROIDS)
def test_what_centroids_add(make, method):
    check(lambda z: OF_CENTROIDS[method](make(), z), (torch.randn(5, 3),))


def test_other_methods_of_points():
    check(lambda z: diagonal().diagonal(z), (torch.randn(5, 3),))
    check(lambda z: learned().precision(z), (torch.randn(5, 3),))


@pytest.mark.parametrize("name", METRICS)
def test_gradients_arrive_in_the_points_own_dtype(name):
    metric, z = METRICS[name]()

    def gradient(z):
        z = z.clone().requires_grad_()
        return torch.autograd.grad((metric.log_volume_element(z) + 0 * z.sum(-1)).sum(), z)

    check(gradient, (z[-8:].float(),), exact=metric.dtype is not None)


def test_points_of_both_kinds_come_back_as_the_first():
    metric, z = diagonal(), torch.randn(4, 3)
    weights = torch.ones(4, 12).double()
    exact = metric.weighted_displacements(weights, z.double())
    assert torch.equal(metric.weighted_displacements(weights, z), exact)
    assert torch.equal(metric.inner(z, z.double(), z), metric.inner(z.double(), z, z).float())
    for ends in ((z[0], z[1].double()), (z[0].double(), z[1])):
        assert geodesic(metric, *ends, solver=Spline()).length.dtype == ends[0].dtype


def test_float64_points_and_a_float32_metric():
    metric = diagonal(dtype=torch.float32)
    z = torch.randn(4, 3).double()
    assert metric.log_volume_element(z).dtype == torch.float64
    assert torch.equal(metric(z), metric(z.float()).double())


CURVES = {
    "geodesic": lambda m, a, b, **o: (
        (g := geodesic(m, a, b, **o)).length,
        g.residual,
        g.discretization,
        g.curve.nodes,
    ),
    "distance": distance,
    "distance_matrix": partial(distance_matrix, progress=False),
    "log_map": log_map,
    "frechet_mean": lambda m, a, b, **o: frechet_mean(m, torch.cat([a, b]), max_iterations=2, **o),
    "frechet_mean, weighted": lambda m, a, b, **o: frechet_mean(
        m, a, torch.ones(len(a)).double(), initial=b[0], max_iterations=2, **o
    ),
    "exp_map": lambda m, a, b, solver: exp_map(m, a, 0.25 * b),
    "parallel_transport": lambda m, a, b, solver: parallel_transport(m, Curve.line(a, b), a),
    "through points": lambda m, a, b, **o: (
        geodesic(m, a, b, via=m.centroids, n_neighbors=3, **o).length
    ),
    "from a curve": lambda m, a, b, **o: (
        geodesic(m, a, b, initial=Curve(torch.stack([a, 0.5 * b, b], -2)), **o).length
    ),
}


@pytest.mark.parametrize("solver", [Newton(8), Spline()], ids=["Newton", "Spline"])
@pytest.mark.parametrize("name", CURVES)
@pytest.mark.filterwarnings("ignore::pyrogeo.errors.GeodesicWarning")
def test_curves_are_solved_in_the_precision_of_the_metric(name, solver):
    metric = diagonal(d=2)
    a, b = metric.centroids[:3].float(), metric.centroids[3:6].float()
    check(lambda a, b: CURVES[name](metric, a, b, solver=solver), (a, b))


def test_the_tolerance_is_that_of_the_metric():
    metric = Constant(torch.eye(2).double())
    assert geodesic(metric, torch.zeros(2), torch.ones(2)).residual < 1e-6
    assert Newton(tolerance=1e-9).tolerance_in(torch.float64) < 1e-7
    assert Newton(tolerance=1e-9).tolerance_in(torch.float32) > 1e-3


def test_a_map_of_distances():
    metric = diagonal(d=2)
    axis = torch.linspace(-1, 1, 9)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        found, exact = (
            distance_map(metric, torch.zeros(2).to(axis), (axis, axis))
            for axis in (axis, axis.double())
        )
    assert torch.equal(found.distances, exact.distances.float())
    assert found.path(0, 0).nodes.dtype == found.x.dtype == torch.float32


class Tilted(Metric):
    """A user's own, with a tensor and nothing else."""

    def __init__(self):
        super().__init__()
        self.register_buffer("slope", torch.tensor([1.0, 2.0], dtype=torch.float64))

    def forward(self, z):
        height = 1 + (z @ self.slope) ** 2
        return torch.diag_embed(height[..., None].expand(*z.shape))


class Plain(Metric):
    """A user's own without tensors, which computes in float64 whatever it is given."""

    def forward(self, z):
        return torch.diag_embed(1 + z.double() ** 2)


def test_a_metric_of_ones_own():
    z = torch.randn(4, 2)
    check(lambda z: Tilted().log_volume_element(z), (z,))
    check(lambda z: geodesic(Tilted(), z[:2], z[2:]).length, (z,))
    assert Plain().dtype is Plain().device is None
    assert torch.equal(Plain()(z), Plain()(z.double()))
    assert Plain().log_volume_element(z).dtype == torch.float64


def test_a_decoder_decides_for_its_pullback():
    metric = Pullback(nn.Linear(2, 3))
    z = torch.randn(4, 2).double()
    assert metric.dtype == torch.float32
    assert torch.equal(metric(z), metric(z.float()).double())
    assert distance(metric, z[:2], z[2:], solver=Newton(4)).dtype == torch.float64


@pytest.mark.parametrize("make", [diagonal, full, learned, lambda: Constant(torch.eye(3).double())])
def test_what_is_no_point_is_refused(make):
    for z in (torch.zeros(2, 3).half(), torch.zeros(2, 3).bfloat16(), torch.zeros(2, 3).long()):
        for function in (make(), make().log_volume_element, make().contains):
            with pytest.raises(
                ValueError, match=f"the metric is torch.float64 on cpu, .* {z.dtype}"
            ):
                function(z)
        with pytest.raises(ValueError, match=str(z.dtype)):
            geodesic(make(), z[0], z[1])
    with pytest.raises(ValueError, match="on cpu, the points are torch.float64 on meta"):
        make()(torch.zeros(2, 3, dtype=torch.float64, device="meta"))


@pytest.mark.parametrize("name", METRICS)
def test_a_copy_in_another_precision_leaves_the_metric_as_it_was(name):
    metric, z = METRICS[name]()
    before, dtype = metric(z), metric.dtype
    single = metric.copy(dtype=torch.float32)
    assert single.dtype in (None, torch.float32)
    assert metric.dtype == dtype
    assert torch.equal(metric(z), before)
    assert torch.equal(metric.copy()(z), before)


def test_a_copy_in_double_precision_has_all_its_digits():
    single = diagonal(dtype=torch.float32)
    double = single.copy(dtype=torch.float64)
    centroids, variances = single.centroids.double(), single.variances.double()
    numbers = (x.item() for x in (single.bandwidth, single.regularization, single.decay))
    exact = DiagonalCentroidMetric(centroids, variances, *numbers)
    z = torch.randn(5, 3).double()
    assert torch.equal(double(z), exact(z))


def test_float_converts_in_place():
    metric = Conformal(Euclidean(), nn.Sequential(nn.Linear(2, 1).double(), nn.Flatten(-2)))
    assert metric.dtype == torch.float64
    assert metric.float() is metric
    assert metric.dtype == torch.float32

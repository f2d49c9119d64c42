"""Geodesics against closed forms, and laws over every metric. The errors in comments were measured."""

import math
from itertools import pairwise

import pytest
import torch

from pyrogeo.errors import GeodesicWarning, NotPositiveDefiniteError
from pyrogeo.geometry import (
    Conformal,
    Constant,
    Curve,
    DiagonalCentroidMetric,
    Euclidean,
    Metric,
    Newton,
    geodesic,
    volume_seeking,
)
from pyrogeo.geometry.curves.graphs import shortest_paths
from tests.geometry.curved import MANIFOLDS
from tests.geometry.metrics import METRICS, Disk, HalfPlane, diagonal

T = torch.linspace(0, 1, 33, dtype=torch.float64)


def point(*x):
    return torch.tensor(x, dtype=torch.float64)


@pytest.fixture(params=MANIFOLDS)
def manifold(request):
    return MANIFOLDS[request.param]()


@pytest.mark.parametrize("spacing", ["metric", "euclidean"])
def test_the_length_is_the_distance_of_the_closed_form(manifold, spacing):
    a, b = manifold.points.chunk(2)
    found = geodesic(manifold.metric, a, b, solver=Newton(spacing=spacing))
    assert found.converged.all()
    assert not found.left_domain.any()
    expected = manifold.distance(a, b)
    assert (found.length / expected - 1).abs().max() < 1e-6  # 3e-7 on the sphere
    torch.testing.assert_close(found.curve(0.0), a)
    torch.testing.assert_close(found.curve(1.0), b)
    torch.testing.assert_close(found.curve.length(manifold.metric), found.length)


def test_every_point_of_the_curve_lies_between(manifold):
    a, b = manifold.points[:8], manifold.points[8:16]
    found = geodesic(manifold.metric, a, b)
    middle = found.curve(T[1:-1])
    before = manifold.distance(a[:, None].expand_as(middle), middle)
    after = manifold.distance(middle, b[:, None].expand_as(middle))
    torch.testing.assert_close(
        before + after, (before + after)[:, :1].expand_as(before), rtol=1e-5, atol=0
    )
    torch.testing.assert_close(before, T[1:-1] * found.length[:, None], rtol=5e-3, atol=0)


@pytest.mark.parametrize("d", [2, 5])
def test_convergence_order(d):
    # In the half-space. Lengths fall like n⁻⁴, until rounding; nodes like n⁻².
    class HalfSpace(Metric):
        def forward(self, z):
            return torch.eye(d).to(z) / z[..., -1, None, None] ** 2

    a, b = torch.zeros(2, d, dtype=torch.float64)
    a[-1], b[-1], b[0] = 0.7, 1.1, 2.0
    exact = 2 * math.asinh((a - b).norm().item() / (2 * math.sqrt(a[-1] * b[-1])))
    lengths, nodes = [], []
    for n in (16, 32, 64, 128):
        found = geodesic(HalfSpace(), a, b, solver=Newton(num_segments=n, tolerance=1e-9))
        # The circle around a point on the border, which is at equal distance from both ends.
        centre = ((b * b).sum() - (a * a).sum()) / (2 * (b[0] - a[0]))
        radius = (a - centre * torch.eye(d)[0]).norm()
        offset = (found.curve.nodes - centre * torch.eye(d)[0]).norm(dim=-1) - radius
        lengths.append(abs(found.length.item() - exact))
        nodes.append(offset.abs().max().item())
    for errors, order in ((lengths, 4), (nodes, 2)):
        orders = [math.log2(x / y) for x, y in pairwise(errors)]
        assert min(orders[1:]) > order - 0.3, (errors, orders)


def pairs(name, n=6, reach=0.3):
    """Triples of points that are not far from each other, in every metric."""
    metric, z = METRICS[name]()
    a = z[-n:]
    return metric, a, a + reach * (z[:n] - a), a + reach * (z[n : 2 * n] - a)


@pytest.mark.parametrize("name", METRICS)
def test_laws(name):
    metric, a, b, c = pairs(name)
    start, end = torch.stack([a, b, b, a]), torch.stack([b, a, c, c])
    found = geodesic(metric, start, end)
    assert found.converged.all()
    forth, back, on, across = found.length
    torch.testing.assert_close(forth, back, rtol=1e-6, atol=0)  # symmetry
    assert (across <= (forth + on) * (1 + 1e-6)).all()  # the triangle inequality
    speed = found.curve.speed(metric, T)
    energy = found.curve.energy(metric)
    assert (energy >= found.length**2 * (1 - 1e-12)).all()
    if name != "diagonal, one dimension":  # whose curves begin in the void, left in one segment
        assert (speed / found.length[..., None] - 1).abs().max() < 0.02
        assert (energy <= found.length**2 * (1 + 1e-5)).all()
    line = Curve.line(start, end, 256).length(metric)
    assert (found.length <= line * (1 + 1e-6)).all()


def wall(z):
    """A ridge on the y axis, highest a little above the line between (−1, 0) and (1, 0), where its short
    end is; below, it goes on."""
    x, y = z.unbind(-1)
    height = (-(((y - 0.2) / 0.25) ** 2)).exp() + 0.7 * torch.sigmoid(-y / 0.1)
    return 1.5 * (-((x / 0.25) ** 2)).exp() * height


def test_a_graph_finds_the_way_around_an_obstacle():
    metric = Conformal(Euclidean(), wall)
    a, b = point(-1.0, 0.0), point(1.0, 0.0)
    across = geodesic(metric, a, b)
    grid = torch.linspace(-1.2, 1.2, 17, dtype=torch.float64)
    around = geodesic(metric, a, b, via=torch.cartesian_prod(grid, grid))
    assert across.converged
    assert around.converged
    assert across.curve.nodes[:, 1].max() < 0.1
    assert around.curve.nodes[:, 1].max() > 0.4
    assert around.length < 0.95 * across.length


def test_a_path_in_the_graph_is_a_little_longer_than_the_geodesic():
    x = torch.linspace(-1.5, 1.5, 25, dtype=torch.float64)
    y = torch.linspace(0.2, 2.0, 25, dtype=torch.float64)
    points = torch.cartesian_prod(x, y)
    a, b = points[torch.tensor([30, 101])] + 0.01, points[torch.tensor([590, 422])]
    path = shortest_paths(HalfPlane(), points, a, b, n_neighbors=24)
    exact = MANIFOLDS["half-plane"]().distance(a, b)
    ratio = path.length(HalfPlane()) / exact
    assert ((ratio > 1) & (ratio < 1.05)).all()
    torch.testing.assert_close(path(0.0), a)
    torch.testing.assert_close(path(1.0), b)


def test_paths_do_not_depend_on_other_pairs(monkeypatch):
    points = torch.randn(60, 2, dtype=torch.float64)
    a, b = torch.randn(2, 9, 2, dtype=torch.float64)
    together = shortest_paths(Euclidean(), points, a, b, 4)
    alone = shortest_paths(Euclidean(), points, a[4:5], b[4:5], 4)
    torch.testing.assert_close(together.nodes[4:5], alone.nodes)
    monkeypatch.setattr("pyrogeo.geometry.curves.graphs._BLOCK", 2)
    blocks = shortest_paths(Euclidean(), points, a, b, 4)
    torch.testing.assert_close(together.nodes, blocks.nodes)


def test_a_graph_without_a_path_is_passed_straight():
    islands = torch.cat([torch.randn(20, 2), 100 + torch.randn(20, 2)]).double()
    path = shortest_paths(Euclidean(), islands, point(0, 0)[None], point(100, 100)[None], 3)
    expected = torch.tensor([20000.0]).double().sqrt()
    torch.testing.assert_close(path.length(Euclidean()), expected)


def test_an_initial_curve_chooses_the_side():
    metric = Conformal(Euclidean(), lambda z: 2 * (-4 * (z * z).sum(-1)).exp())
    a, b = point(-1.0, 0.0), point(1.0, 0.0)
    sides = [Curve(torch.stack([a, point(0.0, y), b])) for y in (1.0, -1.0)]
    upper, lower = (geodesic(metric, a, b, initial=side) for side in sides)
    torch.testing.assert_close(upper.length, lower.length)
    torch.testing.assert_close(
        upper.curve.nodes, lower.curve.nodes * point(1.0, -1.0), rtol=0, atol=1e-5
    )
    assert upper.curve.nodes[32, 1] > 0.3
    straight = Curve.line(a, b, 64).length(metric)
    assert upper.length < straight
    # One curve for all pairs; its end points are not looked at.
    both = geodesic(metric, torch.stack([a, 1.1 * a]), b, initial=sides[0])
    torch.testing.assert_close(both.length[0], upper.length)
    torch.testing.assert_close(both.curve(0.0), torch.stack([a, 1.1 * a]))


def test_both_spacings_find_the_same_curve():
    metric = volume_seeking(diagonal(d=2), 1.0)
    a, b = metric.log_factor.metric.centroids.chunk(2)
    one, other = (
        geodesic(metric, a, b, solver=Newton(128, spacing=s)) for s in ("metric", "euclidean")
    )
    torch.testing.assert_close(one.length, other.length, rtol=1e-4, atol=0)
    steps = other.curve.nodes.diff(dim=-2).norm(dim=-1)
    assert (steps.amax(-1) / steps.amin(-1)).max() < 1.1


def test_batches_of_any_shape():
    m = MANIFOLDS["half-plane"]()
    a, b = m.points[:3], m.points[3:7]
    found = geodesic(m.metric, a[:, None], b)
    assert found.length.shape == found.converged.shape == found.left_domain.shape == (3, 4)
    assert found.curve(0.5).shape == (3, 4, 2)
    one = geodesic(m.metric, a[1], b[2])
    assert one.length.shape == one.residual.shape == one.iterations.shape == ()
    assert one.curve.nodes.shape == (65, 2)
    torch.testing.assert_close(one.length, found.length[1, 2])
    flat = geodesic(m.metric, a, b[:3])
    torch.testing.assert_close(flat.length, found.length.diagonal())


def test_chunks_make_no_difference():
    m = MANIFOLDS["sphere"]()
    a, b = m.points[:7], m.points[7:14]
    via = m.points[20:]
    for options in (
        {},
        {"via": via, "n_neighbors": 5},
        {"initial": Curve(0.1 * torch.randn(3, 2).double())},
    ):
        whole = geodesic(m.metric, a, b, solver=Newton(16), **options)
        pieces = geodesic(m.metric, a, b, solver=Newton(16), chunk_size=3, **options)
        torch.testing.assert_close(whole.curve.nodes, pieces.curve.nodes)
        assert torch.equal(whole.iterations, pieces.iterations)


@pytest.mark.parametrize("name", ["half-plane", "disk", "sphere", "polar", "Euclidean"])
def test_single_precision(name):
    m = MANIFOLDS[name]()
    a, b = m.points.float().chunk(2)
    found = geodesic(m.metric, a, b)
    assert found.length.dtype == found.curve.nodes.dtype == torch.float32
    expected = m.distance(a.double(), b.double())
    assert (found.length / expected - 1).abs().max() < 1e-4


@pytest.mark.parametrize("name", METRICS)
def test_equal_end_points(name):
    metric, z = METRICS[name]()
    found = geodesic(metric, z[:3], z[:3], solver=Newton(8))
    assert torch.equal(found.length, torch.zeros(3, dtype=torch.float64))
    assert found.converged.all()
    assert torch.equal(found.curve(0.4), z[:3])
    mixed = geodesic(metric, z[:2], torch.stack([z[0], z[1] + 0.01]), solver=Newton(8))
    assert mixed.length[0] == 0
    assert mixed.length[1] > 0


def vacuum(tau=1.0):
    """λ e^{−τ‖z‖²} I with λ = 1."""
    far = torch.full((1, 2), 1e8).double()
    return DiagonalCentroidMetric(torch.zeros(1, 2).double(), far, 1e-6, 1.0, tau)


def test_a_way_through_infinity_is_shorter():
    near, far = point(0.5, 0.0), point(1.5, 0.0)
    line = geodesic(vacuum(), near, -near)
    assert not line.left_domain
    with pytest.warns(
        GeodesicWarning, match="1 of 2 curves are longer than a way through infinity"
    ):
        found = geodesic(vacuum(), torch.stack([near, far]), torch.stack([-near, -far]))
    assert found.left_domain.tolist() == [False, True]
    exact = math.sqrt(2 * math.pi) * math.erf(0.5 / math.sqrt(2))
    torch.testing.assert_close(line.length.item(), exact, rtol=1e-6, atol=0)


def test_what_did_not_converge_is_counted():
    m = MANIFOLDS["half-plane"]()
    with pytest.warns(
        GeodesicWarning, match=r"^3 of 3 geodesics did not converge \(largest residual"
    ):
        found = geodesic(m.metric, m.points[:3], m.points[3:6], solver=Newton(max_iterations=1))
    assert not found.converged.any()
    assert (found.residual > 1e-6).all()
    line = Curve.line(m.points[:3], m.points[3:6], 64)
    assert (found.length <= line.length(m.metric) * (1 + 1e-6)).all()


class Given(Metric):
    """Whatever matrix a function gives."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, z):
        return self.function(z)


SKEW = torch.tensor([[1.0, 0.5], [0.0, 1.0]])
NEGATIVE = torch.diag(torch.tensor([1.0, -1.0]))
ZERO, ONE = torch.zeros(2), torch.ones(2)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda z: SKEW.expand(*z.shape, 2), r"not symmetric at z = \[0.0, 0.0\]"),
        (lambda z: NEGATIVE.expand(*z.shape, 2), r"not positive definite at z = \[0.0, 0.0\]"),
        (lambda z: torch.eye(2) / z[..., :1, None], r"not finite at z = \[0.0, 0.0\]"),
        (
            lambda z: torch.eye(2) * ((z[..., :1, None] - 0.5).abs() - 0.1),
            r"not positive definite (at|near) z = \[0\.[456]",
        ),
    ],
)
def test_what_is_no_metric_is_named_with_the_point(function, message):
    with pytest.raises(NotPositiveDefiniteError, match=message):
        geodesic(Given(function), ZERO, ONE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: geodesic(HalfPlane(), point(0, 1), point(0, -1)),
            r"end: \[0.0, -1.0\] lies outside",
        ),
        (lambda: geodesic(Disk(), point(2, 0), point(0, 0)), r"start: \[2.0, 0.0\] lies outside"),
        (lambda: geodesic(Euclidean(), ZERO / 0, ONE), r"start: \[nan, nan\] lies outside"),
        (lambda: geodesic(Euclidean(), ZERO, torch.zeros(3)), r"do not fit: \(2,\)"),
        (lambda: geodesic(Euclidean(), ZERO, ONE.double()), "torch.float64"),
        (lambda: geodesic(Euclidean(), torch.zeros(3, 2), torch.zeros(4, 2)), "do not broadcast"),
        (lambda: geodesic(Euclidean(), torch.zeros(0, 2), ONE), "at least one pair"),
        (lambda: geodesic(Euclidean(), [0.0], ONE), "start: expected floating-point points"),
        (lambda: geodesic(Euclidean(), ZERO, ONE.long()), "end: expected floating-point points"),
        (lambda: geodesic(lambda z: z, ZERO, ONE), "expected a Metric"),
        (lambda: geodesic(Constant(torch.eye(3)), ZERO, ONE), "dimension 3, the points 2"),
        (lambda: geodesic(Given(lambda z: z), ZERO, ONE), r"maps \(2,\) to \(2,\), not to"),
        (lambda: Newton(num_segments=6), "multiple of 4, got 6"),
        (lambda: Newton(spacing="even"), "'metric' or 'euclidean'"),
        (lambda: Newton(tolerance=0.0), "tolerance must be positive and finite, got 0.0"),
        (lambda: Newton(max_iterations=0), "max_iterations must be a positive integer, got 0"),
        (
            lambda: geodesic(Euclidean(), ZERO, ONE, via=torch.ones(5, 3)),
            "via: expected dimension 2",
        ),
        (
            lambda: geodesic(Euclidean(), ZERO, ONE, via=torch.rand(5, 2), n_neighbors=5),
            "n_neighbors: expected 1 to 4, got 5",
        ),
        (
            lambda: geodesic(
                Euclidean(), ZERO, ONE, via=torch.rand(5, 2), initial=Curve.line(ZERO, ONE)
            ),
            "via or initial, not both",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

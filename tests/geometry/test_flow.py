"""The exponential map and parallel transport. The errors in comments were measured."""

import math

import pytest
import torch

from pyrogeo.errors import GeodesicWarning, NotPositiveDefiniteError
from pyrogeo.geometry import (
    Conformal,
    Curve,
    Euclidean,
    Pullback,
    distance,
    exp_map,
    geodesic,
    log_map,
    parallel_transport,
)
from tests.geometry.curved import MANIFOLDS, Polar, cartesian
from tests.geometry.metrics import METRICS, Disk, HalfPlane
from tests.geometry.test_geodesics import Given, point, vacuum


def vectors(metric, z, length):
    v = torch.randn_like(z)
    return v * (length / metric.norm(z, v))[:, None]


@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_exponential_map_of_the_closed_form(name):
    m = MANIFOLDS[name]()
    v = vectors(m.metric, m.points, torch.linspace(0.01, 1.0, 40).double())
    if name == "polar":
        v = 0.5 * v  # which does not pass the origin
    found, expected = exp_map(m.metric, m.points, v), m.exp(m.points, v)
    error = (found - expected).norm(dim=-1) / v.norm(dim=-1)
    assert error.max() < 2e-6  # 2e-7 on the disk; 1e-3 is asked for
    distances = m.distance(m.points, found)
    torch.testing.assert_close(distances, m.metric.norm(m.points, v), rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", METRICS)
def test_a_short_geodesic_and_its_inverse(name):
    metric, z = METRICS[name]()
    z = z[-6:]
    v = 0.02 * torch.nn.functional.normalize(torch.randn_like(z), dim=-1)
    x = exp_map(metric, z, v)
    torch.testing.assert_close(distance(metric, z, x), metric.norm(z, v), rtol=1e-4, atol=0)
    difference = metric.norm(z, log_map(metric, z, x) - v)
    assert (difference / metric.norm(z, v)).max() < 1e-3
    torch.testing.assert_close(exp_map(metric, z, log_map(metric, z, x)), x, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", METRICS)
def test_transport_keeps_inner_products_and_a_geodesic_s_velocity(name):
    metric, z = METRICS[name]()
    z = z[-6:]
    x = z + 0.05 * torch.randn_like(z)
    curve = geodesic(metric, z, x).curve
    u, v = torch.randn(2, *z.shape, dtype=torch.float64)
    u1, v1, w1 = (parallel_transport(metric, curve, w) for w in (u, v, curve.velocity(0.0)))
    scale = metric.norm(z, u) * metric.norm(z, v)
    error = (metric.inner(x, u1, v1) - metric.inner(z, u, v)).abs() / scale
    assert error.max() < 1e-10
    velocity = curve.velocity(1.0)
    error = metric.norm(x, w1 - velocity) / metric.norm(x, velocity)
    assert error.max() < 1e-3


def test_a_longer_geodesic_and_back():
    m = MANIFOLDS["half-plane"]()
    a, b = m.points.chunk(2)
    there = log_map(m.metric, a, b)
    torch.testing.assert_close(m.metric.norm(a, there), m.distance(a, b), rtol=1e-5, atol=0)
    torch.testing.assert_close(exp_map(m.metric, a, there), b, rtol=0, atol=2e-3)
    assert torch.equal(log_map(m.metric, a, a), torch.zeros_like(a))
    curve = geodesic(m.metric, a, b).curve
    back = parallel_transport(m.metric, curve, there)
    torch.testing.assert_close(back, -log_map(m.metric, b, a), rtol=0, atol=3e-3)


@pytest.mark.parametrize("latitude", [0.3, 0.8, 1.2])
def test_holonomy_around_a_circle_of_latitude(latitude):
    # By 2π (1 − cos) of the angle at the pole, which is 2 atan r in stereographic coordinates.
    sphere = MANIFOLDS["sphere"]().metric
    turn = torch.linspace(0, 2 * math.pi, 129, dtype=torch.float64)
    circle = math.tan(0.5 * latitude) * torch.stack([turn.cos(), turn.sin()], -1)
    moved = parallel_transport(sphere, Curve(circle), torch.eye(2, dtype=torch.float64)[:, None])
    angle = 2 * math.pi * (1 - math.cos(latitude))
    c, s = math.cos(angle), math.sin(angle)
    expected = torch.tensor([[c, s], [-s, c]], dtype=torch.float64)
    torch.testing.assert_close(moved[:, 0], expected, rtol=0, atol=1e-5)


def test_nothing_turns_on_a_flat_manifold():
    # In polar coordinates the components change; the vector in the plane does not.
    t = torch.linspace(0, 1, 65, dtype=torch.float64)
    path = Curve(torch.stack([1 + 0.5 * t**2, 2 * t - 0.7 * t**3], -1))
    v = torch.randn(3, 2, dtype=torch.float64)
    moved = parallel_transport(Polar(), path, v)

    def in_the_plane(z, v):
        return torch.func.jvp(cartesian, (z.expand_as(v).contiguous(),), (v,))[1]

    before, after = in_the_plane(path(0.0), v), in_the_plane(path(1.0), moved)
    torch.testing.assert_close(before, after, rtol=0, atol=1e-6)


def test_transport_is_of_fourth_order():
    sphere = MANIFOLDS["sphere"]().metric
    path = Curve(point(0, 0, 1, 0, 1, 1, 0.2, 1.4).reshape(4, 2))
    v = point(1.0, 0.0)
    exact = parallel_transport(sphere, path, v, num_steps=600)
    errors = [
        (parallel_transport(sphere, path, v, num_steps=n) - exact).norm().item()
        for n in (6, 12, 24)
    ]
    assert math.log2(errors[0] / errors[1]) > 3.5
    assert math.log2(errors[1] / errors[2]) > 3.5


def test_transport_along_polylines_and_in_blocks(monkeypatch):
    sphere = MANIFOLDS["sphere"]().metric
    nodes = torch.randn(3, 5, 4, 2, dtype=torch.float64)
    v = torch.randn(5, 2, dtype=torch.float64)
    curves = Curve(nodes, degree=1)
    whole = parallel_transport(sphere, curves, v)
    assert whole.shape == (3, 5, 2)
    monkeypatch.setattr("pyrogeo.geometry.curves.exponential._NUMBERS", 3000)
    torch.testing.assert_close(parallel_transport(sphere, curves, v), whole)
    # Segment after segment.
    step = v.expand(3, 5, 2)
    for i in range(3):
        step = parallel_transport(sphere, Curve(nodes[..., i : i + 2, :], degree=1), step)
    torch.testing.assert_close(step, whole, rtol=0, atol=1e-4)


def test_no_velocity_no_motion():
    m = MANIFOLDS["half-plane"]()
    torch.testing.assert_close(exp_map(m.metric, m.points, torch.zeros(2).double()), m.points)
    still = Curve(m.points[:3, None].expand(3, 5, 2))
    v = torch.randn(3, 2, dtype=torch.float64)
    torch.testing.assert_close(parallel_transport(m.metric, still, v), v)


@pytest.mark.parametrize("name", ["half-plane", "disk", "sphere"])
def test_single_precision(name):
    m = MANIFOLDS[name]()
    v = vectors(m.metric, m.points, 0.7)
    found = exp_map(m.metric, m.points.float(), v.float())
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), m.exp(m.points, v), rtol=1e-3, atol=1e-4)
    curve = Curve.line(m.points[:5].float(), m.points[5:10].float())
    moved = parallel_transport(m.metric, curve, v[:5].float())
    again = parallel_transport(m.metric, Curve(curve.nodes.double(), 1), v[:5].float().double())
    torch.testing.assert_close(moved.double(), again, rtol=1e-3, atol=1e-4)


def test_infinity_in_finite_time():
    # From the origin infinity is √(π/2) = 1.253 away, so that a velocity of 2 gets there at time 0.627.
    z, v = torch.zeros(2).double(), point(1, 0, 2, 0, 0, -0.5).reshape(3, 2)
    with pytest.warns(
        GeodesicWarning, match=r"^1 of 3 geodesics end before time 1, the first at 0\.62"
    ):
        x = exp_map(vacuum(), z, v)
    assert x.isnan().all(-1).tolist() == [False, True, False]
    lengths = [math.sqrt(math.pi / 2) * math.erf(x[i].norm() / math.sqrt(2)) for i in (0, 2)]
    assert lengths == pytest.approx([1.0, 0.5], rel=1e-6)


def test_the_edge_of_the_domain():
    class Half(Given):
        def contains(self, z):
            return super().contains(z) & (z[..., 0] < 1)

    metric = Half(lambda z: torch.eye(2).to(z).expand(*z.shape, 2))
    with pytest.warns(
        GeodesicWarning, match=r"^1 of 2 geodesics end before time 1, the first at 0\.5"
    ):
        x = exp_map(metric, torch.zeros(2), torch.tensor([[2.0, 1.0], [0.5, 1.0]]))
    assert x[0].isnan().all()
    torch.testing.assert_close(x[1], torch.tensor([0.5, 1.0]))


def test_a_complete_manifold_has_no_end():
    far = exp_map(HalfPlane(), point(0.0, 1.0), point(0.0, -8.0))
    torch.testing.assert_close(far, point(0.0, math.exp(-8.0)), rtol=1e-5, atol=1e-9)
    edge = exp_map(Disk(), point(0.0, 0.0), point(4.0, 0.0))
    torch.testing.assert_close(edge, point(math.tanh(4.0), 0.0), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exp_map(Euclidean(), torch.zeros(2), torch.zeros(3)), "do not broadcast"),
        (lambda: exp_map(Euclidean(), torch.zeros(2), point(0, 0)), "one dtype"),
        (lambda: exp_map(Euclidean(), torch.zeros(2), [0.0, 0.0]), "one dtype"),
        (lambda: exp_map(Euclidean(), torch.zeros(2).long(), torch.zeros(2).long()), "floating"),
        (lambda: exp_map(lambda z: z, torch.zeros(2), torch.zeros(2)), "expected a Metric"),
        (lambda: exp_map(HalfPlane(), point(0, -1), point(0, 1)), r"\[0.0, -1.0\] lies outside"),
        (lambda: exp_map(HalfPlane(), point(0, 1), point(0, math.inf)), "finite vectors"),
        (
            lambda: parallel_transport(Euclidean(), Curve(torch.zeros(3, 2)), torch.zeros(3)),
            "do not broadcast",
        ),
        (
            lambda: parallel_transport(
                Euclidean(), Curve(torch.zeros(3, 2)), torch.zeros(2), num_steps=0
            ),
            "num_steps: expected at least 1, got 0",
        ),
        (
            lambda: parallel_transport(Euclidean(), torch.zeros(3, 2), torch.zeros(2)),
            "expected a Curve",
        ),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_indefinite_metric_is_named():
    metric = Given(lambda z: torch.diag_embed(torch.stack([1 - z[..., 0], 1 + 0 * z[..., 0]], -1)))
    with pytest.raises(NotPositiveDefiniteError, match=r"at z = \[2.0, 0.0\]"):
        exp_map(metric, torch.tensor([2.0, 0.0]), torch.ones(2))
    line = Curve.line(torch.zeros(2), torch.tensor([3.0, 0.0]))
    with pytest.raises(NotPositiveDefiniteError, match="not positive definite at z"):
        parallel_transport(metric, line, torch.ones(2))


def test_metrics_that_autograd_cannot_go_through_forward():
    class Doubled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    with pytest.raises(ValueError, match="cannot be differentiated in forward mode"):
        exp_map(Pullback(Doubled.apply), torch.zeros(2), torch.ones(2))
    metric = Conformal(Euclidean(), lambda z: Doubled.apply(z.sum(-1)))
    with pytest.raises(ValueError, match="cannot be differentiated in forward mode"):
        parallel_transport(metric, Curve.line(torch.zeros(2), torch.ones(2)), torch.ones(2))

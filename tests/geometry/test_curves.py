"""Curves against closed forms; all in double precision unless said otherwise."""

import math
from itertools import pairwise

import pytest
import torch

from pyrogeo.geometry import Curve, Euclidean
from tests.geometry.curved import MANIFOLDS
from tests.geometry.metrics import METRICS, HalfPlane

T = torch.linspace(0, 1, 41, dtype=torch.float64)
CUBIC = torch.tensor([[0.3, -1.0, 2.0, -1.5], [1.0, 0.5, -2.0, 0.7]], dtype=torch.float64)


def cubic(t):
    return (CUBIC * t[..., None, None] ** torch.arange(4)).sum(-1)


def cubic_velocity(t):
    return (CUBIC[:, 1:] * torch.arange(1, 4) * t[..., None, None] ** torch.arange(3)).sum(-1)


def circle(n, angle=math.pi, batch=()):
    arc = torch.linspace(0, angle, n + 1, dtype=torch.float64)
    return torch.stack([arc.cos(), arc.sin()], -1).expand(*batch, n + 1, 2)


def wiggle(n, d=2, batch=()):
    t = torch.linspace(0, 1, n + 1, dtype=torch.float64)[:, None]
    phase = torch.arange(float(d), dtype=torch.float64)
    return (0.4 * (3 * t + phase).sin()).expand(*batch, n + 1, d)


@pytest.mark.parametrize("n", [3, 4, 7, 64])
def test_a_spline_is_exact_on_cubics(n):
    curve = Curve(cubic(torch.linspace(0, 1, n + 1, dtype=torch.float64)))
    torch.testing.assert_close(curve(T), cubic(T), rtol=0, atol=1e-13)
    torch.testing.assert_close(curve.velocity(T), cubic_velocity(T), rtol=0, atol=1e-12)


@pytest.mark.parametrize("degree", [1, 3])
@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_curve_passes_its_nodes(n, degree):
    nodes = torch.randn(4, 3, n + 1, 2, dtype=torch.float64)
    curve = Curve(nodes, degree)
    at_nodes = curve(torch.linspace(0, 1, n + 1, dtype=torch.float64))
    torch.testing.assert_close(at_nodes, nodes, rtol=0, atol=1e-12)
    assert curve(0.3).shape == curve.velocity(0.3).shape == (4, 3, 2)
    assert curve.speed(Euclidean(), T).shape == (4, 3, len(T))
    assert curve.length(Euclidean()).shape == curve.energy(Euclidean()).shape == (4, 3)


@pytest.mark.parametrize("degree", [1, 3])
def test_the_velocity_is_the_derivative(degree):
    curve = Curve(torch.randn(5, 8, 3, dtype=torch.float64), degree)
    t = torch.rand(30, dtype=torch.float64) * 0.98 + 0.01
    h = 1e-6
    difference = (curve(t + h) - curve(t - h)) / (2 * h)
    torch.testing.assert_close(curve.velocity(t), difference, rtol=1e-6, atol=1e-6)


def test_times_of_each_curve_for_itself():
    curve = Curve(torch.randn(5, 8, 3, dtype=torch.float64))
    t = torch.rand(5, 6, dtype=torch.float64)
    expected = torch.stack([Curve(n)(s) for n, s in zip(curve.nodes, t, strict=True)])
    torch.testing.assert_close(curve(t), expected)


def test_a_line():
    start, end = torch.zeros(2).double(), torch.tensor([[3.0, 4.0], [6.0, 8.0]]).double()
    line = Curve.line(start, end, 10)
    torch.testing.assert_close(line(0.5), 0.5 * end)
    torch.testing.assert_close(line.length(Euclidean()), torch.tensor([5.0, 10.0]).double())
    torch.testing.assert_close(line.energy(Euclidean()), torch.tensor([25.0, 100.0]).double())
    torch.testing.assert_close(line.mean(lambda z: z[..., 0]), torch.tensor([1.5, 3.0]).double())


@pytest.mark.parametrize(("n", "error"), [(16, 2e-6), (32, 1e-7)])
def test_length_and_energy_of_a_circle(n, error):
    curve = Curve(circle(n))
    torch.testing.assert_close(curve.length(Euclidean()).item(), math.pi, rtol=error, atol=0)
    torch.testing.assert_close(curve.energy(Euclidean()).item(), math.pi**2, rtol=2 * error, atol=0)
    height = curve.mean(lambda z: z[..., 1]).item()
    torch.testing.assert_close(height, 2 / math.pi, rtol=10 * error, atol=0)


def test_length_and_energy_in_the_half_plane():
    # From (0, 1) to (0, e): length 1. Along the horizontal at height 2: length x / 2.
    t = torch.linspace(0, 1, 33, dtype=torch.float64)
    up = Curve(torch.stack([torch.zeros_like(t), t.exp()], -1))
    along = Curve.line(torch.tensor([0.0, 2.0]).double(), torch.tensor([6.0, 2.0]).double())
    torch.testing.assert_close(up.length(HalfPlane()).item(), 1.0, rtol=1e-7, atol=0)
    torch.testing.assert_close(up.energy(HalfPlane()).item(), 1.0, rtol=1e-7, atol=0)
    torch.testing.assert_close(along.length(HalfPlane()).item(), 3.0)
    torch.testing.assert_close(along.energy(HalfPlane()).item(), 9.0)


@pytest.mark.parametrize("name", METRICS)
def test_the_energy_is_at_least_the_square_of_the_length(name):
    metric, z = METRICS[name]()
    path = z[0] + 0.2 * (z[:6] - z[0])
    curve = Curve(torch.stack([path, path.flip(0)]))
    length, energy = curve.length(metric), curve.energy(metric)
    assert (energy >= length**2).all()
    torch.testing.assert_close(length[0], length[1])  # forth and back


@pytest.mark.parametrize("name", MANIFOLDS)
def test_the_length_does_not_depend_on_the_parameter(name):
    m = MANIFOLDS[name]()
    u = torch.linspace(0, 1, 65, dtype=torch.float64)
    curve = Curve(m.points[0] + 0.3 * wiggle(64, m.points.shape[-1]))
    length = curve.length(m.metric)
    for times in (0.5 * (u + u**2), torch.sin(0.5 * math.pi * u), 1 - u):
        again = Curve(curve(times)).length(m.metric)
        torch.testing.assert_close(again, length, rtol=1e-5, atol=0)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_constant_speed_after_reparametrisation(name):
    m = MANIFOLDS[name]()
    bent = 0.3 * wiggle(64, m.points.shape[-1])
    curve = Curve(torch.stack([m.points[0] + bent, m.points[1] - bent]))
    even = curve.reparametrized(m.metric)
    speed = even.speed(m.metric, T)
    length = curve.length(m.metric)
    assert (speed / length[:, None] - 1).abs().max() < 1e-3
    torch.testing.assert_close(even.length(m.metric), length, rtol=1e-6, atol=0)
    torch.testing.assert_close(even.energy(m.metric), length**2, rtol=1e-5, atol=0)
    torch.testing.assert_close(even.nodes[:, [0, -1]], curve.nodes[:, [0, -1]])


def test_reparametrisation_with_another_number_of_nodes():
    t = torch.linspace(0, 1, 65, dtype=torch.float64) ** 2
    curve = Curve(torch.stack([(math.pi * t).cos(), (math.pi * t).sin()], -1))
    for n in (7, 32, 100):
        even = curve.reparametrized(Euclidean(), n)
        torch.testing.assert_close(even.nodes, circle(n), rtol=0, atol=2e-4)
    polyline = Curve(circle(8), degree=1).reparametrized(Euclidean(), 40)
    assert polyline.degree == 1
    torch.testing.assert_close(polyline.nodes[::5], circle(8))


def test_a_curve_that_stays_where_it_is():
    curve = Curve(torch.ones(2, 5, 3, dtype=torch.float64))
    assert torch.equal(curve.length(Euclidean()), torch.zeros(2).double())
    assert torch.equal(curve.reparametrized(Euclidean()).nodes, curve.nodes)


@pytest.mark.parametrize(("degree", "order"), [(1, 2), (3, 4)])
def test_the_length_converges_with_its_order(degree, order):
    sizes = [128, 256, 512]  # below, the errors of the inside and of the ends cancel
    errors = [abs(Curve(circle(n), degree).length(Euclidean()).item() - math.pi) for n in sizes]
    orders = [math.log2(a / b) for a, b in pairwise(errors)]
    assert min(orders) > order - 0.2


def test_single_precision_stays_single():
    curve = Curve(circle(32).float())
    assert curve(0.5).dtype == curve.length(Euclidean()).dtype == torch.float32
    assert curve.reparametrized(Euclidean()).nodes.dtype == torch.float32
    torch.testing.assert_close(curve.length(Euclidean()).item(), math.pi, rtol=1e-6, atol=0)


def test_gradients_reach_the_nodes():
    nodes = circle(8).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(Curve(nodes).length(Euclidean()), nodes)
    assert (gradient.norm(dim=-1) > 0).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Curve([["a", "b"]]), "numbers"),
        (lambda: Curve(torch.zeros(3, 2).long()), "floating-point tensor"),
        (lambda: Curve(torch.zeros(3)), r"got \(3,\)"),
        (lambda: Curve(torch.zeros(1, 2)), r"at least two points, got \(1, 2\)"),
        (lambda: Curve(torch.zeros(3, 2) / 0), "finite"),
        (lambda: Curve(torch.zeros(3, 2), degree=2), "1 or 3, got 2"),
        (lambda: Curve(torch.zeros(3, 2))(1.01), r"\[0, 1\]"),
        (lambda: Curve(torch.zeros(3, 2))(torch.tensor([0.5, -1e-3])), r"\[0, 1\]"),
        (lambda: Curve(torch.zeros(3, 2)).velocity(math.nan), r"\[0, 1\]"),
        (lambda: Curve(torch.zeros(3, 2)).reparametrized(Euclidean(), 0), "at least 1, got 0"),
        (lambda: Curve.line(torch.zeros(2), torch.ones(2), 0), "at least two points"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

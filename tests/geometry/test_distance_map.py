"""Distance maps against closed forms and against geodesics: never too short, and by how much too long."""

import itertools
import math
import sys
import warnings

import pytest
import torch

from pyrogeo.errors import GeodesicWarning, NotPositiveDefiniteError
from pyrogeo.geometry import (
    Conformal,
    Constant,
    Curve,
    Euclidean,
    Metric,
    Newton,
    distance_map,
    geodesic,
    volume_seeking,
)
from tests.geometry.metrics import HalfPlane, diagonal

module = sys.modules["pyrogeo.geometry.curves.distance_maps"]
POINT = torch.tensor([0.1234, -0.0456], dtype=torch.float64)


def axis(low=-1.0, high=1.0, n=41):
    return torch.linspace(low, high, n, dtype=torch.float64)


def nodes(found):
    return torch.stack(torch.meshgrid(found.x, found.y, indexing="xy"), -1)


def stretched(ratio, angle=0.4):
    """Lengths of directions differ by `ratio`."""
    c, s = math.cos(angle), math.sin(angle)
    turn = torch.tensor([[c, -s], [s, c]], dtype=torch.float64)
    g = turn @ torch.diag(torch.tensor([ratio**2, 1.0], dtype=torch.float64)) @ turn.T
    return Constant(0.5 * (g + g.T))


def half_plane_distance(a, b):
    return torch.acosh(1 + ((a - b) ** 2).sum(-1) / (2 * a[..., 1] * b[..., 1]))


def excess(found, exact):
    return (found.distances / exact - 1)[exact > 0]


def test_euclidean_distances():
    found = distance_map(Euclidean(), POINT, (axis(), axis(-0.5, 0.7, 25)))
    assert found.distances.shape == (25, 41)
    over = excess(found, (nodes(found) - POINT).norm(dim=-1))
    assert over.min() > -1e-12
    assert over.max() < 5e-3
    assert over.mean() < 3e-4


def test_half_plane_distances():
    point = torch.tensor([-0.7, 0.8], dtype=torch.float64)
    found = distance_map(HalfPlane(), point, (axis(-2, 2, 61), axis(0.3, 3, 41)))
    over = excess(found, half_plane_distance(nodes(found), point))
    assert over.min() > -1e-6
    assert over.max() < 0.01
    assert over.mean() < 3e-3


@pytest.mark.parametrize(("ratio", "worst", "mean"), [(2, 0.02, 5e-4), (5, 0.04, 1e-3)])
def test_mahalanobis_distances(ratio, worst, mean):
    metric = stretched(ratio)
    found = distance_map(metric, POINT, (axis(), axis()))
    over = excess(found, metric.norm(POINT, nodes(found) - POINT))
    assert over.min() > -1e-12
    assert over.max() < worst
    assert over.mean() < mean


@pytest.mark.parametrize("radius", [2, 3, 5])
@pytest.mark.parametrize("ratio", [1, 5])
def test_the_bound_of_the_stencil(radius, ratio, monkeypatch):
    """Without straightening, and with a point that is a node and joined to no more than the stencil."""
    monkeypatch.setattr(module, "_ROUNDS", 0)
    monkeypatch.setattr(module, "_REACH", float(radius))
    metric = stretched(ratio)
    offsets = torch.tensor(module._offsets(radius), dtype=torch.float64).flip(-1)
    offsets = torch.cat([offsets, -offsets])
    offsets = offsets[torch.atan2(offsets[:, 1], offsets[:, 0]).argsort()]
    after = offsets.roll(-1, 0)
    product = metric.inner(offsets, offsets, after)
    cosine = product / (metric.norm(offsets, offsets) * metric.norm(after, after))
    bound = 1 / (0.5 * cosine.acos().max()).cos() - 1
    isotropic = {2: 0.0275, 3: 0.0131, 5: 0.0049}[radius]
    assert bound <= math.sqrt(1 + ratio**2 * ((1 + isotropic) ** 2 - 1)) - 1 + 1e-3
    if ratio == 1:
        assert bound == pytest.approx(isotropic, abs=2e-4)
    point = torch.zeros(2, dtype=torch.float64)
    found = distance_map(metric, point, (axis(), axis()), radius=radius)
    over = excess(found, metric.norm(point, nodes(found) - point))
    assert over.min() > -1e-12
    assert over.max() <= bound * (1 + 1e-9)
    assert over.max() > 0.5 * bound


def test_convergence_with_the_grid():
    """Finer grids, finer angles: a straightened edge crosses as many cells of half the size."""
    point = torch.tensor([-0.7, 0.8], dtype=torch.float64)
    means = []
    for n in (20, 40, 80):
        found = distance_map(HalfPlane(), point, (axis(-2, 2, n + 1), axis(0.3, 3, n + 1)))
        means.append(excess(found, half_plane_distance(nodes(found), point)).mean())
    assert means[0] > 1.5 * means[1] > 2.25 * means[2]


@pytest.mark.parametrize("seeking", [False, True])
def test_a_map_agrees_with_geodesics(seeking):
    metric = diagonal(12, 2)
    if seeking:
        metric = volume_seeking(metric)
    found = distance_map(metric, POINT, (axis(-2, 2, 61), axis(-2, 2, 61)))
    index = torch.randint(61, (40, 2), generator=torch.Generator().manual_seed(0))
    ends = nodes(found)[index[:, 0], index[:, 1]]
    mapped = found.distances[index[:, 0], index[:, 1]]
    guesses = [found.path(*ij).reparametrized(Euclidean(), 64).nodes for ij in index.tolist()]
    options = {
        "initial": Curve(torch.stack(guesses), degree=1),
        "solver": Newton(spacing="euclidean"),
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)  # of ways through infinity
        shortest = geodesic(metric, POINT, ends, **options)
    assert shortest.converged.all()
    over = mapped / shortest.length - 1
    assert over.min() > -1e-3
    # A geodesic may leave the grid, which the map's paths do not.
    stays = (shortest.curve.nodes.abs() <= 2).all(-1).all(-1)
    assert stays.sum() > 20
    assert over[stays].max() < 0.02
    # The straight start finds a longer local minimum, or the same.
    straight = geodesic(metric, POINT, ends[stays][:10], solver=Newton(spacing="euclidean"))
    same = straight.length / mapped[stays][:10] - 1
    assert same[straight.converged].min() > -0.02


def test_a_path_is_as_long_as_its_distance():
    metric = diagonal(12, 2)
    found = distance_map(metric, POINT, (axis(), axis()))
    for i, j in itertools.product((0, 17, -1), repeat=2):
        path = found.path(i, j)
        torch.testing.assert_close(path.nodes[0], POINT)
        torch.testing.assert_close(path.nodes[-1], torch.stack([found.x[j], found.y[i]]))
        fine = path(torch.linspace(0, 1, 20 * path.num_segments + 1).double())
        length = metric.norm(0.5 * (fine[1:] + fine[:-1]), fine.diff(dim=0)).sum()
        assert found.distances[i, j] == pytest.approx(length.item(), rel=1e-3)


def test_a_point_on_a_node_and_at_the_corner():
    found = distance_map(Euclidean(), torch.tensor([-1.0, 1.0]), (axis(), axis()))
    assert found.distances.dtype == torch.float32
    assert found.distances[-1, 0] == 0
    assert found.path(-1, 0).length(Euclidean()) == 0
    assert found.distances[0, -1] == pytest.approx(8**0.5, rel=1e-5)


class Pierced(Metric):
    """The plane without a disk of radius ½ around (0.6, 0), flat."""

    def forward(self, z):
        bad = ~self.contains(z)
        return Euclidean()(z) * torch.where(bad, torch.nan, 1.0)[..., None, None]

    def contains(self, z):
        return ((z - z.new_tensor([0.6, 0.0])) ** 2).sum(-1) >= 0.25


def test_paths_go_around_what_is_outside_the_domain():
    point = torch.tensor([-0.4, 0.0], dtype=torch.float64)
    found = distance_map(Pierced(), point, (axis(-1, 2, 91), axis(-1, 1, 61)))
    inside = Pierced().contains(nodes(found))
    assert torch.equal(torch.isfinite(found.distances), inside)
    # Opposite the point at distance 1 from the centre: two tangents and an arc.
    around = 2 * math.sqrt(1 - 0.25) + 0.5 * (math.pi - 2 * math.acos(0.5))
    opposite = found.distances[30, 78]
    assert nodes(found)[30, 78].tolist() == pytest.approx([1.6, 0.0])
    assert around <= opposite <= 1.01 * around
    with pytest.raises(ValueError, match="no path leads"):
        found.path(30, 48)


class Walled(Metric):
    """Two halves of the plane with a gap between."""

    def forward(self, z):
        return Euclidean()(z)

    def contains(self, z):
        return z[..., 0].abs() > 0.03


def test_another_component_is_infinitely_far():
    found = distance_map(Walled(), torch.tensor([-0.5, 0.0]), (axis(n=30), axis(n=30)))
    assert torch.isfinite(found.distances[:, :15]).all()
    assert torch.isinf(found.distances[:, 15:]).all()


def test_a_grid_too_coarse_for_the_metric_warns():
    ripples = Conformal(Euclidean(), lambda z: 2 * torch.sin(40 * z[..., 0]))
    with pytest.warns(GeodesicWarning, match="too coarse"):
        distance_map(ripples, POINT, (axis(n=8), axis(n=8)))


class Indefinite(Metric):
    def forward(self, z):
        return torch.diag_embed(torch.stack([1 - z[..., 0], torch.ones_like(z[..., 0])], -1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((Euclidean(), torch.zeros(3), (axis(), axis())), r"shape \(2,\)"),
        ((diagonal(5, 3), POINT, (axis(), axis())), "the metric has 3"),
        ((Euclidean(), POINT + 2, (axis(), axis())), "outside the grid, x from -1 to 1"),
        ((Euclidean(), POINT, (axis(),)), "axes"),
        ((Euclidean(), POINT, (axis(), axis().flip(0))), "increasing numbers along y"),
        ((Euclidean(), POINT, (axis()[:1], axis())), "two or more"),
        ((Euclidean(), POINT * torch.nan, (axis(), axis())), "outside the grid"),
        ((Pierced(), torch.tensor([0.6, 0.0]), (axis(), axis())), "metric's domain"),
        ((None, POINT, (axis(), axis())), "a Metric"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        distance_map(*arguments)


def test_bad_metrics_and_radii():
    with pytest.raises(NotPositiveDefiniteError, match="positive definite at z = "):
        distance_map(Indefinite(), torch.zeros(2), (axis(-1, 3), axis()))
    with pytest.raises(ValueError, match="radius"):
        distance_map(Euclidean(), POINT, (axis(), axis()), radius=0)

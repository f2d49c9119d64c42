"""A length is that of a curve that is there: near an edge too, where the speed changes within a segment."""

import pytest
import torch

from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry import Curve, Euclidean, Newton, Spline, distance, distance_matrix, geodesic
from pyrogeo.geometry.curves import lengths
from pyrogeo.geometry.curves.lengths import resolved_length
from tests.geometry.curved import half_plane_distance
from tests.geometry.metrics import HalfPlane, diagonal

NEAR_THE_EDGE = [(1.0, 3.4e-5, 3.4e-5), (1.0, 1e-2, 1e-2), (1.0, 1e-4, 1.0), (0.1, 1e-3, 1e-5)]
SOLVERS = [Newton(num_segments=32), Newton(num_segments=32, spacing="euclidean"), Spline()]


def pair(x, y0, y1):
    return torch.tensor([0.0, y0]).double(), torch.tensor([x, y1]).double()


@pytest.mark.filterwarnings("ignore::pyrogeo.errors.GeodesicWarning")
@pytest.mark.parametrize("solver", SOLVERS, ids=repr)
@pytest.mark.parametrize("ends", NEAR_THE_EDGE, ids=str)
def test_near_the_edge_of_the_half_plane_no_length_is_shorter_than_the_truth(ends, solver):
    a, b = pair(*ends)
    truth = half_plane_distance(a, b)
    found = geodesic(HalfPlane(), a, b, solver=solver)
    assert found.length >= truth * (1 - 1e-5)
    assert not found.converged or found.length <= truth * 1.01


def test_what_is_longer_warns():
    a, b = pair(1.0, 3.4e-5, 3.4e-5)
    with pytest.warns(GeodesicWarning, match="1 of 1 geodesics did not converge"):
        assert distance(HalfPlane(), a, b) >= half_plane_distance(a, b)
    points = torch.stack([a, b])
    with pytest.warns(GeodesicWarning, match="of 1 geodesics 1 did not converge"):
        matrix = distance_matrix(HalfPlane(), points, progress=False)
    assert matrix[0, 1] >= half_plane_distance(a, b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_line_up_the_half_plane_is_as_long_as_the_logarithm(dtype):
    """∫ dy/y over eight decades in one segment."""
    line = Curve(torch.tensor([[[0.0, 1e-8], [0.0, 1.0]]], dtype=dtype), degree=1)
    found = resolved_length(HalfPlane(), line)
    assert found.item() == pytest.approx(8 * torch.tensor(10.0).log().item(), rel=1e-5)
    assert found.dtype == dtype


def test_a_curve_that_leaves_the_domain_is_infinitely_long():
    nodes = torch.tensor(
        [[[0.0, 0.1], [1.0, -0.1], [2.0, 0.1]], [[0.0, 0.1], [1.0, 0.1], [2.0, 0.2]]]
    )
    found = resolved_length(HalfPlane(), Curve(nodes.double()))
    assert found.isinf().tolist() == [True, False]


def test_it_is_the_limit_of_fine_quadrature(monkeypatch):
    nodes = torch.randn(5, 9, 3, generator=torch.Generator().manual_seed(0)).double()
    metric, curves = diagonal(), Curve(nodes)
    found = resolved_length(metric, curves)
    torch.testing.assert_close(found, curves.length(metric, splits=256), rtol=1e-5, atol=0)
    torch.testing.assert_close(resolved_length(metric, curves, 3), found, rtol=1e-5, atol=0)
    monkeypatch.setattr(lengths, "_BLOCK", 7)
    torch.testing.assert_close(resolved_length(metric, curves), found, rtol=1e-12, atol=0)


def test_noise_is_taken_as_it_is():
    """A metric that no halving resolves costs a bounded number of pieces."""

    class Noisy(Euclidean):
        points = 0

        def norm(self, z, v):
            self.points += z.shape[0]
            return super().norm(z, v) * (1 + 0.5 * (1e9 * z.sum(-1)).sin())

    metric = Noisy()
    found = resolved_length(metric, Curve.line(torch.zeros(1, 2), torch.ones(1, 2), 8))
    assert found.item() == pytest.approx(2**0.5, rel=0.2)
    assert metric.points < 8 * 130

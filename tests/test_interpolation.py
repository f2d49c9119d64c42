import pytest
import torch

import pyrogeo as pg
from pyrogeo.geometry import Curve, Newton, geodesic, volume_seeking
from pyrogeo.interpolation import interpolate
from tests.conftest import small_vae


@pytest.fixture(scope="module")
def plane(digits):
    torch.manual_seed(0)
    vae = small_vae(2, width=128)
    pg.fit(vae, digits.train, epochs=15, seed=0, progress=False)
    return vae, pg.CentroidMetric.from_posterior(vae.embed(digits.train))


def random_pairs(points, n):
    generator = torch.Generator().manual_seed(1)
    return (points[torch.randint(len(points), (n,), generator=generator)].double() for _ in "ab")


def gains(metric, path, start, end):
    """Mean log-volume per unit of Euclidean arc length, beside the straight line's."""
    log_volume = metric.log_volume_element
    return path.curve.mean(log_volume) - Curve.line(start, end, 256).mean(log_volume)


@pytest.mark.parametrize("d", [2, 16])
def test_volume_seeking_curves_keep_to_the_volume(embedded, d):
    """100 random pairs of digits: never longer than the straight line, more volume in at least 95,
    and never 0.25 nats less."""
    metric = pg.CentroidMetric.from_posterior(embedded[d])
    start, end = random_pairs(embedded[d].mean, 100)
    seeking = volume_seeking(metric, power=2 / d)
    path = geodesic(seeking, start, end, solver=Newton(32, spacing="euclidean"))
    assert path.converged.all()
    line = Curve.line(start, end, 256).length(seeking)
    assert (path.length <= line * (1 + 1e-6)).all()
    gain = gains(metric, path, start, end)
    assert (gain > 0).sum() >= 95
    assert gain.min() > -0.25


@pytest.mark.filterwarnings("ignore::pyrogeo.errors.GeodesicWarning")
def test_geodesics_of_the_metric_avoid_the_data(embedded):
    metric = pg.CentroidMetric.from_posterior(embedded[2])
    start, end = random_pairs(embedded[2].mean, 40)
    path = geodesic(metric, start, end, solver=Newton(32))
    assert (gains(metric, path, start, end) < 0).double().mean() > 0.8


def test_frames(plane, digits):
    vae, metric = plane
    x0, x1 = digits.test[:3], digits.test[3:6]
    for kind in ("affine", volume_seeking(metric)):
        found = interpolate(vae, x0, x1, kind, num=5)
        assert found.latent.shape == (3, 5, 2)
        assert found.frames.shape == (3, 5, 1, 8, 8)
        steps = found.latent.diff(dim=1).norm(dim=-1)
        assert (steps / steps.mean(1, keepdim=True) - 1).abs().max() < 0.1
        for i, x in ((0, x0), (-1, x1)):
            expected = vae.decode(vae.embed(x).mean).mean
            torch.testing.assert_close(found.frames[:, i], expected, rtol=1e-4, atol=1e-5)
    assert found.geodesic.converged.all()
    assert interpolate(vae, x0, x1[:1]).frames.shape == (3, 10, 1, 8, 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"metric": "geodesic"}, "expected a Metric or 'affine', got 'geodesic'"),
        ({"num": 1}, "at least two frames, got 1"),
        ({"x1": torch.rand(2, 1, 8, 8)}, "hold 3 and 2 data"),
        ({"x0": torch.rand(8)}, r"x0: expected data of shape \(B, \*event\), got \(8,\)"),
    ],
)
def test_bad_input(plane, digits, options, message):
    arguments = {"x0": digits.test[:3], "x1": digits.test[3:6]} | options
    with pytest.raises(ValueError, match=message):
        interpolate(plane[0], **arguments)

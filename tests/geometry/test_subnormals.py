"""No number on the way is subnormal, and none of the results moves by more than rounding."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pyrogeo.geometry import DiagonalCentroidMetric, FullCentroidMetric, LearnedMetric
from tests.geometry.metrics import diagonal, full

K, D = 1000, 4
DTYPES = [torch.float32, torch.float64]


class Subnormals(TorchDispatchMode):
    """Names of the operations whose results have some."""

    def __init__(self):
        super().__init__()
        self.found = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in result if isinstance(result, (tuple, list)) else (result,):
            if torch.is_tensor(x) and x.is_floating_point() and has_subnormals(x):
                self.found.add(str(function))
        return result


def has_subnormals(x):
    return bool(((x != 0) & (x.abs() < torch.finfo(x.dtype).tiny)).any())


def far_apart(kind, dtype):
    """On a grid with steps of up to a hundred posterior deviations, and points beside the centroids."""
    generator = torch.Generator().manual_seed(0)
    centroids = 30 * torch.randn(K, D, generator=generator, dtype=torch.float64)
    variances = 0.05 + torch.rand(K, D, generator=generator, dtype=torch.float64)
    spread = variances if kind is DiagonalCentroidMetric else torch.diag_embed(variances)
    metric = kind(centroids.to(dtype), spread.to(dtype), 2.0)
    noise = torch.randn(64, D, generator=generator, dtype=torch.float64)
    return metric, (centroids[:64] + noise).to(dtype)


def naive(metric, z):
    """½ log det G of diagonal precisions in float64, by logarithms, with nothing held."""
    c, v = metric.centroids.double(), metric.variances.double()
    z, rho = z.double(), metric.bandwidth.double()
    log_omega = -((z[:, None] - c).square() / v).sum(-1) / rho**2
    log_vacuum = metric.regularization.double().log() - metric.decay.double() * z.square().sum(-1)
    terms = torch.cat(
        [log_omega[..., None] - v.log(), log_vacuum[:, None, None].expand(-1, -1, D)], 1
    )
    return 0.5 * terms.logsumexp(1).sum(-1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [DiagonalCentroidMetric, FullCentroidMetric])
def test_weights_are_normal_numbers(kind, dtype):
    metric, z = far_apart(kind, dtype)
    everywhere = torch.cat([z, 100 * z, torch.zeros_like(z)])
    omega, vacuum, shift = metric._weights(everywhere)
    assert not any(map(has_subnormals, (omega, vacuum)))
    assert torch.maximum(omega.amax(-1), vacuum[:, 0]).eq(1).all()
    with torch.no_grad():  # most would be: the test would else say nothing
        log_omega = -metric.squared_distances(everywhere) / metric.bandwidth**2 - shift
    assert (log_omega < -90).double().mean() > 0.5


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [DiagonalCentroidMetric, FullCentroidMetric])
@pytest.mark.parametrize(
    "of",
    [
        lambda m, z: m.log_volume_element(z),
        lambda m, z: m.log_volume_element_and_grad(z),
        lambda m, z: m.square_gradients(z, torch.ones_like(z)),
        lambda m, z: m.square_derivatives(z[:4], torch.ones_like(z[:4])),
    ],
    ids=["value", "gradient", "square_gradients", "square_derivatives"],
)
def test_nothing_on_the_way_is_subnormal(of, kind, dtype):
    metric, z = far_apart(kind, dtype)
    with Subnormals() as seen:
        of(metric, z)
    assert not seen.found


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_learned_metric_has_none(dtype):
    generator = torch.Generator().manual_seed(0)
    centroids = 10 * torch.randn(K, D, generator=generator).to(dtype)
    metric = LearnedMetric(centroids, torch.eye(D).expand(K, D, D).to(dtype), 1.0, 0.01)
    with Subnormals() as seen:
        value = metric.log_volume_element(centroids[:64])
    assert not seen.found
    square = torch.cdist(centroids[:64].double(), centroids.double()) ** 2
    rounding = 1e-10 if dtype == torch.float64 else 1e-3
    exact = -0.5 * D * ((-square).exp().sum(-1) + 0.01).log()
    torch.testing.assert_close(value.double(), exact, rtol=rounding, atol=rounding)


@pytest.mark.parametrize("dtype", DTYPES)
def test_results_are_those_of_a_naive_transcription(dtype):
    metric, z = far_apart(DiagonalCentroidMetric, dtype)
    z = torch.cat([z, 100 * z, z[:1] * 0]).requires_grad_()
    exact = naive(metric, z)
    (slope,) = torch.autograd.grad(exact.sum(), z)
    value, gradient = metric.log_volume_element_and_grad(z)
    (by_autograd,) = torch.autograd.grad(metric.log_volume_element(z).sum(), z)
    rounding = 1e-11 if dtype == torch.float64 else 5e-3  # of squared distances of up to 10⁴
    for one, other in ((value, exact), (gradient, slope), (by_autograd, slope)):
        torch.testing.assert_close(one.double(), other.double(), rtol=rounding, atol=rounding)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", [DiagonalCentroidMetric, FullCentroidMetric])
def test_nothing_moves_by_more_than_rounding(kind, dtype, monkeypatch):
    """Beside the same code with nothing held."""
    metric, z = far_apart(kind, dtype)
    z = torch.cat([z, 100 * z, z[:1] * 0])
    v = torch.ones_like(z[:8])

    def results():
        leaf = z.clone().requires_grad_()
        slope = torch.autograd.grad(metric.log_volume_element(leaf).sum(), leaf)
        of_volume = (*metric.log_volume_element_and_grad(z), *slope, metric(z))
        return of_volume + metric.square_gradients(z[:8], v) + metric.square_derivatives(z[:8], v)

    held = results()
    monkeypatch.setattr("pyrogeo.geometry.metrics.centroid.base.hold_", lambda x: x)
    for one, other in zip(held, results(), strict=True):
        size = 4 * torch.finfo(dtype).eps * (1 + other.abs().max())
        assert (one - other).abs().max() <= size


@pytest.mark.parametrize("make", [diagonal, full])
def test_without_a_vacuum_there_is_none(make):
    assert not make(regularization=0.0)._weights(torch.randn(5, 3).double())[1].any()

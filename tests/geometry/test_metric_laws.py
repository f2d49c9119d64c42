import pickle

import pytest
import torch

from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry import Metric
from tests.geometry.metrics import METRICS


@pytest.fixture(params=METRICS)
def case(request):
    return METRICS[request.param]()


def test_symmetric_positive_definite(case):
    metric, z = case
    g = metric(z)
    assert torch.equal(g, g.mT)
    assert (torch.linalg.eigvalsh(g) > 0).all()


def test_log_volume_element_is_half_the_log_determinant(case):
    metric, z = case
    expected = 0.5 * torch.linalg.slogdet(metric(z)).logabsdet
    torch.testing.assert_close(metric.log_volume_element(z), expected, rtol=1e-10, atol=1e-10)


def test_cholesky_inner_and_norm(case):
    metric, z = case
    g, factor = metric(z), metric.cholesky(z)
    torch.testing.assert_close(factor @ factor.mT, g)
    u, v = torch.randn_like(z), torch.randn_like(z)
    torch.testing.assert_close(metric.inner(z, u, v), ((g @ v[..., None])[..., 0] * u).sum(-1))
    torch.testing.assert_close(metric.norm(z, v) ** 2, metric.inner(z, v, v))


def test_any_leading_shape_and_the_dtype_is_kept(case):
    metric, z = case
    metric, z = metric.float(), z.float()
    stacked = torch.stack([z, z + 0.01])
    assert metric(stacked).shape == (*stacked.shape, z.shape[-1])
    assert metric(z).dtype == metric.log_volume_element(z).dtype == torch.float32
    torch.testing.assert_close(metric(stacked)[0], metric(z))
    torch.testing.assert_close(metric.log_volume_element(stacked)[0], metric.log_volume_element(z))
    assert metric.log_volume_element(z[0]).shape == ()


def test_closed_form_gradient_equals_autograd(case):
    metric, z = case
    value, gradient = metric.log_volume_element_and_grad(z)
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(Metric.log_volume_element(metric, leaf).sum(), leaf)
    torch.testing.assert_close(value, metric.log_volume_element(z))
    # Relative to the size of the gradient, and to one where it vanishes, as at a centroid.
    error = (gradient - expected).norm(dim=-1) / (1 + expected.norm(dim=-1))
    assert error.max() < 1e-9


def test_a_copy_is_equal(case):
    metric, z = case
    assert torch.equal(pickle.loads(pickle.dumps(metric))(z), metric(z))


def test_a_metric_without_cholesky_factor_is_named():
    class Lorentz(Metric):
        def forward(self, z):
            return torch.diag(z.new_tensor([1.0, -1.0])).expand(*z.shape, 2)

    with pytest.raises(NotPositiveDefiniteError, match=r"at z = \[0.0, 0.0\]"):
        Lorentz().log_volume_element(torch.zeros(3, 2))

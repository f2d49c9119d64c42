import math
import pickle
from functools import partial

import pytest
import torch

from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry import (
    Conformal,
    Constant,
    DiagonalCentroidMetric,
    Euclidean,
    Metric,
    volume_seeking,
)
from tests.geometry.metrics import METRICS, diagonal

ONE = torch.ones(2)


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


def test_flat_and_sharp_are_the_matrix_and_its_inverse(case):
    metric, z = case
    g, v = metric(z), torch.randn_like(z)
    covector = metric.flat(z, v)
    torch.testing.assert_close(covector, (g @ v[..., None])[..., 0])
    torch.testing.assert_close(metric.sharp(z, covector), v, rtol=1e-7, atol=1e-7)


def test_the_inner_product_is_symmetric_and_positive(case):
    metric, z = case
    u, v = torch.randn_like(z), torch.randn_like(z)
    torch.testing.assert_close(metric.inner(z, u, v), metric.inner(z, v, u))
    assert (metric.inner(z, u, u) > 0).all()
    cosine = metric.inner(z, u, v) / (metric.norm(z, u) * metric.norm(z, v))
    assert (cosine.abs() <= 1 + 1e-12).all()


def test_the_inverse_is_a_view(case):
    metric, z = case
    inverse, identity = metric.inverse, torch.eye(z.shape[-1]).to(z)
    torch.testing.assert_close(
        inverse(z) @ metric(z), identity.expand_as(metric(z)), rtol=0, atol=1e-7
    )
    torch.testing.assert_close(inverse.inverse(z), metric(z))
    torch.testing.assert_close(inverse.log_volume_element(z), -metric.log_volume_element(z))
    v = torch.randn_like(z)
    torch.testing.assert_close(inverse.norm(z, metric.flat(z, v)), metric.norm(z, v))
    assert torch.equal(inverse.contains(z), metric.contains(z))


def test_one_vector_at_many_points(case):
    metric, z = case
    u, v = torch.randn(2, z.shape[-1], dtype=z.dtype)
    many = v.expand_as(z)
    torch.testing.assert_close(metric.inner(z, u, v), metric.inner(z, u.expand_as(z), many))
    torch.testing.assert_close(metric.flat(z, v), metric.flat(z, many))
    torch.testing.assert_close(metric.sharp(z, v), metric.sharp(z, many))
    torch.testing.assert_close(metric.norm(z[0], many), metric.norm(z[:1].expand_as(z), many))


def test_the_domain(case):
    metric, z = case
    assert metric.contains(z).all()
    assert not metric.contains(z * torch.nan).any()
    assert metric.contains(z[0]).shape == ()
    assert (metric.distance_to_infinity(z) > 0).all()


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
    plain = Metric.log_volume_element(metric, leaf) + 0 * leaf.sum(-1)  # which may not depend on z
    (expected,) = torch.autograd.grad(plain.sum(), leaf)
    torch.testing.assert_close(value, metric.log_volume_element(z))
    # Relative to the size of the gradient, and to one where it vanishes, as at a centroid.
    error = (gradient - expected).norm(dim=-1) / (1 + expected.norm(dim=-1))
    assert error.max() < 1e-9


def test_the_forward_derivative_is_the_difference(case):
    metric, z = case
    u, h = torch.randn_like(z), 1e-5
    difference = (metric(z + h * u) - metric(z - h * u)) / (2 * h)
    derivative = torch.func.jvp(metric, (z,), (u,))[1]
    error = (derivative - difference).abs().amax((-2, -1))
    assert (error <= 1e-5 * (difference.abs() + metric(z).abs()).amax((-2, -1))).all()


def test_a_copy_is_equal(case):
    metric, z = case
    assert torch.equal(pickle.loads(pickle.dumps(metric))(z), metric(z))


class Lorentz(Metric):
    """Indefinite, and the same everywhere."""

    def forward(self, z):
        return torch.diag(z.new_tensor([1.0, -1.0])).expand(*z.shape, 2)


def test_a_metric_without_cholesky_factor_is_named():
    for function in (
        Lorentz().log_volume_element,
        Lorentz().inverse,
        partial(Lorentz().sharp, p=ONE),
    ):
        with pytest.raises(NotPositiveDefiniteError, match=r"at z = \[0.0, 0.0\]"):
            function(torch.zeros(3, 2))


def test_a_metric_that_does_not_depend_on_the_point_has_no_gradient():
    class Same(Metric):
        def forward(self, z):
            return 4 * torch.eye(2).expand(*z.shape, 2)

    value, gradient = Same().log_volume_element_and_grad(torch.zeros(3, 2))
    assert torch.equal(value, torch.full((3,), 2.0).log() * 2)
    assert torch.equal(gradient, torch.zeros(3, 2))


def test_the_volume_seeking_metric_is_the_inverse_square_of_the_volume_element():
    metric = diagonal()
    z = torch.randn(5, 3, dtype=torch.float64)
    v = (1.5 - metric.log_volume_element(z)).exp()
    expected = v[:, None, None] ** 2 * torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(volume_seeking(metric, 1.5)(z), expected)


@pytest.mark.parametrize("d", [1, 2, 16])
def test_infinity_is_at_the_distance_of_the_closed_form(d):
    # The vacuum alone: a centroid whose weight is nothing a step away from the origin.
    centroid, variance = torch.zeros(1, d).double(), torch.full((1, d), 1e8).double()
    for lam, tau in [(0.01, 1e-3), (1.0, 0.5), (4.0, 20.0)]:
        metric = DiagonalCentroidMetric(centroid, variance, 1e-6, lam, tau)
        expected = math.sqrt(lam * math.pi / (2 * tau))
        found = metric.distance_to_infinity(torch.zeros(2, d).double())
        torch.testing.assert_close(found, torch.full_like(found, expected), rtol=1e-3, atol=0)


def test_without_decay_infinity_is_at_infinity():
    assert diagonal(decay=0.0).distance_to_infinity(torch.zeros(2, 3).double()).isinf().all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(torch.ones(2)), r"matrix: expected shape \(N, d\)"),
        (lambda: Constant(torch.ones(2, 3)), r"matrix: expected shape \(d, d\), got \(2, 3\)"),
        (lambda: Constant(torch.eye(2) * torch.nan), "finite"),
        (lambda: Constant(-torch.eye(2)), "positive definite"),
        (lambda: Constant(torch.tensor([[1.0, 0.5], [0.0, 1.0]])), "symmetric"),
        (lambda: Constant(torch.eye(2))(torch.zeros(3)), r"\(\*, 2\) in torch.float32, got \(3,\)"),
        (lambda: Constant(torch.eye(2))(torch.zeros(2).half()), "the points are torch.float16"),
        (
            lambda: Conformal(Euclidean(), lambda z: z)(torch.zeros(3, 2)),
            r"to \(3,\), got \(3, 2\)",
        ),
        (lambda: volume_seeking(diagonal())(torch.zeros(4, 2).double()), r"shape \(\*, 3\)"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()

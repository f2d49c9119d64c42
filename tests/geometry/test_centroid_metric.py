import math

import pyro.distributions as dist
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Independent, LowRankMultivariateNormal, MultivariateNormal, Normal

from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric, FullCentroidMetric
from pyrogeo.geometry.metrics.centroid.volumes import VACUUM_FRACTION
from tests.geometry.metrics import diagonal, full


def by_definition(metric, z):
    """Equation 4, transcribed."""
    if isinstance(metric, DiagonalCentroidMetric):
        precisions = torch.diag_embed(1 / metric.variances)
    else:
        precisions = torch.linalg.inv(metric.covariances)
    g = torch.zeros(len(z), metric.dimension, metric.dimension, dtype=z.dtype)
    for c, p in zip(metric.centroids, precisions, strict=True):
        square = torch.einsum("bi,ij,bj->b", z - c, p, z - c)
        g += (-square / metric.bandwidth**2).exp()[:, None, None] * p
    vacuum = metric.regularization * (-metric.decay * (z * z).sum(-1)).exp()
    return g + vacuum[:, None, None] * torch.eye(metric.dimension, dtype=z.dtype)


@pytest.mark.parametrize("make", [diagonal, full])
def test_equation_4(make):
    metric = make(15, 4)
    z = torch.cat([metric.centroids, torch.randn(30, 4, dtype=torch.float64)])
    torch.testing.assert_close(metric(z), by_definition(metric, z), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("make", [diagonal, full])
def test_equal_covariances_in_both_classes(make):
    metric = diagonal(10, 3)
    twin = FullCentroidMetric(
        metric.centroids,
        torch.diag_embed(metric.variances),
        *(t.item() for t in (metric.bandwidth, metric.regularization, metric.decay)),
    )
    z = torch.randn(20, 3, dtype=torch.float64)
    torch.testing.assert_close(metric(z), twin(z))
    for ours, theirs in zip(
        metric.log_volume_element_and_grad(z), twin.log_volume_element_and_grad(z), strict=True
    ):
        torch.testing.assert_close(ours, theirs)
    weights = torch.rand(20, 10, dtype=torch.float64)
    torch.testing.assert_close(
        metric.weighted_displacements(weights, z), twin.weighted_displacements(weights, z)
    )
    torch.testing.assert_close(metric.log_det_covariances(), twin.log_det_covariances())


@pytest.mark.parametrize("make", [diagonal, full])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_nothing_overflows_far_from_the_data(make, dtype):
    metric = make(50, 64, dtype)
    z = (torch.randn(10, 64) * torch.logspace(0, 4, 10)[:, None]).to(dtype)
    value, gradient = metric.log_volume_element_and_grad(z)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    far = z[-1:].requires_grad_()
    (slope,) = torch.autograd.grad(metric.log_volume_element(far).sum(), far)
    assert torch.isfinite(slope).all()


@pytest.mark.parametrize("sigma", [0.01, 0.03, 0.1, 1.0])
def test_single_precision_keeps_its_stated_bound(sigma):
    generator = torch.Generator().manual_seed(0)
    centroids = torch.randn(100, 16, generator=generator, dtype=torch.float64)
    variances = sigma**2 * (0.5 + torch.rand(100, 16, generator=generator, dtype=torch.float64))
    exact = DiagonalCentroidMetric(centroids, variances, 1.0)
    rounded = DiagonalCentroidMetric(centroids.float(), variances.float(), 1.0)
    z = centroids + sigma * torch.randn(100, 16, generator=generator, dtype=torch.float64)
    z = z.float().double()
    error = (rounded.squared_distances(z.float()).double() - exact.squared_distances(z)).abs()
    middle = centroids.mean(0)
    size = (z - middle).abs()[:, None] + (centroids - middle).abs()
    bound = 4 * torch.finfo(torch.float32).eps * (size**2 / variances).sum(-1)
    assert (error <= bound).all()
    assert error.diagonal().max() < 0.1 * (0.03 / sigma) ** 2  # the figures in the docstring


def test_blocks_make_no_difference(monkeypatch):
    metric = diagonal(10, 3)
    z = torch.randn(50, 3, dtype=torch.float64)
    whole = metric.log_volume_element_and_grad(z)
    monkeypatch.setattr("pyrogeo.geometry.metrics.centroid.base._BLOCK", 70)
    monkeypatch.setattr("pyrogeo.geometry.metrics.centroid.base._LEAST_ROWS", 3)
    pieces = metric.log_volume_element_and_grad(z)
    torch.testing.assert_close(whole, pieces)
    torch.testing.assert_close(metric.log_volume_element(z), whole[0])


def test_loading_a_state_dict_takes_effect():
    metric, other = diagonal(5, 2), diagonal(5, 2, spread=2.0)
    z = torch.randn(4, 2, dtype=torch.float64)
    metric.load_state_dict(other.state_dict())
    assert torch.equal(metric(z), other(z))


POSTERIORS = {
    "normal": lambda m, s: Normal(m, s),
    "independent": lambda m, s: Independent(Normal(m, s), 1),
    "pyro": lambda m, s: dist.Normal(m, s).to_event(1),
    "laplace": lambda m, s: Independent(dist.Laplace(m, s / math.sqrt(2)), 1),
    "multivariate": lambda m, s: MultivariateNormal(m, torch.diag_embed(s**2)),
    "low rank": lambda m, s: LowRankMultivariateNormal(m, 0 * m[..., None], s**2),
}


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_posterior_may_come_from_anywhere(name):
    loc, scale = torch.randn(60, 3), 0.1 + torch.rand(60, 3)
    metric = CentroidMetric.from_posterior(POSTERIORS[name](loc, scale), 10)
    kind = FullCentroidMetric if name in ("multivariate", "low rank") else DiagonalCentroidMetric
    assert type(metric) is kind
    assert metric.centroids.dtype == torch.float64
    reference = CentroidMetric.from_posterior(Normal(loc, scale), 10)
    z = torch.randn(5, 3, dtype=torch.float64)
    torch.testing.assert_close(metric(z), reference(z), rtol=1e-4, atol=1e-6)


def test_algorithm_1(embedded):
    posterior = embedded[16]
    metric = CentroidMetric.from_posterior(posterior, 50)
    means = posterior.mean.double()
    index = (metric.centroids[:, None] == means).all(-1).nonzero()[:, 1]
    assert len(set(index.tolist())) == 50  # centroids are training points, with their variances
    assert torch.equal(metric.variances, posterior.stddev[index].double() ** 2)
    distances = torch.cdist(metric.centroids, metric.centroids)
    distances.fill_diagonal_(math.inf)
    assert metric.bandwidth.item() == pytest.approx(distances.amin(1).max().item())
    everything = CentroidMetric.from_posterior(posterior, None)
    assert torch.equal(everything.centroids, means)


def test_decay_leaves_the_vacuum_its_share():
    metric = diagonal(20, 5)
    share = math.exp(metric.log_vacuum_volume - metric.log_mixture_volume)
    assert share == pytest.approx(VACUUM_FRACTION)
    assert diagonal(20, 5, decay=0.0).log_vacuum_volume == math.inf
    assert diagonal(20, 5, regularization=0.0).log_vacuum_volume == -math.inf


@settings(max_examples=60)
@given(
    k=st.integers(1, 50),
    d=st.integers(1, 20),
    seed=st.integers(0, 2**16),
    decades=st.floats(0, 6),
    is_full=st.booleans(),
)
def test_random_metrics(k, d, seed, decades, is_full):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    variances = 10 ** (decades * (torch.rand(k, d, generator=generator) - 0.5).double())
    if is_full:
        rotation = torch.linalg.qr(normal(k, d, d)).Q
        covariances = rotation @ torch.diag_embed(variances) @ rotation.mT
        covariances = 0.5 * (covariances + covariances.mT)
        metric = FullCentroidMetric(normal(k, d), covariances, 1.0)
    else:
        metric = DiagonalCentroidMetric(normal(k, d), variances, 1.0)
    z = torch.cat([metric.centroids, normal(10, d), 100 * normal(3, d)])
    value, gradient = metric.log_volume_element_and_grad(z)
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(metric.log_volume_element(leaf).sum(), leaf)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    # Six decades of precision squared leave nine digits of a gradient of their own size.
    size = 1 + expected.norm(dim=-1) + (1 / variances).max() * z.norm(dim=-1)
    assert ((gradient - expected).norm(dim=-1) / size).max() < 1e-9


LOC, SCALE = torch.randn(20, 3), torch.ones(20, 3)
BAD_LOC = LOC.clone()
BAD_LOC[2, 1] = math.inf
INDEFINITE = torch.eye(3).repeat(20, 1, 1)
INDEFINITE[7, 0, 0] = -1.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda f: f(Normal(LOC, SCALE), 21), "1 to 20 centroids, .* got 21"),
        (lambda f: f(Normal(LOC, SCALE), 0), "1 to 20 centroids, .* got 0"),
        (lambda f: f(Normal(LOC, SCALE), 1), "pass bandwidth"),
        (lambda f: f(Normal(LOC[:1].repeat(4, 1), SCALE[:4]), None), "has a duplicate"),
        (
            lambda f: f(Normal(LOC, SCALE), 5, regularization=-1.0),
            "λ must be finite and not negative",
        ),
        (lambda f: f(Normal(LOC, SCALE), 5, decay=-1e-3), "τ must be finite and not negative"),
        (lambda f: f(Normal(LOC, SCALE), 5, bandwidth=0.0), "ρ must be positive"),
        (lambda f: f(Normal(LOC, SCALE), 5, bandwidth=math.nan), "ρ must be positive"),
        (lambda f: f(Normal(LOC, SCALE), 5, init="best"), "init must be one of"),
        (
            lambda f: f(Normal(BAD_LOC, SCALE, validate_args=False), 5),
            "posterior means: expected finite",
        ),
        (lambda f: f(Normal(LOC, 0 * SCALE, validate_args=False), 5), "variances must be positive"),
        (lambda f: f(Normal(LOC, SCALE.double()), 5), "posterior: loc is torch.float32"),
        (
            lambda f: f(Normal(LOC, SCALE.to("meta"), validate_args=False), 5),
            "scale is torch.float32 on meta",
        ),
        (lambda f: f(dist.Normal(0.0, 1.0), 5), r"shape \(N, d\)"),
        (lambda f: f(dist.Bernoulli(0.5), 5), "a posterior with means and covariances"),
        (lambda f: f(LOC, 5), "a posterior with means and covariances"),
        (lambda f: FullCentroidMetric(LOC, INDEFINITE), "1 that are not, the first at index 7"),
        (lambda f: FullCentroidMetric(LOC, torch.ones(20, 3)), r"expected shape \(20, 3, 3\)"),
        (lambda f: DiagonalCentroidMetric(LOC, SCALE.double()), "variances are torch.float64"),
        (lambda f: DiagonalCentroidMetric(LOC.long(), SCALE), "floating-point tensor"),
        (
            lambda f: diagonal()(torch.zeros(2, 3).half()),
            "metric is torch.float64 on cpu, the points",
        ),
        (lambda f: diagonal()(torch.zeros(2, 4).double()), r"shape \(\*, 3\), got \(2, 4\)"),
        (lambda f: diagonal()("points"), "got <class 'str'>"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make(CentroidMetric.from_posterior)


@pytest.mark.parametrize("make", [diagonal, full])
def test_a_file_and_back(make, tmp_path):
    metric = make(7, 3)
    metric.save(tmp_path / "metric.safetensors")
    again = CentroidMetric.load(tmp_path / "metric.safetensors")
    assert type(again) is type(metric)
    z = torch.randn(4, 3, dtype=torch.float64)
    assert torch.equal(again(z), metric(z))


def test_files_that_are_no_metric(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "metric.safetensors"
    with pytest.raises(ValueError, match="does not exist"):
        CentroidMetric.load(path)
    diagonal().save(path)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        CentroidMetric.load(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(ValueError, match="holds foreign tensors, expected a centroid metric"):
        CentroidMetric.load(path)
    save_file({"x": torch.zeros(1)}, path, metadata={"kind": "a centroid metric", "format": "2"})
    with pytest.raises(ValueError, match="newer pyrogeo"):
        CentroidMetric.load(path)


def test_more_bad_input():
    with pytest.raises(ValueError, match="pass decay"):
        CentroidMetric.from_posterior(Normal(LOC, SCALE), 5, bandwidth=1e-200)
    with pytest.raises(ValueError, match="n_centroids must be an integer"):
        CentroidMetric.from_posterior(Normal(LOC, SCALE), True)
    with pytest.raises(ValueError, match=r"an instance with fit\(X\)"):
        CentroidMetric.from_posterior(Normal(LOC, SCALE), 5, estimator=dict)

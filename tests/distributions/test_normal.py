"""Eq. 3 against closed forms and quadrature."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import MCMC, NUTS
from scipy.integrate import cumulative_trapezoid
from scipy.stats import chi2

from pyrogeo.distributions import RiemannianNormal
from pyrogeo.errors import GeodesicWarning, NotPositiveDefiniteError, SamplingWarning
from pyrogeo.geometry import CentroidMetric, Constant, Euclidean, Metric, Newton, geodesic
from tests.geometry.metrics import HalfPlane, diagonal

ALPHA = 1e-6


def double(*values):
    return torch.tensor(values, dtype=torch.float64)


def effective(density, n):
    """The independent draws that `n` resampled ones are worth at least: they share proposals."""
    return 1 / (1 / n + 1 / (density.num_proposals * density.importance_ess))


def assert_uniform(u, n, alpha):
    """Kolmogorov's distance from the uniform law, by the inequality of Dvoretzky, Kiefer, Wolfowitz."""
    u = np.sort(u)
    grid = np.arange(len(u) + 1) / len(u)
    distance = max((grid[1:] - u).max(), (u - grid[:-1]).max())
    assert distance < math.sqrt(math.log(2 / alpha) / (2 * n))


@pytest.mark.parametrize("d", [1, 2, 8])
def test_with_a_constant_metric_it_is_the_multivariate_normal(d):
    """log_prob to 1e-9; of 1,024 draws χ² of their radii, and each whitened coordinate: a standard
    deviation off by 20% is seen. α = 1e-6 over all."""
    root = torch.randn(d, d, dtype=torch.float64)
    sigma = root @ root.mT + torch.eye(d, dtype=torch.float64)
    density = RiemannianNormal(
        Constant(torch.linalg.inv(sigma)),
        torch.randn(d).double(),
        solver=Newton(4),
        num_proposals=8192,
    )
    normal = torch.distributions.MultivariateNormal(density.loc, sigma)
    z = torch.cat([normal.sample((50,)), 10 * normal.sample((50,))])
    torch.testing.assert_close(density.log_prob(z), normal.log_prob(z), rtol=1e-9, atol=1e-9)
    assert density.log_normalizer == pytest.approx(0.5 * d * math.log(2 * math.pi))
    assert density.log_normalizer_error < 1e-9
    z = density.sample((1024,))
    assert len(torch.unique(z, dim=0)) == 1024
    white = torch.linalg.solve(normal.scale_tril, (z - density.loc).mT).mT
    n, alpha = effective(density, 1024), ALPHA / (3 * (d + 1))
    assert_uniform(chi2.cdf((white**2).sum(1).numpy(), d), n, alpha)
    for coordinate in torch.distributions.Normal(0, 1).cdf(white).numpy().T:
        assert_uniform(coordinate, n, alpha)


# A proposal of negligible weight, close to the boundary, has a curve that 64 segments hardly resolve.
@pytest.mark.filterwarnings("ignore:1 of .* geodesics did not converge")
@pytest.mark.parametrize("sigma", [0.1, 1.0])
def test_on_the_half_plane_it_agrees_with_polar_coordinates(sigma):
    """∫ exp(−r²/2σ) sinh r dr dφ: the density at points, the normaliser within 5 standard errors
    (α < 1e-6), each below 0.05; radii and angles of 512 draws (α = 1e-6 each; an error of 0.15 to 0.2
    in a distribution function is seen)."""
    metric, loc = HalfPlane(), double(0.5, 2.0)
    density = RiemannianNormal(metric, loc, sigma, solver=Newton(32), num_proposals=2048)
    z = double(0.5, 2.0) + torch.rand(50, 2).double()

    def radius(z):
        return (1 + ((z - loc) ** 2).sum(-1) / (2 * loc[1] * z[..., 1])).acosh()

    expected = -(radius(z) ** 2) / (2 * sigma) - 2 * z[:, 1].log()
    torch.testing.assert_close(density.log_density(z), expected, rtol=1e-5, atol=1e-5)
    # At σ = 1 half of all seeds meet a proposal at the boundary whose curve 32 segments make too short.
    density.estimate_normalizer(seed=1)
    half = math.sqrt(sigma / 2)
    truth = math.log(math.pi**1.5 * 2 * half) + sigma / 2 + math.log(math.erf(half))
    assert density.log_normalizer_error < 0.05
    assert abs(density.log_normalizer - truth) < 5 * density.log_normalizer_error
    z = density.sample((512,))
    n = effective(density, 512)
    r = np.linspace(0, 12, 20_001)
    below = cumulative_trapezoid(np.exp(-(r**2) / (2 * sigma)) * np.sinh(r), r, initial=0)
    assert_uniform(np.interp(radius(z).numpy(), r, below / below[-1]), n, ALPHA)
    place = torch.complex(*z.T)
    disk = (place - complex(*loc)) / (place - complex(*loc).conjugate())
    assert_uniform((disk.angle().numpy() + np.pi) / (2 * np.pi), n, ALPHA)


@pytest.mark.filterwarnings("ignore::pyrogeo.errors.GeodesicWarning")
def test_on_a_centroid_metric_it_agrees_with_quadrature():
    """The normaliser to 5 standard errors (α < 1e-6) and 0.005 for the quadrature's own error; χ² on
    cells of 256 draws, α = 1e-6: cells off by 60% in root mean square are seen."""
    metric = diagonal(6, 2, regularization=1.0, decay=1e-3)
    options = {"solver": Newton(16)}
    density = RiemannianNormal(metric, metric.centroids[0], 0.5, num_proposals=1024, **options)
    x = torch.linspace(-4, 4, 30, dtype=torch.float64)
    z = torch.cartesian_prod(x, x)
    squares = geodesic(metric, density.loc, z, **options).length ** 2
    log_f = metric.log_volume_element(z) - squares / (2 * density.sigma)
    truth = (log_f.logsumexp(0) + 2 * (x[1] - x[0]).log()).item()
    assert density.log_normalizer_error < 0.05
    difference = abs(density.log_normalizer - truth)
    assert difference < 5 * density.log_normalizer_error + 0.005
    # Blocks of the grid's cells that hold an equal share each.
    share = log_f.softmax(0).reshape(30, 30).numpy()
    columns = np.arange(0, 30, 6)
    expected = np.add.reduceat(np.add.reduceat(share, columns, 0), columns, 1).ravel()
    draws = density.sample((256,))
    width = (x[1] - x[0]).item()
    cell = ((draws.numpy() + 4 + width / 2) / (6 * width)).astype(int).clip(0, 4)
    counts = np.bincount(5 * cell[:, 0] + cell[:, 1], minlength=25)
    n = effective(density, 256)
    large = expected * n > 3
    expected = np.append(expected[large], expected[~large].sum())
    found = np.append(counts[large], counts[~large].sum()) / 256
    statistic = n * ((found - expected) ** 2 / expected).sum()
    assert statistic < chi2.isf(ALPHA, len(expected) - 1)


@pytest.mark.parametrize("metric", [HalfPlane(), diagonal(6, 2, regularization=1.0, decay=1e-3)])
def test_the_gradient_is_that_of_finite_differences(metric):
    density = RiemannianNormal(metric, double(0.3, 1.0), 0.7)
    z = double(0.3, 1.0) + 0.7 * torch.rand(10, 2).double()
    leaf = z.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(density.log_density(leaf).sum(), leaf)
    h = 1e-4 * torch.eye(2, dtype=torch.float64)
    around = z[:, None, None] + torch.stack([h, -h])
    ahead, behind = density.log_density(around).unbind(1)
    torch.testing.assert_close(gradient, (ahead - behind) / 2e-4, rtol=2e-3, atol=2e-3)


def test_at_its_centre_and_outside():
    density = RiemannianNormal(HalfPlane(), double(0.0, 1.0))
    z = torch.stack([double(0.0, 1.0), double(0.0, -1.0)]).requires_grad_()
    value = density.log_density(z)
    assert value.tolist() == [pytest.approx(0), -math.inf]
    value[0].backward()
    torch.testing.assert_close(z.grad, torch.stack([double(0.0, -2.0), double(0.0, 0.0)]))
    assert density.log_density(z.detach()[:0]).shape == (0,)


def test_small_requests_share_populations():
    density = RiemannianNormal(Euclidean(), torch.zeros(2), num_proposals=400, solver=Newton(4))
    assert density.sample().shape == (2,)
    z = torch.cat([density.sample((5, 6)).reshape(-1, 2), density.sample((269,))])
    assert len(torch.unique(z, dim=0)) == 299
    assert density.sample((3, 4)).shape == (3, 4, 2)


def test_what_was_cached_is_forgotten_with_the_metric_it_was_of():
    metric = Constant(torch.eye(2))
    density = RiemannianNormal(metric, torch.zeros(2), solver=Newton(4), num_proposals=4096)
    before = density.sample((1000,)).std().item()
    metric.matrix.mul_(100.0)
    assert density.sample((1000,)).std().item() == pytest.approx(before / 10, rel=0.3)


def test_a_prior_in_a_program():
    density = RiemannianNormal(
        Constant(torch.eye(2)), torch.zeros(2), solver=Newton(4), num_proposals=400
    )

    def model():
        with pyro.plate("data", 3):
            z = pyro.sample("z", density)
            pyro.sample("x", pyro.distributions.Normal(z.sum(-1), 0.5), obs=torch.ones(3))

    assert pyro.poutine.trace(model).get_trace().nodes["z"]["value"].shape == (3, 2)
    mcmc = MCMC(NUTS(model, max_tree_depth=3), 5, 5, disable_progbar=True)
    mcmc.run()
    assert mcmc.get_samples()["z"].shape == (5, 3, 2)


def test_poor_proposals_and_lost_geodesics_warn():
    density = RiemannianNormal(
        HalfPlane(), double(0.0, 1.0), 10.0, num_proposals=400, solver=Newton(32)
    )
    with pytest.warns(SamplingWarning, match="effective sample size is .* of 400"):
        density.sample()
    metric = diagonal(5, 2, decay=1.0)  # infinity is near
    density = RiemannianNormal(metric, double(0.0, 0.0), solver=Newton(16))
    with pytest.warns(GeodesicWarning, match="a way through infinity"):
        density.log_density(double(3.0, -3.0))


class Indefinite(Metric):
    def forward(self, z):
        return -torch.eye(2).to(z).expand(*z.shape, 2)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: RiemannianNormal(3, torch.zeros(2)), ValueError, "expected a Metric"),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(1, 2)),
            ValueError,
            r"shape \(d,\), got",
        ),
        (lambda: RiemannianNormal(Euclidean(), ["a"]), ValueError, "numbers"),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2), 0.0),
            ValueError,
            "sigma must be positive and finite",
        ),
        (lambda: RiemannianNormal(Euclidean(), torch.zeros(2), -1), ValueError, "got -1"),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2), float("nan")),
            ValueError,
            "sigma must be positive and finite, got nan",
        ),
        (
            lambda: RiemannianNormal(HalfPlane(), torch.zeros(2)),
            ValueError,
            r"loc: \[0.0, 0.0\] lies outside",
        ),
        (lambda: RiemannianNormal(Indefinite(), torch.zeros(2)), NotPositiveDefiniteError, "z ="),
        (lambda: RiemannianNormal(diagonal(5, 2), double(0, 0, 0)), ValueError, r"shape \(2,\)"),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2, requires_grad=True)),
            ValueError,
            "requires a gradient",
        ),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2), solver=Newton(5)),
            ValueError,
            "multiple of 4",
        ),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2), num_proposals=3),
            ValueError,
            "at least 64",
        ),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2)).log_density(torch.zeros(3)),
            ValueError,
            r"points \(\*, 2\), got \(3,\)",
        ),
        (
            lambda: RiemannianNormal(Euclidean(), torch.zeros(2)).log_density(double(0, 0)),
            ValueError,
            "torch.float64",
        ),
    ],
)
def test_bad_input(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_improper_uniform_but_proper_normal():
    """τ = 0 and λ > 0: infinite volume, which the Gaussian does not mind."""
    metric = diagonal(4, 2, regularization=1.0, decay=0.0)
    assert isinstance(metric, CentroidMetric)
    density = RiemannianNormal(
        metric, metric.centroids[0], 0.2, num_proposals=512, solver=Newton(16)
    )
    assert density.importance_ess > 0.1
    assert torch.isfinite(density.log_prob(density.sample((5,)))).all()

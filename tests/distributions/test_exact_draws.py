"""Draws against what they should be, cell by cell.

In the plane quadrature gives Rosenblatt's transform, which maps a density to the uniform one on the
unit square. Laws that are drawn independently are held to it at face value. Draws by sequential
Monte Carlo share ancestors within a run, so the variance of their counts is measured between runs.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline, RectBivariateSpline
from scipy.stats import chi2, t

import pyrogeo as pg
from pyrogeo.annealing import anneal
from pyrogeo.distributions.mixture import StartingLaw
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.geometry import DiagonalCentroidMetric
from tests.distributions.test_uniform import PLANE

ALPHA = 1e-6
N = 100_000
CELLS = (16, 32)  # along each side of the unit square
SQUARE = {  # half the side of what is tabulated; draws outside, under 0.5%, are set aside
    "isolated": 10.0,
    "overlapping": 10.0,
    "much vacuum": 5.0,
    "λσ² ≈ 1": 4.0,
    "full": 10.0,
}


def rosenblatt(log_density, half_width, n):
    """z ↦ (F₁(z₁), F₂(z₂ | z₁)) within a square, from n × n values joined by cubic splines."""
    x = np.linspace(-half_width, half_width, n)
    log_f = log_density(torch.cartesian_prod(*2 * [torch.from_numpy(x)])).reshape(n, n)
    f = (log_f - log_f.max()).exp().numpy()
    below = CubicSpline(x, f, axis=1).antiderivative()(x)  # ∫ f(x₁, t) dt up to x₂
    partial = RectBivariateSpline(x, x, below)
    marginal = CubicSpline(x, below[:, -1]).antiderivative()

    def transform(z):
        x, y = z.numpy().T
        first = marginal(x) / marginal(half_width)
        return np.stack([first, partial.ev(x, y) / partial.ev(x, half_width)], 1)

    return transform


def checked_transform(log_density, half_width, z):
    """Rosenblatt's transform, whose error at the points z is small beside their noise, 1/√n.

    Half the nodes make the error of cubic splines 16 times as large. An error of 3e-4 moves the
    mass of a cell 1/32 wide by 2%, and this at a few places only.
    """
    fine, coarse = (rosenblatt(log_density, half_width, n) for n in (1201, 601))
    difference = np.abs(fine(z) - coarse(z))
    assert difference.max() / 15 < 3e-4
    assert difference.mean() / 15 < 1e-5
    return fine


def within(z, half_width):
    return z[(z.abs() < half_width).all(1)]


def cell_counts(u, side):
    cell = (u.clip(0, 1 - 1e-12) * side).astype(int)
    return np.bincount(side * cell[:, 0] + cell[:, 1], minlength=side**2)


def duplicates(z):
    """How many points are copies of others."""
    return len(z) - len(torch.unique(z, dim=0))


def kolmogorov(u):
    """The largest distance of the empirical distribution function from the uniform one."""
    u, n = np.sort(u), len(u)
    return max((np.arange(1, n + 1) / n - u).max(), (u - np.arange(n) / n).max())


def covariances_of(metric):
    diagonal = isinstance(metric, DiagonalCentroidMetric)
    return torch.diag_embed(metric.variances) if diagonal else metric.covariances


def by_rejection(metric, n, beta=1.0):
    """`n` independent draws in the plane from p₀^{1−β} (√det G)^β, p₀ the starting law.

    √det G = √det Σᵢ pᵢ Qᵢ with det Qᵢ = 1, where the pᵢ are the components of V·mixture + W·vacuum.
    As det Σ pᵢ Qᵢ = Σᵢⱼ pᵢ pⱼ ½tr(Qᵢ⁻¹ Qⱼ), it is at most √maxᵢⱼ ½tr(Qᵢ⁻¹ Qⱼ) · Σ pᵢ, and
    Σ pᵢ at most max(V / (1 − w), W / w) · p₀: the bound is proved, not guessed from draws.
    """
    assert metric.dimension == 2
    law, eye = StartingLaw(metric), torch.eye(2, dtype=torch.float64)
    q = torch.cat([covariances_of(metric), eye[None]])
    q = q / torch.linalg.det(q).sqrt()[:, None, None]
    bound = 0.5 * (0.5 * torch.einsum("iab,jba->ij", torch.linalg.inv(q), q)).max().log().item()
    bound += max(
        metric.log_mixture_volume - math.log1p(-law.weight),
        metric.log_vacuum_volume - math.log(law.weight) if law.weight else -math.inf,
    )
    kept = []
    while sum(map(len, kept)) < n:
        z = law.sample(n)
        ratio = metric.log_volume_element(z) - law.log_prob(z) - bound
        assert ratio.max() < 1e-9
        kept.append(z[torch.rand_like(ratio).log() < beta * ratio])
    return torch.cat(kept)[:n]


class Expansion:
    """√det G in d dimensions as a mixture of Gaussians, where coordinates share variances in pairs.

    Then √det G = Πₑ (Σᵢ sᵢₑ ωᵢ + vacuum) over the d/2 pairs e. Multiplied out, each term is a
    product of d/2 of the ωᵢ, a Gaussian; those with equal counts of each ωᵢ are one. Exact, however
    much the centroids overlap.
    """

    def __init__(self, metric):
        s = 1 / metric.variances
        assert torch.equal(s[:, ::2], s[:, 1::2])
        vacuum = torch.full_like(s[:1], metric.decay * metric.bandwidth**2)
        scaled = torch.cat([s, vacuum]) / metric.bandwidth**2  # of the exponents
        c = torch.cat([metric.centroids, torch.zeros_like(s[:1])])
        factors = torch.cat([s[:, ::2], metric.regularization.expand(1, s.shape[1] // 2)])
        counts, log_coefficients = _multiplied_out(factors.T.tolist())
        precision = counts @ scaled
        self.means = (counts @ (scaled * c)) / precision
        rest = counts @ (scaled * c * c).sum(1) - (precision * self.means**2).sum(1)
        self.deviations = (2 * precision).rsqrt()
        self.log_masses = log_coefficients - rest + 0.5 * (math.pi / precision).log().sum(1)
        self.log_volume = self.log_masses.logsumexp(0).item()

    def sample(self, n):
        index = torch.multinomial(self.log_masses.softmax(0), n, replacement=True)
        noise = torch.randn(n, self.means.shape[1], dtype=torch.float64)
        return self.means[index] + self.deviations[index] * noise


def _multiplied_out(factors):
    """Exponents and log-coefficients of Πₑ Σᵢ aₑᵢ xᵢ."""
    terms = {(0,) * len(factors[0]): 1.0}
    for factor in factors:
        product = {}
        for (term, value), (i, a) in itertools.product(terms.items(), enumerate(factor)):
            key = (*term[:i], term[i] + 1, *term[i + 1 :])
            product[key] = product.get(key, 0.0) + value * a
        terms = product
    values = torch.tensor(list(terms.values()), dtype=torch.float64)
    return torch.tensor(list(terms), dtype=torch.float64), values.log()


def pairs(k=4, d=16, **options):
    """Slightly overlapping centroids in d dimensions; coordinates 2e and 2e + 1 share variances."""
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator, dtype=torch.float64)
    variances = 0.1 + 0.3 * torch.rand(k, d // 2, generator=generator, dtype=torch.float64)
    return DiagonalCentroidMetric(centroids, variances.repeat_interleave(2, 1), **options)


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.parametrize("law", ["uniform", "mixture"])
def test_independent_draws_fill_the_cells_of_quadrature(name, law):
    """10⁵ draws: χ² on 16² and 32² cells, the DKW bound on each coordinate, no copies.

    α = 1e-6 over the four. Seen are cells off by 4% (of 16²) or 5% (of 32²) in root mean square, and
    a distribution function off by 0.01. A mixture drawn too wide by 5% fails on all five metrics, by
    3% on three of them.
    """
    metric, half_width = PLANE[name][0](), SQUARE[name]
    mixture = pg.GeometricMixture(metric)
    z = by_rejection(metric, N) if law == "uniform" else mixture.sample((N,))
    assert duplicates(z) == 0
    inside = within(z, half_width)
    assert len(inside) > 0.995 * N
    log_density = metric.log_volume_element if law == "uniform" else mixture.log_prob
    u = checked_transform(log_density, half_width, inside)(inside)
    for side in CELLS:
        expected = len(u) / side**2
        statistic = ((cell_counts(u, side) - expected) ** 2).sum() / expected
        assert statistic < chi2.isf(ALPHA / 4, side**2 - 1)
    for coordinate in u.T:
        assert kolmogorov(coordinate) < math.sqrt(math.log(2 / (ALPHA / 4)) / (2 * len(u)))


def scaled_chi_square(counts):
    """A χ² statistic of runs' cell counts `(runs, cells)` and its p-value.

    Runs are independent, draws within a run are not. X² = ‖Σᵣ xᵣ‖²/R with xᵣ the runs' standardised
    counts is therefore Σₖ λₖ χ²₁ with the eigenvalues of their covariance, which Satterthwaite
    takes for a χ² of ν degrees of freedom times a, from the trace and that of the square. Both come
    from differences of pairs of runs, which an error of the mean does not touch. For independent
    draws a = 1 and ν = cells − 1; a·ν / (cells − 1) is the inflation of the variance.
    """
    runs, cells = counts.shape
    expected = counts.sum(1, keepdims=True) / cells
    x = (counts - expected) / np.sqrt(expected)
    pairs = (x[::2] - x[1::2]) / math.sqrt(2)
    products = pairs @ pairs.T
    apart = ~np.eye(len(products), dtype=bool)
    trace, square = products.diagonal().mean(), (products[apart] ** 2).mean()
    statistic = (x.sum(0) ** 2).sum() / runs
    p = chi2.sf(statistic * trace / square, trace**2 / square)
    return p, trace / (cells - 1)


def largest_t(shares, expected):
    """Largest |t| of the runs' mean shares `(runs, *)`."""
    error = shares.std(0, ddof=1) / math.sqrt(len(shares))
    return np.abs((shares.mean(0) - expected) / error).max()


@pytest.mark.parametrize("name", PLANE)
@pytest.mark.filterwarnings("ignore::pyrogeo.errors.VacuumWarning")
def test_draws_of_sequential_monte_carlo_fill_the_cells_of_quadrature(name):
    """50 populations of 2,048, each served in two requests: cells, coordinates, copies.

    Nominally α = 1e-7 for each χ², as its scale and degrees of freedom are themselves estimates,
    good to 2% and 5%; α = 2.5e-7 for the largest of 30 values of t with 49 degrees of freedom, at
    15 places of each coordinate's distribution function. Seen is what independent draws show, times
    the root of the inflation, which is measured and below 1.1: cells off by 5%. A run's bias, of the
    order of 1/2048, is not. Copies are at most one draw in a thousand.
    """
    metric, half_width = PLANE[name][0](), SQUARE[name]
    density = pg.RiemannianUniform(metric)
    runs = [torch.cat([density.sample((1024,)) for _ in range(2)]) for _ in range(50)]
    assert sum(map(duplicates, runs)) < 1e-3 * 50 * 2048
    inside = [within(z, half_width) for z in runs]
    transform = checked_transform(metric.log_volume_element, half_width, torch.cat(inside))
    u = [transform(z) for z in inside]
    for side in CELLS:
        p, inflation = scaled_chi_square(np.stack([cell_counts(run, side) for run in u]))
        assert p > ALPHA / 10
        assert inflation < 1.1
    grid = np.arange(1, 16) / 16
    below = np.stack([(run[:, :, None] < grid).mean(0) for run in u])
    assert largest_t(below, grid) < t.isf(ALPHA / 4 / 60, 49)


def test_sixteen_dimensions_agree_with_the_expansion():
    """Overlapping centroids, some stages of temperature, and exact draws to compare with.

    Means of coordinates, squares, log-density and the nearest centroid's share, of 32 runs against
    10⁵ independent draws: α = 1e-6 for the largest of 38 values of t with 31 degrees of freedom. An
    offset of 0.03 standard deviations is seen. The volume, 1.27 above that of isolated centroids in
    logarithm, is estimated within 6 standard errors (α = 1e-6), each below 0.01, and 0.01 for the
    bias of one population, of order 1/2048 (−0.007 ± 0.003 in 100 runs): an offset of 0.07 is seen.
    """
    metric = pairs()
    exact, runs = (
        Expansion(metric),
        [anneal(VolumeElement(metric), StartingLaw(metric), 2048) for _ in range(32)],
    )
    assert len(runs[0].temperatures) > 1

    def features(z):
        near = torch.cdist(z, metric.centroids).argmin(1)
        modes = torch.nn.functional.one_hot(near, metric.n_centroids)
        value = metric.log_volume_element(z)[:, None]
        return torch.cat([z, z**2, value, value**2, modes], 1)

    true = features(exact.sample(N))
    found = torch.stack([features(run.particles).mean(0) for run in runs])
    error = (found.var(0) / 32 + true.var(0) / N).sqrt()
    score = ((found.mean(0) - true.mean(0)) / error).abs().max().item()
    assert score < t.isf(ALPHA / 2 / true.shape[1], 31)
    ratio = torch.tensor([math.exp(run.log_normalizer - exact.log_volume) for run in runs])
    error = ratio.std().item() / math.sqrt(32)
    assert error < 0.01
    assert abs(ratio.mean().item() - 1) < 6 * error + 0.01
    assert exact.log_volume == pytest.approx(metric.log_mixture_volume + 1.27, abs=0.01)


def test_the_expansion_is_the_density():
    metric = pairs(regularization=0.5, decay=0.02)
    exact = Expansion(metric)
    z = torch.cat([exact.sample(20), torch.zeros(1, 16, dtype=torch.float64)])
    components = torch.distributions.Normal(exact.means, exact.deviations)
    log_density = components.log_prob(z[:, None]).sum(-1) + exact.log_masses
    torch.testing.assert_close(log_density.logsumexp(-1), metric.log_volume_element(z))

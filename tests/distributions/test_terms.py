"""The Gaussian terms of √det G, against determinants, quadrature and an exact expansion."""

import math

import pytest
import torch
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from benchmarks.expansion import Expansion
from pyrogeo.distributions import terms
from pyrogeo.distributions.gaussians import Gaussians
from pyrogeo.distributions.terms import atoms, log_masses, pairs, peaks, shapes, singles, tangents
from pyrogeo.geometry import DiagonalCentroidMetric, FullCentroidMetric

D = torch.float64


def diagonal(k: int = 6, d: int = 4, seed: int = 0, low: float = 1e-3) -> DiagonalCentroidMetric:
    g = torch.Generator().manual_seed(seed)
    variances = low ** torch.rand(k, d, dtype=D, generator=g)
    return DiagonalCentroidMetric(torch.randn(k, d, dtype=D, generator=g), variances)


def same_as_full(metric: DiagonalCentroidMetric) -> FullCentroidMetric:
    covariances = torch.diag_embed(metric.variances)
    numbers = (metric.bandwidth, metric.regularization, metric.decay)
    return FullCentroidMetric(metric.centroids, covariances, *(n.item() for n in numbers))


def turned(k: int = 5, d: int = 3, seed: int = 0) -> FullCentroidMetric:
    g = torch.Generator().manual_seed(seed)
    turn = torch.linalg.qr(torch.randn(k, d, d, dtype=D, generator=g)).Q
    sd = 0.03 ** torch.rand(k, d, dtype=D, generator=g)
    covariances = (turn * sd[:, None] ** 2) @ turn.mT
    return FullCentroidMetric(
        torch.randn(k, d, dtype=D, generator=g), 0.5 * (covariances + covariances.mT)
    )


def log_values(of, terms, z):
    """Each term at points, `(n, T)`, by its mean, precision and height."""
    means, precisions, heights = shapes(of, terms)
    away = z[:, None] - means
    if precisions.dim() == 2:
        return heights - 0.5 * (precisions * away**2).sum(-1)
    return heights - 0.5 * torch.einsum("nti,tij,ntj->nt", away, precisions, away)


def points(metric, n: int = 200) -> torch.Tensor:
    torch.manual_seed(1)
    index = torch.randint(metric.n_centroids, (n,))
    step = metric.unwhiten(index, torch.randn(n, metric.dimension, dtype=D))
    return metric.centroids[index] + step * (0.1 + 2 * torch.rand(n, 1, dtype=D))


@pytest.mark.parametrize("metric", [diagonal(), same_as_full(diagonal()), turned()])
def test_tangents_touch_from_below(metric):
    of, z = atoms(metric), points(metric)
    value = metric.log_volume_element(z)
    under = log_values(of, tangents(of, z), z)
    assert torch.allclose(under.diagonal(), value, atol=1e-8)
    assert (under <= value[:, None] + 1e-8).all()


def test_tangents_of_many_atoms_stay_below():
    metric = diagonal(k=80, d=3)
    of, z = atoms(metric), points(metric)
    under = log_values(of, tangents(of, z), z)
    value = metric.log_volume_element(z)
    assert (under <= value[:, None] + 1e-8).all()
    assert (value - under.diagonal()).median() < 1e-3


@pytest.mark.parametrize("make", [diagonal, lambda: same_as_full(diagonal()), turned])
def test_singles_and_pairs_bound_the_root_of_a_pair(make, monkeypatch):
    monkeypatch.setattr(terms, "_NEGLIGIBLE", 1e-300)  # at some point even the lightest counts
    metric = make()
    keep = slice(0, 2)
    if isinstance(metric, DiagonalCentroidMetric):
        metric = DiagonalCentroidMetric(metric.centroids[keep], metric.variances[keep], 1.0, 0.0)
    else:
        metric = FullCentroidMetric(metric.centroids[keep], metric.covariances[keep], 1.0, 0.0)
    of, z = atoms(metric), points(metric)
    both = [log_values(of, t, z) for t in (singles(of), pairs(of, 1000))]
    bound = torch.cat(both, 1).logsumexp(-1)
    value = metric.log_volume_element(z)
    assert (bound >= value - 1e-8).all()
    assert (bound - value).max() < 0.5 * metric.dimension * math.log(2)


def test_pairs_come_by_their_masses_and_no_more_than_asked():
    of = atoms(diagonal(low=0.1))
    found = pairs(of, 20)
    masses = log_masses(of, found)
    assert len(masses) == 20
    assert (masses.diff() <= 1e-9).all()
    assert torch.allclose(found.exponents.sum(-1), torch.tensor(4.0, dtype=D))


def test_pairs_of_many_are_looked_for_among_neighbours():
    few = pairs(atoms(diagonal(k=130, d=2, low=0.5)), 10_000)
    assert len(few.atoms) > 100
    assert (few.atoms[:, 0] != few.atoms[:, 1]).all()


@pytest.mark.parametrize("take", [singles, lambda of: pairs(of, 100)])
def test_masses_of_diagonal_and_full_agree(take):
    metric = diagonal()
    of, full = atoms(metric), atoms(same_as_full(metric))
    mine, theirs = log_masses(of, take(of)), log_masses(full, take(full))
    assert torch.allclose(mine, theirs, atol=1e-8)


def test_one_dimension_has_no_pairs():
    of = atoms(diagonal(d=1))
    assert len(pairs(of, 100).atoms) == 0
    assert log_masses(of, singles(of)).shape == (7,)


def test_peaks_are_where_products_of_omega_are_largest():
    metric = DiagonalCentroidMetric(
        torch.tensor([[0.0], [1.0]], dtype=D), torch.tensor([[1.0], [3.0]], dtype=D), 1.0, 0.0
    )
    (peak,) = peaks(atoms(metric), torch.zeros(1, 1, dtype=D)).flatten()
    assert peak.item() == pytest.approx(0.25)


def test_the_expansion_is_the_volume_element():
    metric = _paired()
    z = points(metric)
    assert torch.allclose(Expansion(metric).log_density(z), metric.log_volume_element(z), atol=1e-9)


def _paired(seed: int = 0, k: int = 5, d: int = 6, low: float = 1e-3) -> DiagonalCentroidMetric:
    g = torch.Generator().manual_seed(seed)
    half = torch.rand(k, d // 2, dtype=D, generator=g)
    centroids = 0.5 * torch.randn(k, d, dtype=D, generator=g)
    return DiagonalCentroidMetric(centroids, low ** half.repeat_interleave(2, 1))


@pytest.mark.parametrize("full", [False, True])
def test_gaussians_are_torchs_mixture(full):
    torch.manual_seed(0)
    means, weights = torch.randn(4, 3, dtype=D), torch.randn(4, dtype=D)
    precisions = 1 + torch.rand(4, 3, dtype=D)
    parts = Independent(Normal(means, precisions.rsqrt()), 1)
    if full:
        root = torch.randn(4, 3, 3, dtype=D)
        precisions = root @ root.mT + torch.eye(3, dtype=D)
        parts = MultivariateNormal(means, precision_matrix=precisions)
    law = Gaussians(means, precisions, weights, 1.0, D)
    peer = MixtureSameFamily(Categorical(logits=weights), parts)
    z = torch.randn(50, 3, dtype=D, requires_grad=True)
    expected = peer.log_prob(z)
    (slope,) = torch.autograd.grad(expected.sum(), z)
    value, gradient = law.log_prob_and_grad(z.detach())
    assert torch.allclose(value, expected)
    assert torch.allclose(gradient, slope)
    assert torch.allclose(law.log_prob(z.detach()), value)
    draws = law.sample(40_000)
    # six standard errors: a false alarm in less than 1e-7 of seeds
    error = peer.stddev / 200
    assert ((draws.mean(0) - peer.mean).abs() < 6 * error).all()


def test_far_out_gaussians_are_zero_and_not_nan():
    law = Gaussians(torch.zeros(2, 2), torch.ones(2, 2), torch.zeros(2), 1.0, torch.float32)
    value, gradient = law.log_prob_and_grad(torch.full((1, 2), 1e20))
    assert not value.isnan().any()
    assert not gradient.isnan().any()

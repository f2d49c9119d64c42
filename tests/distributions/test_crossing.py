"""Exact draws where thin directions cross: what they start from, and whether it is told where that fails."""

import copy
import pickle

import pytest
import torch

from benchmarks.expansion import Expansion
from pyrogeo import RiemannianUniform
from pyrogeo.distributions import StartingLaw
from pyrogeo.distributions.crossing import crossing_law
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.distributions.survey import Overlap, overlap_of, tail
from pyrogeo.distributions.terms import atoms
from pyrogeo.errors import SamplingWarning
from pyrogeo.geometry import DiagonalCentroidMetric, FullCentroidMetric
from pyrogeo.sampling.exact import sample_smc

D = torch.float64


def paired(seed: int, k: int = 8, d: int = 6, low: float = 1e-3) -> DiagonalCentroidMetric:
    """Log-uniform variances in equal pairs of coordinates, so that the truth is known."""
    g = torch.Generator().manual_seed(seed)
    half = torch.rand(k, d // 2, dtype=D, generator=g)
    centroids = 0.5 * torch.randn(k, d, dtype=D, generator=g)
    return DiagonalCentroidMetric(centroids, low ** half.repeat_interleave(2, 1))


def pancakes(d: int = 16) -> DiagonalCentroidMetric:
    variances = torch.ones(d, d, dtype=D).fill_diagonal_(1e-4)
    return DiagonalCentroidMetric(torch.zeros(d, d, dtype=D), variances, 1.0, 0.0, 0.0)


def look(metric, law, seed: int = 0) -> Overlap:
    torch.manual_seed(seed)
    return overlap_of(VolumeElement(metric), law, atoms(metric))


@pytest.mark.parametrize("full", [False, True])
def test_the_law_covers_where_single_centroids_do_not(full):
    metric = paired(3)
    if full:
        numbers = (metric.bandwidth, metric.regularization, metric.decay)
        covariances = torch.diag_embed(metric.variances)
        metric = FullCentroidMetric(metric.centroids, covariances, *(n.item() for n in numbers))
    torch.manual_seed(0)
    new = look(metric, crossing_law(metric))
    assert new.ess > 0.8
    assert not new.in_doubt
    assert look(metric, StartingLaw(metric)).ess < 0.6


def test_volumes_and_draws_are_those_of_the_expansion():
    """t₇ beyond 8.5 has probability 6e-5 for each of four metrics; six standard errors for the mean of lp."""
    for seed in range(4):
        metric = paired(seed)
        truth, density = Expansion(metric), RiemannianUniform(metric)
        assert abs(density.log_volume - truth.log_volume) < 8.5 * density.log_volume_error
        torch.manual_seed(seed)
        mine, theirs = (
            density.log_density(law.sample((4096,) if law is density else 20_000))
            for law in (density, truth)
        )
        error = (theirs.std() * (1 / 4096 + 1 / 20_000) ** 0.5).item()
        assert abs(mine.mean() - theirs.mean()) < 6 * error


def test_pancakes_are_in_doubt():
    for seed in range(3):
        assert look(pancakes(), StartingLaw(pancakes()), seed).in_doubt


@pytest.mark.filterwarnings("ignore:centroids overlap")
def test_doubt_is_told_with_a_wider_error_and_travels_with_the_draws():
    metric = pancakes(8)
    density = RiemannianUniform(metric, proposal=StartingLaw(metric))
    with pytest.warns(SamplingWarning, match="may miss mass of the density"):
        estimate = density.estimate_volume()
    assert estimate.error > 0.1
    with pytest.warns(SamplingWarning, match="may miss mass of the density"):
        draws = sample_smc(density, 64, num_runs=2, seed=0, progress=False)
    assert draws.sample_stats["in_doubt"].all()


@pytest.mark.parametrize("law", [StartingLaw, crossing_law])
def test_nothing_is_said_of_isolated_centroids(law):
    g = torch.Generator().manual_seed(0)
    centroids = 2 * torch.randn(20, 8, dtype=D, generator=g)
    metric = DiagonalCentroidMetric(centroids, torch.full((20, 8), 0.01, dtype=D))
    for seed in range(3):
        seen = look(metric, law(metric), seed)
        assert seen.ess > 0.95
        assert not seen.in_doubt
        assert seen.error == 0


def test_the_probe_sees_what_no_draw_hit():
    """Two centroids far apart, and a law of one of them: its weights are constant, and blind."""
    centroids = torch.tensor([[-0.5, 0.0], [0.5, 0.0]], dtype=D)
    metric = DiagonalCentroidMetric(centroids, torch.full((2, 2), 1e-3, dtype=D), 1.0, 0.0)
    half = DiagonalCentroidMetric(centroids[:1], torch.full((1, 2), 1e-3, dtype=D), 1.0, 0.0)
    seen = look(metric, StartingLaw(half))
    assert seen.tail_index < 0.7
    assert seen.has_gap
    assert seen.gap == pytest.approx(torch.tensor(2.0).log().item(), abs=0.2)


def test_tail_of_constant_weights_is_none():
    assert tail(torch.zeros(1000)) == (-torch.inf, 0.0)


def test_the_law_is_in_the_precision_of_the_metric():
    metric = paired(0).copy(torch.float32)
    density = RiemannianUniform(metric)
    assert density.sample((4,)).dtype == torch.float32
    assert density.proposal is density.proposal


def test_copies_make_the_law_anew_and_keep_the_verdict():
    density = RiemannianUniform(paired(0))
    volume, law = density.log_volume, density.proposal
    for made in (copy.deepcopy(density), pickle.loads(pickle.dumps(density))):
        assert "overlap" in made._kept.facts
        assert made.log_volume == volume
        assert made.proposal is not law
        assert torch.equal(made.proposal.log_weights, law.log_weights)


def test_asking_leaves_the_random_state_alone():
    density = RiemannianUniform(paired(1))
    before = torch.get_rng_state()
    _ = density.proposal, density.overlap
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
def test_pancakes_in_twenty_of_twenty_seeds():
    metric = pancakes()
    for seed in range(20):
        torch.manual_seed(seed)
        law = crossing_law(metric)
        assert look(metric, law, seed).in_doubt

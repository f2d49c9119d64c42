"""Ranks and their band: against enumeration, against simulation, and on samplers that are wrong."""

import itertools

import numpy as np
import pytest
from scipy import stats

from pyrogeo import plots
from pyrogeo.verdict import check_ranks, rank_band, ranks_among
from pyrogeo.verdict.ranks import _outside

N, L = 300, 63


def inside(check):
    ecdf, band = check.ecdf, check.band
    return bool(((ecdf > band.lower - 1e-12) & (ecdf < band.upper + 1e-12)).all())


@pytest.mark.parametrize(("n", "n_draws"), [(1, 1), (5, 1), (4, 3), (6, 2)])
def test_p_values_are_those_of_enumeration(n, n_draws):
    every = itertools.product(range(n_draws + 1), repeat=n)
    p = np.array([check_ranks(np.array(ranks), n_draws).p_value for ranks in every])
    for value in np.unique(p.round(12)):
        assert (p < value + 1e-9).mean() == pytest.approx(value, abs=1e-12)


def test_uneven_points_are_those_of_enumeration():
    every = [np.array(ranks) for ranks in itertools.product(range(6), repeat=4)]
    p = np.array([check_ranks(ranks, 5, n_points=3).p_value for ranks in every])
    assert len(check_ranks(every[0], 5, n_points=3).band.points) == 3
    for value in np.unique(p.round(12)):
        assert (p < value + 1e-9).mean() == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("level", [0.5, 0.05, 0.001])
def test_the_band_is_as_narrow_as_its_level_allows(level):
    band = rank_band(N, L, level)
    assert 0.9 * level < _outside(band.pointwise_level, N, band.points) <= level
    assert _outside(band.pointwise_level * (1 + 1e-6), N, band.points) > level
    np.testing.assert_allclose(band.lower, 1 - band.upper[::-1], atol=1e-12)


def test_false_alarms():
    """1,000 sets of uniform ranks at 5%: the number that leaves the band is outside 29 to 73 once in 1,000
    seeds; and the words are those of the band, set by set."""
    rng = np.random.default_rng(0)
    checks = [check_ranks(rng.integers(0, L + 1, N), L) for _ in range(1000)]
    alarms = sum(not check.calibrated for check in checks)
    low, high = stats.binom.ppf([5e-4, 1 - 5e-4], 1000, 0.05)
    assert low <= alarms <= high
    assert all(inside(check) == check.calibrated for check in checks)


SAMPLERS = {  # location and scale of draws, where the truth is N(0, 1)
    "shifted": (0.4, 1.0),
    "too wide": (0.0, 1.5),
    "too narrow": (0.0, 0.7),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_power(name):
    """At least 19 of 20 sets of 300 ranks are called wrong, at the level of one of four quantities together."""
    loc, scale = SAMPLERS[name]
    rng = np.random.default_rng(1)
    found = [
        check_ranks(
            ranks_among(rng.normal(size=N), rng.normal(loc, scale, (N, L)), seed), L, 0.0125
        )
        for seed in range(20)
    ]
    assert sum(not check.calibrated for check in found) >= 19
    assert all(inside(check) == check.calibrated for check in found)


@pytest.mark.parametrize("rate", [0.0, 0.7])
def test_ties_are_broken_at_random(rate):
    """Calibrated counts, most of them equal: 20 sets at a level of 1e-5, one false alarm in 5,000 seeds. The
    same with ties counted as above are not."""
    rng = np.random.default_rng(2)
    for seed in range(20):
        values, draws = rng.poisson(rate, N), rng.poisson(rate, (N, L))
        ranks = ranks_among(values, draws, seed)
        assert check_ranks(ranks, L, 1e-5).calibrated
        assert not check_ranks((draws < values[:, None]).sum(-1), L, 1e-5).calibrated
        np.testing.assert_array_equal(ranks, ranks_among(values, draws, seed))


def test_ranks_of_all_shapes():
    assert ranks_among(0.5, [0.0, 1.0, 2.0]) == 1
    assert ranks_among(np.zeros((2, 3)), np.ones((2, 3, 7))).shape == (2, 3)


def test_extreme_ranks_have_no_p_value_of_zero():
    check = check_ranks(np.zeros(N, int), L)
    assert 0 < check.p_value < 1e-11
    assert str(check).startswith("not calibrated: p = ")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: check_ranks(np.array([0.5]), 3), "expected integers"),
        (lambda: check_ranks(np.zeros((2, 2), int), 3), "expected integers"),
        (lambda: check_ranks(np.array([], int), 3), "expected integers"),
        (lambda: check_ranks(np.array([0, 4]), 3), "from 0 to 3, got 0 to 4"),
        (lambda: check_ranks(np.array([-1, 2]), 3), "from 0 to 3, got -1 to 2"),
        (lambda: rank_band(0, 3), "n_ranks must be a positive integer"),
        (lambda: rank_band(3, 2.5), "n_draws must be a positive integer"),
        (lambda: rank_band(3, 3, 1.0), "level: expected a share"),
        (lambda: ranks_among(np.zeros(2), np.zeros((3, 5))), "of shape"),
        (lambda: ranks_among(np.zeros(2), np.zeros((2, 0))), "of shape"),
        (lambda: ranks_among(np.nan, np.zeros(5)), "got NaN"),
        (lambda: ranks_among(0.0, np.zeros(5), seed=-1), "seed must be"),
    ],
)
def test_mistakes_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_the_picture_holds_band_and_differences():
    rng = np.random.default_rng(0)
    good, bad = (check_ranks(ranks, L) for ranks in (rng.integers(0, L + 1, N), np.full(N, L // 2)))
    ax = plots.calibration({"z[0]": good, "cost in $": bad})
    names = ax.get_legend_handles_labels()[1]
    assert names == ["95% of uniform ranks stay within", "z[0]", r"cost in \$ (outside)"]
    line = dict(zip(names[1:], ax.lines[1:], strict=True))["z[0]"]
    x, y = line.get_data()
    np.testing.assert_allclose(x, [0, *good.band.points, 1])
    np.testing.assert_allclose(y, [0, *(good.ecdf - good.band.points), 0])
    assert plots.calibration({"z": good}, ax) is ax


def test_a_picture_of_different_bands_is_refused():
    one, other = check_ranks(np.arange(4), 3), check_ranks(np.arange(8), 7)
    with pytest.raises(ValueError, match="got 4 among 3 at 0.05, 8 among 7"):
        plots.calibration({"a": one, "b": other})
    with pytest.raises(ValueError, match="got none"):
        plots.calibration({})

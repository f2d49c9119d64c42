"""Ranks that are uniform if a sampler is calibrated, and how far their distribution may stray by chance.

Draw z from the prior and data from the likelihood at z; then z is itself a draw from the posterior. Its rank
among L independent draws that a sampler gives of that posterior is uniform on 0, …, L: simulation-based
calibration. The empirical distribution function of N such ranks is held against a band that contains all of it
at once with a given probability. With points xᵢ = kᵢ/(L + 1), the count Cᵢ of ranks below kᵢ is binomial
(N, xᵢ), and the band holds at each point the counts whose two-sided tail probability is above γ, the pointwise
level. The probability that all counts are in it comes from a recursion over the points, without simulation:
the counts are those of a Poisson process, given that it has N events in all.

Imports NumPy and SciPy only, and checks of arguments.

Source: Talts, Betancourt, Simpson, Vehtari, Gelman, *Validating Bayesian inference algorithms with
simulation-based calibration*, 2018; Säilynoja, Bürkner, Vehtari, *Graphical test for discrete uniformity and
its applications in goodness-of-fit evaluation and multiple sample comparison*, 2022.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy import stats

from pyrogeo._checks import share, whole

__all__ = ["RankBand", "RankCheck", "check_ranks", "rank_band", "ranks_among"]

#: Tail probabilities this close, relatively, are one: they are sums in floating point.
_CLOSE = 1e-9


class RankBand(NamedTuple):
    """A simultaneous band for the distribution function of uniform ranks, by `rank_band`.

    Attributes:
        points: xᵢ, increasing in (0, 1), shape `(P,)`.
        lower: the smallest share of ranks below each point that is in the band, shape `(P,)`.
        upper: the largest, shape `(P,)`.
        pointwise_level: γ, the two-sided level at each point that makes the joint one.
        level: the probability promised at most, that uniform ranks leave the band anywhere.
        n_ranks: how many ranks there are, N in all formulas.
        n_draws: L, the draws that each value was ranked among.
    """

    points: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    pointwise_level: float
    level: float
    n_ranks: int
    n_draws: int


class RankCheck(NamedTuple):
    """What `check_ranks` found.

    Attributes:
        ecdf: the share of ranks below each of the band's points, shape `(P,)`.
        band: in which it is expected.
        p_value: the probability that uniform ranks stray at least as far, exact up to some 1e-12 of rounding.
        calibrated: whether `p_value` is above the band's level, and so `ecdf` in the band.
    """

    ecdf: np.ndarray
    band: RankBand
    p_value: float
    calibrated: bool

    def __str__(self) -> str:
        words = "calibrated" if self.calibrated else "not calibrated"
        return f"{words}: p = {self.p_value:.2g} of {self.band.n_ranks} ranks at level {self.band.level:.2g}"


def ranks_among(values: Any, draws: Any, seed: int = 0) -> np.ndarray:
    """How many draws lie below each value; among equal ones the place is drawn at random.

    With random places a discrete quantity, or one with an atom, has uniform ranks too.

    Args:
        values: one for each posterior, shape `(*,)`.
        draws: of the same posteriors, shape `(*, L)`.
        seed: of the places among equals.

    Returns:
        integers from 0 to L, shape `(*,)`.

    Raises:
        ValueError: for shapes that do not fit, no draws, NaN, or a seed that is no integer of at least 0.

    >>> ranks_among([0.5, 9.0], [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])
    array([1, 3])
    """
    values, draws = np.asarray(values), np.asarray(draws)
    if draws.ndim == 0 or draws.shape[:-1] != values.shape or draws.shape[-1] == 0:
        raise ValueError(
            f"expected values of shape (*,) and draws of shape (*, L), got {values.shape} and "
            f"{draws.shape}"
        )
    if np.isnan(values).any() or np.isnan(draws).any():
        raise ValueError("values and draws: expected numbers, got NaN, which has no rank")
    rng = np.random.default_rng(whole("seed", seed, 0))
    below = (draws < values[..., None]).sum(-1)
    equal = (draws == values[..., None]).sum(-1)
    ranks: np.ndarray = np.asarray(below + rng.integers(0, equal + 1))
    return ranks


def rank_band(n_ranks: int, n_draws: int, level: float = 0.05, n_points: int = 100) -> RankBand:
    """The band that holds the whole distribution function of N uniform ranks with probability 1 − level.

    At each point it leaves out the counts c with 2 P(C ≤ c) ≤ γ or 2 P(C ≥ c) ≤ γ, with the largest γ for
    which all that is left out has at most the probability `level`. Counts are whole numbers, so the
    probability can be less.

    Args:
        n_ranks: how many ranks there are, N in all formulas.
        n_draws: L, so that ranks are 0, …, L.
        level: the probability that uniform ranks leave the band, strictly between 0 and 1.
        n_points: where it is looked at, at most; all L values between the ranks if they are fewer.

    Raises:
        ValueError: for numbers that are no positive integers, and a level out of range.

    >>> band = rank_band(300, 63)
    >>> print(f"γ = {band.pointwise_level:.4f}, at a half {band.lower[31]:.3f} to {band.upper[31]:.3f}")
    γ = 0.0036, at a half 0.417 to 0.583
    """
    n_ranks, n_draws = whole("n_ranks", n_ranks), whole("n_draws", n_draws)
    return _band(n_ranks, n_draws, share("level", level), whole("n_points", n_points))


@lru_cache(maxsize=64)
def _band(n_ranks: int, n_draws: int, level: float, n_points: int) -> RankBand:
    points = _points(n_draws, n_points)
    # By Bonferroni's inequality the first is small enough. Both ends are logarithms.
    low, high = math.log(level / len(points)), 0.0
    while high - low > 0.01 * _CLOSE:
        middle = 0.5 * (low + high)
        fits = _outside(math.exp(middle), n_ranks, points) <= level
        low, high = (middle, high) if fits else (low, middle)
    gamma = math.exp(low)
    lower, upper = _limits(gamma, n_ranks, points)
    for x in (points, lower, upper):
        x.flags.writeable = False  # they are kept for the next who asks
    lower, upper = lower / n_ranks, upper / n_ranks
    return RankBand(points, lower, upper, gamma, level, n_ranks, n_draws)


def check_ranks(ranks: Any, n_draws: int, level: float = 0.05, n_points: int = 100) -> RankCheck:
    """Whether ranks are uniform on 0, …, L, by the whole of their distribution function at once.

    The statistic is the smallest two-sided tail probability of a count over all points, and its p-value comes
    without simulation. For several quantities of one simulation divide the level by their number.

    Args:
        ranks: N independent ranks from 0 to L, shape `(N,)`.
        n_draws: how many draws each value was ranked among, L in all formulas.
        level: at which uniform ranks may be called not calibrated.
        n_points: as in `rank_band`.

    Raises:
        ValueError: for ranks that are no integers from 0 to L, and whatever `rank_band` refuses.

    >>> rng = np.random.default_rng(0)
    >>> print(check_ranks(rng.integers(0, 64, 300), 63))
    calibrated: p = 0.36 of 300 ranks at level 0.05
    >>> too_wide = rng.binomial(63, 0.5, 300)  # the truth too often in the middle of the draws
    >>> check_ranks(too_wide, 63).calibrated
    False
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 1 or len(ranks) == 0 or ranks.dtype.kind not in "iu":
        raise ValueError(f"expected integers of shape (N,), got {ranks.dtype} of {ranks.shape}")
    band = rank_band(len(ranks), n_draws, level, n_points)
    if ranks.min() < 0 or ranks.max() > band.n_draws:
        raise ValueError(
            f"expected ranks from 0 to {band.n_draws}, got {ranks.min()} to {ranks.max()}"
        )
    below = np.rint(band.points * (band.n_draws + 1))
    counts = (ranks < below[:, None]).sum(1)
    p_value = _p_value(counts, band)
    return RankCheck(counts / len(ranks), band, p_value, p_value > band.level)


def _points(n_draws: int, n_points: int) -> np.ndarray:
    below = np.unique(np.rint(np.linspace(1, n_draws, min(n_draws, n_points))))
    return below / (n_draws + 1)


def _p_value(counts: np.ndarray, band: RankBand) -> float:
    law = stats.binom(band.n_ranks, band.points)
    least = float(2 * min(law.cdf(counts).min(), law.sf(counts - 1).min()))
    if least >= 1:  # no tail is smaller than one: nothing strays less
        return 1.0
    # A difference from one knows nothing below rounding; half of γ is a bound from one point alone, and that may
    # be less than floating point can hold.
    return max(_outside(least, band.n_ranks, band.points), least / 2, np.finfo(float).tiny)


def _limits(gamma: float, n: int, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The smallest and largest counts with P(C ≤ c) and P(C ≥ c) above γ/2."""
    tail = 0.5 * gamma * (1 + _CLOSE)
    lower = stats.binom.ppf(tail, n, points).astype(int)
    upper = n - stats.binom.ppf(tail, n, 1 - points).astype(int)
    return lower, upper


def _outside(gamma: float, n: int, points: np.ndarray) -> float:
    """The probability that some count of n uniform ranks has a two-sided tail of at most γ."""
    lower, upper = _limits(gamma, n, points)
    if (lower > upper).any():
        return 1.0
    # Densities of a Poisson process of n events at all points so far, of which none was outside.
    density, first = np.ones(1), 0
    rates = n * np.diff(points, prepend=0.0)
    for rate, low, high in zip(rates, lower, upper, strict=True):
        low = max(low, first)
        steps = stats.poisson.pmf(np.arange(high - first + 1), rate)
        density = np.convolve(density, steps)[low - first : high - first + 1]
        first = low
    rest = n - first - np.arange(len(density))
    inside = density @ stats.poisson.pmf(rest, n * (1 - points[-1])) / stats.poisson.pmf(n, n)
    return float(max(0.0, 1 - inside))

"""Statistics of several chains that ArviZ has not, or not yet.

Imports NumPy, SciPy and ArviZ only.
"""

import math
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from pyrogeo.sampling.draws import az

__all__ = ["between_run_ess", "can_speak", "gap", "nested_r_hat", "number", "p_values", "widths"]

_MIN_ESS = 10  # of a typical chain, for its mean to be compared with another's


def number(function: Any, x: np.ndarray) -> float:
    """What an ArviZ function makes of a series `(chain, draw)`; NaN where nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(function(x.astype(float))) if np.ptp(x) > 0 else math.nan


def nested_r_hat(x: np.ndarray, groups: int | np.ndarray) -> float:
    """Rank-normalised split nested R-hat of groups of chains, x of shape `(chain, draw)`.

    √(1 + B/W): B the variance of the groups' means, W the mean over groups of the variance between
    and within the chains of a group. Many short chains pass as soon as they forgot their starts.

    Args:
        x: shape `(chain, draw)`.
        groups: a number for each chain, the same within a group; or how many consecutive groups of one size.

    Returns:
        NaN where there is but one group.

    Source: Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman, *Nested R-hat*, 2024.
    """
    if isinstance(groups, int):
        groups = np.repeat(np.arange(groups), len(x) // groups)
    half = x.shape[1] // 2
    halves = np.concatenate([x[:, :half], x[:, -half:]])
    ids = np.tile(groups, 2)
    folded = np.abs(halves - np.median(halves))
    return max(_nested(rank_normal(halves), ids), _nested(rank_normal(folded), ids))


def _nested(x: np.ndarray, ids: np.ndarray) -> float:
    groups = [x[ids == i] for i in np.unique(ids)]
    if len(groups) < 2:
        return math.nan
    means = [group.mean(1) for group in groups]
    within = np.mean(
        [g.var(1, ddof=1).mean() + m.var(ddof=1) for g, m in zip(groups, means, strict=True)]
    )
    return math.sqrt(1 + np.var([m.mean() for m in means], ddof=1) / within)


def p_values(x: np.ndarray, ids: np.ndarray) -> tuple[float, float]:
    """P-values that groups of chains agree in location, and in spread (folded ranks)."""
    if len(set(ids)) < 2 or np.ptp(x) == 0:
        return 1.0, 1.0
    ranks = rank_normal(x)
    folded = rank_normal(np.abs(x - np.median(x)))
    if len(set(ids)) == len(x):
        return _welch(ranks), _welch(folded)
    return _anova(ranks, ids), _anova(folded, ids)


def can_speak(ess: float, ids: np.ndarray, alpha: float) -> bool:
    """Whether `p_values` would be below α for chains that sit apart, half against half.

    On ranks two halves that nowhere overlap are as far apart as can be: their means at ±√(2/π), the variance
    within 1 − 2/π. Where the test does not reject even these, its silence says nothing.

    Args:
        ess: independent draws that each chain is worth.
        ids: of the groups, shape `(chain,)`.
        alpha: level of the test of one quantity.

    >>> [can_speak(ess, np.arange(4), 1e-5) for ess in (6, 18, 30)]
    [False, False, True]
    """
    chains, groups = len(ids), len(set(ids))
    if groups < 2:
        return False
    between, within = 2 / math.pi, 1 - 2 / math.pi
    if groups < chains:
        f = max(ess, 1.0) * chains * between / (groups - 1) / within
        return bool(stats.f.sf(f, groups - 1, chains - groups) < alpha)
    if not ess >= _MIN_ESS:
        return False
    spread = ess * chains * between / (chains - 1) / within
    slack = chains * (1 - 1 / chains) ** 2 / (ess / 4 - 1)
    return _f_tail(spread, slack, chains) < alpha


def rank_normal(x: np.ndarray) -> np.ndarray:
    ranks = stats.rankdata(x).reshape(x.shape)
    normal: np.ndarray = stats.norm.ppf((ranks - 0.375) / (x.size + 0.25))
    return normal


def _welch(x: np.ndarray) -> float:
    """P-value of Welch's test that chains with autocorrelation have equal means."""
    x = x[np.ptp(x, axis=1) > 0]
    if len(x) < 2:
        return 1.0
    # One chain's effective sample size is itself uncertain, and too large where the chain is shorter
    # than its memory. The median over the chains stands for all, and a quarter of it is what it is
    # worth in degrees of freedom; below ten nothing is said. With these, chains of one law do not
    # disagree even when much too short.
    ess = np.median([number(partial(az.ess, method="mean"), chain[None]) for chain in x])
    if not ess >= _MIN_ESS:
        return 1.0
    chains, freedom = len(x), ess / 4 - 1
    weights = ess / x.var(axis=1, ddof=1)
    share = weights / weights.sum()
    spread = (weights * (x.mean(1) - share @ x.mean(1)) ** 2).sum() / (chains - 1)
    slack = ((1 - share) ** 2).sum() / freedom
    return _f_tail(spread, slack, chains)


def _f_tail(spread: float, slack: float, chains: int) -> float:
    """Welch's p-value of the weighted spread of the chains' means."""
    f = spread / (1 + 2 * (chains - 2) / (chains**2 - 1) * slack)
    return float(stats.f.sf(f, chains - 1, (chains**2 - 1) / (3 * slack)))


def _anova(x: np.ndarray, ids: np.ndarray) -> float:
    """P-value that groups of independent chains have equal means: the chains are what is counted."""
    means = x.mean(1)
    return float(stats.f_oneway(*[means[ids == i] for i in np.unique(ids)]).pvalue)


def gap(x: np.ndarray, by_median: bool = False) -> float:
    """The largest distance between two chains' means, in units of their own standard deviation.

    By median: between their medians, in units of 1.48 times the median distance from it.
    """
    centre, width = x.mean(1), x.std(axis=1)
    if by_median:
        centre = np.median(x, axis=1)
        width = 1.4826 * np.median(np.abs(x - centre[:, None]), axis=1)
    within = np.sqrt((width[:, None] ** 2 + width**2) / 2)
    apart = np.abs(centre[:, None] - centre)
    return float((apart / np.where(within > 0, within, np.inf)).max())


def widths(x: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """The width of each group of chains: the median distance from the median of all, shape `(groups,)`."""
    away = np.abs(x - np.median(x))
    return np.array([np.median(away[ids == i]) for i in np.unique(ids)])


def between_run_ess(x: np.ndarray) -> float:
    """Independent draws that all runs together are worth, from the spread of the runs' means."""
    if len(x) < 2 or np.ptp(x) == 0:
        return math.nan
    worth = x.var(axis=1, ddof=1).mean() / x.mean(1).var(ddof=1)
    return float(min(worth * len(x), x.size))

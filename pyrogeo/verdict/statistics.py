"""Statistics of several chains that ArviZ has not, or not yet.

Imports NumPy, SciPy and ArviZ only.
"""

import math
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from pyrogeo.sampling.draws import az

__all__ = ["between_run_ess", "gap", "nested_r_hat", "number", "p_value"]

_MIN_ESS = 10  # of a typical chain, for its mean to be compared with another's


def number(function: Any, x: np.ndarray) -> float:
    """What an ArviZ function makes of a series `(chain, draw)`; NaN where nothing varies."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return float(function(x.astype(float))) if np.ptp(x) > 0 else math.nan


def nested_r_hat(x: np.ndarray, superchains: int) -> float:
    """Rank-normalised split nested R-hat of consecutive groups of chains, x of shape `(chain, draw)`.

    √(1 + B/W): B the variance of the groups' means, W the mean over groups of the variance between
    and within the chains of a group. Many short chains pass as soon as they forgot their starts.

    Source: Margossian, Hoffman, Sountsov, Riou-Durand, Vehtari, Gelman, *Nested R-hat*, 2024.
    """
    half = x.shape[1] // 2
    halves = np.concatenate([x[:, :half], x[:, -half:]])
    ids = np.tile(np.repeat(np.arange(superchains), len(x) // superchains), 2)
    folded = np.abs(halves - np.median(halves))
    return max(_nested(rank_normal(halves), ids), _nested(rank_normal(folded), ids))


def _nested(x: np.ndarray, ids: np.ndarray) -> float:
    groups = x[np.argsort(ids, kind="stable")].reshape(ids.max() + 1, -1, x.shape[1])
    means = groups.mean(2)
    within = groups.var(axis=2, ddof=1).mean(1) + means.var(axis=1, ddof=1)
    return math.sqrt(1 + means.mean(1).var(ddof=1) / within.mean())


def p_value(x: np.ndarray, groups: int) -> float:
    """The smaller p-value of the location and the spread (folded ranks), times two."""
    if len(x) < 2 or np.ptp(x) == 0:
        return 1.0
    ranks = rank_normal(x)
    folded = rank_normal(np.abs(x - np.median(x)))
    test = _welch if groups == len(x) else partial(_anova, groups=groups)
    return min(1.0, 2 * min(test(ranks), test(folded)))


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
    f = spread / (1 + 2 * (chains - 2) / (chains**2 - 1) * slack)
    return float(stats.f.sf(f, chains - 1, (chains**2 - 1) / (3 * slack)))


def _anova(x: np.ndarray, groups: int) -> float:
    """P-value that groups of independent chains have equal means: the chains are what is counted."""
    return float(stats.f_oneway(*x.mean(1).reshape(groups, -1)).pvalue)


def gap(x: np.ndarray) -> float:
    """The largest distance between two chains' means, in units of their own standard deviation."""
    mean, variance = x.mean(1), x.var(axis=1)
    within = np.sqrt((variance[:, None] + variance) / 2)
    apart = np.abs(mean[:, None] - mean)
    return float((apart / np.where(within > 0, within, np.inf)).max())


def between_run_ess(x: np.ndarray) -> float:
    """Independent draws that all runs together are worth, from the spread of the runs' means."""
    if len(x) < 2 or np.ptp(x) == 0:
        return math.nan
    worth = x.var(axis=1, ddof=1).mean() / x.mean(1).var(ddof=1)
    return float(min(worth * len(x), x.size))

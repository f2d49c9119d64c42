"""A verdict on chains: do they agree, and are there enough draws?

R-hat above 1.01 has two causes. Chains in separate modes disagree, and no number of draws helps;
chains that are merely short and correlated have means that differ by chance. Welch's analysis of
variance on the chains' means, with effective sample sizes in place of counts, tells them apart: it
asks whether the means differ by more than each chain's own correlated noise explains.

Imports NumPy, SciPy, pandas and ArviZ only.

Source: Vehtari, Gelman, Simpson, Carpenter, Bürkner, *Rank-normalization, folding, and
localization: an improved R-hat*, 2021; Welch, *On the comparison of several mean values*, 1951;
Betancourt, *A conceptual introduction to Hamiltonian Monte Carlo*, 2017 (E-BFMI).
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from pyrogeo.sampling.draws import az, group_arrays, latent_points
from pyrogeo.sampling.methods import record_of
from pyrogeo.verdict.integrator import diverging, low_energy, named_chains, saturated
from pyrogeo.verdict.statistics import (
    between_run_ess,
    gap,
    nested_r_hat,
    number,
    p_value,
)

__all__ = ["Diagnosis", "diagnose", "series"]

R_HAT = 1.01
ESS = 400
ALPHA = 1e-4  # of calling agreeing chains in disagreement, over all quantities together
_MIN_DRAWS = 4


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        verdict: `"pass"`; `"too short"`: nothing speaks against the chains, but there is too little
            of them; `"disagree"`: they contradict each other or the integrator broke down, and more
            draws would not help.
        table: a row for each coordinate and the log-density: mean, sd, mcse_mean (Monte Carlo
            standard error of the mean), ess_bulk, ess_tail, r_hat.
        reasons: what was found, in words, with a remedy.
    """

    verdict: str
    table: pd.DataFrame
    reasons: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the verdict is `"pass"`."""
        return self.verdict == "pass"

    def __str__(self) -> str:
        formats = {"mean": "{:.3g}", "sd": "{:.3g}", "mcse_mean": "{:.2g}"}
        formats |= {"ess_bulk": "{:.0f}", "ess_tail": "{:.0f}", "r_hat": "{:.3f}"}
        formats |= {"ess_between": "{:.0f}"}
        shown = self.table.apply(lambda column: column.map(formats[column.name].format))
        reasons = "\n".join(f"- {reason}" for reason in self.reasons)
        return f"{shown.to_string()}\n\nverdict: {self.verdict}\n{reasons}"


def diagnose(
    draws: Any,
    superchains: int | None = None,
    density: Any = None,
    variable: str | None = None,
) -> Diagnosis:
    """Judges the chains of ArviZ data.

    Rank-normalised split R-hat must be at most 1.01, bulk and tail effective sample sizes at least
    400, E-BFMI at least 0.3, and no transition may diverge. Chains of one law are said to disagree
    in fewer than 4 of 1,000 cases (tested on independent and on autoregressive chains).

    Args:
        draws: `arviz.InferenceData` or `xarray.DataTree` with a `posterior` group, and
            `sample_stats` if there are any (`lp`, `energy`, `diverging`, `tree_depth`).
        superchains: groups of consecutive chains that started at one point; by default those that
            `sample` noted. R-hat is then the nested one, made for many short chains, and chains'
            means are compared between groups.
        density: the `RiemannianUniform` that was drawn from, if it has exact draws. They then show
            modes that every chain missed, which no comparison among chains can, and the reasons tell
            how many centroids hold the mass and how much of it is vacuum.
        variable: what the latent points are called in the posterior group, for `density`; by default `z`, or
            the only one of shape `(chain, draw, d)`. All variables are judged.

    Returns:
        verdict, table and reasons; `print` it.

    Raises:
        ValueError: without a posterior, with fewer than 4 draws, with NaN or infinite draws, or with a density
            and no points of its dimension.

    >>> from pyrogeo.sampling.draws import to_arviz
    >>> z = np.random.default_rng(0).normal(size=(4, 500, 1))
    >>> diagnose(to_arviz({"z": z}, {})).verdict
    'pass'
    >>> diagnose(to_arviz({"z": z + 5 * np.arange(4).reshape(4, 1, 1)}, {})).verdict
    'disagree'
    """
    points = _points(draws, density, variable)
    if record_of(draws).name == "exact":
        return _diagnose_runs(draws, density, points)
    quantities, table = series(draws, superchains)
    groups = _superchains(draws, superchains, quantities)
    sample_stats = group_arrays(draws, "sample_stats")
    missed, visits = _visited(points, table["ess_bulk"], density)
    failures = [
        *missed,
        *_stuck(quantities),
        *_separated(quantities, table, groups),
        *diverging(sample_stats),
    ]
    shortages = [*_too_short(quantities, table), *low_energy(sample_stats)]
    notes = [
        *visits,
        *filter(None, [record_of(draws).note]),
        *saturated(draws, sample_stats),
        *_incomplete(draws),
    ]
    verdict = "disagree" if failures else "too short" if shortages else "pass"
    if failures:  # how many draws are missing is beside the point then
        shortages = list(low_energy(sample_stats))
    if verdict == "pass":
        worst = table[["ess_bulk", "ess_tail"]].min().min()
        notes.insert(
            0,
            f"R-hat is at most {table['r_hat'].max():.3f} and the effective sample size at least "
            f"{worst:.0f}: the chains agree, as far as they have seen the density.",
        )
    return Diagnosis(verdict, table, (*failures, *shortages, *notes))


def series(
    draws: Any, superchains: int | None = None
) -> tuple[dict[str, np.ndarray], pd.DataFrame]:
    """Each scalar quantity as an array `(chain, draw)`, and its row of `Diagnosis.table`.

    Raises:
        ValueError: as `diagnose` does.
    """
    posterior, sample_stats = group_arrays(draws, "posterior"), group_arrays(draws, "sample_stats")
    quantities = dict(_quantities(posterior, sample_stats))
    _check(quantities)
    groups = _superchains(draws, superchains, quantities)
    return quantities, pd.DataFrame({name: _row(x, groups) for name, x in quantities.items()}).T


def _superchains(draws: Any, wanted: int | None, quantities: dict[str, np.ndarray]) -> int:
    """The number of groups; as many as chains where there are none."""
    chains = len(next(iter(quantities.values())))
    groups = wanted or int(draws["posterior"].attrs.get("superchains", chains))
    if (groups < 2 and chains > 1) or chains % groups:
        raise ValueError(f"{groups} superchains do not divide {chains} chains in groups to compare")
    return groups


def _quantities(
    posterior: dict[str, np.ndarray], sample_stats: dict[str, np.ndarray]
) -> Iterator[tuple[str, np.ndarray]]:
    """Scalar series `(chain, draw)` by name: each coordinate, then the log-density."""
    for name, values in posterior.items():
        if values.dtype.kind not in "biuf":
            raise ValueError(f"{name}: expected real numbers, got {values.dtype}")
        values = values.astype(float)
        if values.ndim == 2:
            yield name, values
        for index in np.ndindex(values.shape[2:]) if values.ndim > 2 else ():
            yield f"{name}[{', '.join(map(str, index))}]", values[(..., *index)]
    if "lp" in sample_stats and "lp" not in posterior and sample_stats["lp"].ndim == 2:
        yield "lp", sample_stats["lp"].astype(float)


def _check(quantities: dict[str, np.ndarray]) -> None:
    if not quantities or list(quantities) == ["lp"]:
        raise ValueError("expected ArviZ data with a posterior group, got none")
    draws = next(iter(quantities.values())).shape[1]
    if draws < _MIN_DRAWS:
        raise ValueError(f"expected at least {_MIN_DRAWS} draws of each chain, got {draws}")
    for name, x in quantities.items():
        if not np.isfinite(x).all():
            raise ValueError(f"{name} has NaN or infinite draws; expected finite numbers")


def _row(x: np.ndarray, groups: int) -> dict[str, float]:
    r_hat_of = partial(az.rhat, method="rank")
    if groups < len(x):
        r_hat_of = partial(nested_r_hat, superchains=groups)
    mcse, bulk, tail, r_hat = (
        number(function, x)
        for function in (
            partial(az.mcse, method="mean"),
            partial(az.ess, method="bulk"),
            partial(az.ess, method="tail", prob=(0.05, 0.95)),
            r_hat_of,
        )
    )
    return {
        "mean": float(x.mean()),
        "sd": float(x.std(ddof=1)),
        "mcse_mean": mcse,
        "ess_bulk": bulk,
        "ess_tail": tail,
        "r_hat": r_hat if len(x) > 1 else math.nan,
    }


def _diagnose_runs(draws: Any, density: Any, points: np.ndarray | None) -> Diagnosis:
    """The verdict on independent runs, within which draws are not independent."""
    quantities, table = series(draws)
    runs = len(next(iter(quantities.values())))
    table["ess_between"] = [between_run_ess(x) for x in quantities.values()]
    # R-hat of runs whose means differ by chance is √(1 + 1/(draws each is worth)): no test is needed.
    volumes = np.array(draws["posterior"].attrs["log_volume"], float)
    spread = volumes.std(ddof=1) if runs > 1 else math.nan
    worst, name = (table["ess_between"].min(), table["ess_between"].fillna(0).idxmin())
    if runs < 2:
        verdict, reason = "too short", "One run cannot disagree with itself: take at least two."
    elif table["r_hat"].max() > R_HAT or worst < ESS:
        verdict = "too short"
        reason = (
            f"The runs differ: the effective sample size between runs of {name} is {worst:.0f} (at least {ESS} are wanted), "
            f"R-hat is up to {table['r_hat'].max():.3f}. Take larger runs."
        )
    else:
        verdict = "pass"
        reason = (
            f"R-hat between runs is at most {table['r_hat'].max():.3f}, the effective sample size between "
            f"runs at least {worst:.0f} (of {name}), the log-volume {volumes.mean():.3f} with a spread of "
            f"{spread:.2g} between runs."
        )
    missed, visits = _visited(points, table["ess_between"], density)
    verdict = "disagree" if missed else verdict
    return Diagnosis(verdict, table, (*missed, reason, *visits, *_incomplete(draws)))


def _stuck(quantities: dict[str, np.ndarray]) -> Iterator[str]:
    moved = {name: np.ptp(x, axis=1) > 0 for name, x in quantities.items()}
    still = ~np.any(list(moved.values()), axis=0)
    frozen = [n for n, m in moved.items() if not m.any() and np.ptp(quantities[n]) > 0]
    if frozen and not still.all():
        yield f"{frozen[0]} is constant within every chain, at different values: the chains disagree."
    elif still.any():
        yield (
            f"{named_chains(still)} never moved: every draw is the same point. Take a smaller step size, "
            "or longer warm-up."
        )


def _separated(
    quantities: dict[str, np.ndarray], table: pd.DataFrame, groups: int
) -> Iterator[str]:
    p_values = {name: p_value(x, groups) for name, x in quantities.items()}
    apart = {
        name: gap(quantities[name])
        for name, p in p_values.items()
        if p < ALPHA / len(p_values) and table.loc[name, "r_hat"] > R_HAT
    }
    if not apart:
        return
    name = max(apart, key=apart.__getitem__)
    kind = "sit in separate modes" if apart[name] > 2 else "have not reached the same law"
    yield (
        f"The chains {kind}: their means of {name} lie up to {apart[name]:.1f} within-chain "
        f"standard deviations apart (R-hat {table.loc[name, 'r_hat']:.2f}), more than their own "
        f"correlation explains, and so for {len(apart)} of {len(p_values)} quantities. Longer "
        "chains are unlikely to cross; draw exactly with RiemannianUniform.sample, or report the modes "
        "separately."
    )


def _too_short(quantities: dict[str, np.ndarray], table: pd.DataFrame) -> Iterator[str]:
    chains, draws = next(iter(quantities.values())).shape
    if chains < 2:
        yield "One chain cannot disagree with itself: run at least two, better four."
    least = table[["ess_bulk", "ess_tail"]].min(axis=1)
    r_hat = table["r_hat"].max()
    # R-hat² − 1 falls as one over the number of draws, the effective sample size grows with it.
    factor = max(ESS / max(least.min(), 1.0), (r_hat**2 - 1) / (R_HAT**2 - 1) if r_hat > 1 else 0)
    if not factor > 1:
        return
    more = _round_up((factor - 1) * draws)
    what = []
    if least.min() < ESS:
        what.append(
            f"the effective sample size of {least.idxmin()} is {least.min():.0f}, below {ESS}"
        )
    if r_hat > R_HAT:
        what.append(f"R-hat of {table['r_hat'].idxmax()} is {r_hat:.3f}, above {R_HAT}")
    yield (
        f"Too few draws: {' and '.join(what)}. Draw about {more:,} more of each chain, or use a "
        "kernel that moves further."
    )


def _round_up(n: float) -> int:
    unit = int(10 ** max(0, math.floor(math.log10(max(n, 1))) - 1))
    return math.ceil(n / unit) * unit


def _points(draws: Any, density: Any, variable: str | None) -> np.ndarray | None:
    """The latent points to hold against a density, if there is one."""
    if density is None:
        return None
    (dimension,) = density.event_shape
    return latent_points(draws, dimension, variable)


def _visited(
    points: np.ndarray | None, ess: pd.Series, density: Any
) -> tuple[list[str], list[str]]:
    """What exact draws show: failures, and notes."""
    if points is None:
        return [], []
    from pyrogeo.verdict.occupancy import visited  # it needs torch, this module does not

    return visited(density, points, np.nanmin(ess))


def _incomplete(draws: Any) -> Iterator[str]:
    if draws["posterior"].attrs.get("incomplete"):
        yield "Sampling was interrupted; these are the draws so far."

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

from pyrogeo.sampling.draws import az, group_arrays, is_incomplete, latent_points
from pyrogeo.sampling.methods import record_of
from pyrogeo.verdict.agreement import copies, never_moved, separated, stuck
from pyrogeo.verdict.groups import group_ids
from pyrogeo.verdict.integrator import diverging, low_energy, saturated, unknown_energy
from pyrogeo.verdict.length import alone, too_short
from pyrogeo.verdict.moments import heavy_tail
from pyrogeo.verdict.runs import judged_runs
from pyrogeo.verdict.statistics import between_run_ess, nested_r_hat, number

__all__ = ["Diagnosis", "diagnose", "series"]

_MIN_DRAWS = 4


@dataclass(frozen=True)
class Diagnosis:
    """What `diagnose` found.

    Attributes:
        verdict: `"pass"`; `"too short"`: nothing speaks against the chains, but there is too little
            of them; `"cannot tell"`: nothing could speak, because there is too little for the test, a
            coordinate never moved, or exact draws are in doubt; `"disagree"`: they contradict each other or
            the integrator broke down.
        table: a row for each coordinate and the log-density: mean, sd, mcse_mean (Monte Carlo
            standard error of the mean), ess_bulk, ess_tail, r_hat. Where a tail is too heavy for a variance,
            mean, sd and mcse_mean are NaN, and there are columns median and mcse_median.
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
        formats |= {"ess_between": "{:.0f}", "median": "{:.3g}", "mcse_median": "{:.2g}"}
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
        superchains: so many groups of consecutive chains that started at one point; by default those that
            `sample` noted, which stay with their chains in `sel` and `arviz.concat`. R-hat is then the nested one, made for many short chains, and chains'
            means are compared between groups.
        density: the `RiemannianUniform` that was drawn from, if it has exact draws. They then show
            modes that every chain missed, which no comparison among chains can, and the reasons tell
            how many centroids hold the mass and how much of it is vacuum. Where they are in doubt themselves
            (`RiemannianUniform.overlap`), nothing is compared with them, and the reasons say so.
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
    quantities, table = series(draws, superchains)
    if record_of(draws).name == "exact":
        return _diagnose_runs(draws, density, points, quantities, table)
    ids = group_ids(draws, superchains, len(next(iter(quantities.values()))))
    sample_stats = group_arrays(draws, "sample_stats")
    missed, visits = _visited(points, table["ess_bulk"], density)
    failures = [
        *missed,
        *copies(quantities),
        *stuck(quantities),
        *separated(draws, quantities, table, ids),
        *diverging(sample_stats),
    ]
    silent, short = too_short(quantities, table, ids)
    doubts = [*never_moved(quantities), *alone(ids), *silent]
    energy = list(low_energy(sample_stats))
    notes = [
        *_doubted(density),
        *visits,
        *filter(None, [record_of(draws).note]),
        *_heavy(table),
        *saturated(draws, sample_stats),
        *unknown_energy(sample_stats),
        *_incomplete(draws),
    ]
    if failures:  # how many draws are missing is beside the point then
        return Diagnosis("disagree", table, (*failures, *never_moved(quantities), *energy, *notes))
    if not (doubts or short or energy):
        return Diagnosis("pass", table, (_agreement(table), *notes))
    verdict = "cannot tell" if doubts else "too short"
    return Diagnosis(verdict, table, (*doubts, *short, *energy, *notes))


def _agreement(table: pd.DataFrame) -> str:
    return (
        f"R-hat is at most {table['r_hat'].max():.3f} and the effective sample size at least "
        f"{table[['ess_bulk', 'ess_tail']].min().min():.0f}: the chains agree, as far as they have seen the "
        "density."
    )


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
    ids = group_ids(draws, superchains, len(next(iter(quantities.values()))))
    table = pd.DataFrame({name: _row(x, ids) for name, x in quantities.items()}).T
    return quantities, _without_moments(quantities, table)


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


def _row(x: np.ndarray, ids: np.ndarray) -> dict[str, float]:
    r_hat_of: Any = partial(az.rhat, method="rank") if len(x) > 1 else lambda _: math.nan
    if len(set(ids)) < len(x):
        r_hat_of = partial(nested_r_hat, groups=ids)
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
        "r_hat": r_hat,
    }


def _without_moments(quantities: dict[str, np.ndarray], table: pd.DataFrame) -> pd.DataFrame:
    """Medians in the place of means, where a tail is too heavy for a mean with an error."""
    index = {name: heavy_tail(x, table.loc[name, "ess_tail"]) for name, x in quantities.items()}
    heavy = [name for name, k in index.items() if not math.isnan(k)]
    if not heavy:
        return table
    table.loc[heavy, ["mean", "sd", "mcse_mean"]] = math.nan
    table["median"] = [float(np.median(x)) for x in quantities.values()]
    median = partial(az.mcse, method="median")
    table["mcse_median"] = [number(median, x) for x in quantities.values()]
    table.attrs["heavy"] = {name: index[name] for name in heavy}
    return table


def _heavy(table: pd.DataFrame) -> Iterator[str]:
    heavy = table.attrs.get("heavy", {})
    if heavy:
        name = max(heavy, key=heavy.__getitem__)
        yield (
            f"{', '.join(heavy)}: tails too heavy for a variance (index {heavy[name]:.2f} of {name}; variances end at "
            "0.5, means at 1), so no mean or error of one is given; medians are compared."
        )


def _diagnose_runs(
    draws: Any,
    density: Any,
    points: np.ndarray | None,
    quantities: dict[str, np.ndarray],
    table: pd.DataFrame,
) -> Diagnosis:
    """The verdict on independent runs, within which draws are not independent."""
    table["ess_between"] = [between_run_ess(x) for x in quantities.values()]
    verdict, reasons = judged_runs(draws, len(next(iter(quantities.values()))), table)
    missed, visits = _visited(points, table["ess_between"], density, exact=True)
    failures = [*missed, *copies(quantities)]
    doubts = [*never_moved(quantities), *_doubted(density)]
    verdict = "disagree" if failures else "cannot tell" if doubts else verdict
    notes = [*visits, *_heavy(table), *_incomplete(draws)]
    return Diagnosis(verdict, table, (*failures, *doubts, *reasons, *notes))


def _points(draws: Any, density: Any, variable: str | None) -> np.ndarray | None:
    """The latent points to hold against a density, if there is one."""
    if density is None:
        return None
    (dimension,) = density.event_shape
    return latent_points(draws, dimension, variable)


def _visited(
    points: np.ndarray | None, ess: pd.Series, density: Any, exact: bool = False
) -> tuple[list[str], list[str]]:
    """What exact draws show: failures, and notes."""
    if points is None:
        return [], []
    from pyrogeo.verdict.occupancy import visited  # it needs torch, this module does not

    return visited(density, points, np.nanmin(ess), exact)


def _doubted(density: Any) -> Iterator[str]:
    if density is None:
        return
    from pyrogeo.verdict.occupancy import doubt_of  # it needs torch, this module does not

    yield from filter(None, [doubt_of(density)])


def _incomplete(draws: Any) -> Iterator[str]:
    if is_incomplete(draws):
        yield "Sampling was interrupted; these are the draws so far."

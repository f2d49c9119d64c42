"""How much of chains there is: whether it is enough, and whether it is enough to tell.

Imports NumPy, SciPy, pandas and ArviZ only.
"""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from pyrogeo.verdict.agreement import ALPHA, R_HAT, Quantities
from pyrogeo.verdict.statistics import can_speak

__all__ = ["ESS", "alone", "could_speak", "too_short"]

ESS = 400


def alone(ids: np.ndarray) -> Iterator[str]:
    """Chains that nothing can be compared with."""
    if len(ids) < 2:
        yield "One chain cannot disagree with itself: run at least two, better four."
    elif len(set(ids)) < 2:
        yield "All chains started at one point, so they cannot show that they forgot it: take other starts too."


def could_speak(table: pd.DataFrame, ids: np.ndarray) -> bool:
    """Whether chains of this size that sit apart would be seen to, of `Diagnosis.table` and groups."""
    return can_speak(_each(table, ids), ids, ALPHA / len(table) / 2)


def _each(table: pd.DataFrame, ids: np.ndarray) -> float:
    """Effective draws of each chain."""
    least: float = table["ess_bulk"].replace([np.inf, -np.inf], np.nan).min()
    return least / len(ids)


def too_short(
    quantities: Quantities, table: pd.DataFrame, ids: np.ndarray
) -> tuple[list[str], list[str]]:
    """Reasons by which one cannot tell, and reasons by which there is merely too little; of one kind only."""
    draws = next(iter(quantities.values())).shape[1]
    moving = table.replace([np.inf, -np.inf], np.nan).loc[
        [np.ptp(x) > 0 for x in quantities.values()]
    ]
    least = moving[["ess_bulk", "ess_tail"]].min(axis=1).dropna()
    if least.empty:
        return [], []
    r_hat = moving["r_hat"].max()
    # R-hat² − 1 falls as one over the number of draws, the effective sample size grows with it.
    factor = max(ESS / max(least.min(), 1.0), (r_hat**2 - 1) / (R_HAT**2 - 1) if r_hat > 1 else 0)
    if not factor > 1:
        return [], []
    what = []
    if least.min() < ESS:
        what.append(
            f"the effective sample size of {least.idxmin()} is {least.min():.0f}, below {ESS}"
        )
    if r_hat > R_HAT:
        what.append(f"R-hat of {moving['r_hat'].idxmax()} is {r_hat:.3f}, above {R_HAT}")
    more = _round_up((factor - 1) * draws)
    remedy = f"Draw about {more:,} more of each chain, or use a kernel that moves further."
    if len(set(ids)) < 2 or could_speak(table, ids):
        return [], [f"Too few draws: {' and '.join(what)}. {remedy}"]
    return [
        f"Too few draws to tell: {' and '.join(what)}. With {_each(table, ids):.0f} effective draws of each chain, the test "
        f"would not see even chains in separate modes. {remedy}"
    ], []


def _round_up(n: float) -> int:
    unit = int(10 ** max(0, math.floor(math.log10(max(n, 1))) - 1))
    return math.ceil(n / unit) * unit

"""The verdict on independent runs, within which draws are not independent.

Imports NumPy, pandas and ArviZ only.
"""

from typing import Any

import numpy as np
import pandas as pd

from pyrogeo.sampling.draws import facts_of_chains
from pyrogeo.sampling.methods.record import attributes
from pyrogeo.verdict.agreement import R_HAT
from pyrogeo.verdict.integrator import named_chains
from pyrogeo.verdict.length import ESS

__all__ = ["judged_runs"]


def judged_runs(draws: Any, runs: int, table: pd.DataFrame) -> tuple[str, list[str]]:
    """A verdict on exact draws and its reasons; `table` has `ess_between`."""
    facts = facts_of_chains(draws)
    # R-hat of runs whose means differ by chance is √(1 + 1/(draws each is worth)): no test is needed.
    worst, name = (table["ess_between"].min(), table["ess_between"].fillna(0).idxmin())
    if runs < 2:
        verdict, reason = "cannot tell", "One run cannot disagree with itself: take at least two."
    elif table["r_hat"].max() > R_HAT or worst < ESS:
        verdict = "too short"
        reason = (
            f"The runs differ: the effective sample size between runs of {name} is {worst:.0f} (at least {ESS} "
            f"are wanted), R-hat is up to {table['r_hat'].max():.3f}. Take larger runs."
        )
    else:
        verdict = "pass"
        reason = (
            f"R-hat between runs is at most {table['r_hat'].max():.3f}, the effective sample size between "
            f"runs at least {worst:.0f} (of {name}){_volumes(draws, facts)}."
        )
    doubted = facts.get("in_doubt")
    if doubted is None or not doubted.astype(bool).any():
        return verdict, [reason]
    doubt = (
        f"The exact draws of {named_chains(doubted.astype(bool))} are in doubt: they started from a law that "
        "misses mass of the density, which agreement between runs cannot show. Pass proposal=..., or lower the "
        "bandwidth ρ."
    )
    return "cannot tell", [doubt, reason]


def _volumes(draws: Any, facts: dict[str, np.ndarray]) -> str:
    volumes = facts.get("log_volume", attributes(draws).get("log_volume"))
    if volumes is None or np.size(volumes) < 2:
        return ""
    volumes = np.asarray(volumes, float)
    return f", the log-volume {volumes.mean():.3f} with a spread of {volumes.std(ddof=1):.2g} between runs"

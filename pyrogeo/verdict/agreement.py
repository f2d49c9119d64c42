"""What speaks against chains, in words: copies, chains that do not move, groups that differ.

Imports NumPy, SciPy, pandas and ArviZ only.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pyrogeo.sampling.draws import facts_of_chains
from pyrogeo.sampling.methods import record_of
from pyrogeo.verdict.integrator import named_chains
from pyrogeo.verdict.statistics import gap, p_values, widths

__all__ = ["ALPHA", "R_HAT", "copies", "never_moved", "separated", "stuck"]

R_HAT = 1.01
ALPHA = 1e-4  # of calling agreeing chains in disagreement, over all quantities together
_POINTS = 10  # different ones that a chain must have visited before an equal one is its copy,
_MOVES = 40  # or so many moves among fewer: two chains of a coin are not equal for so long
_FEW_VALUES = 20  # that a discrete coordinate may have

Quantities = dict[str, np.ndarray]


def copies(quantities: Quantities) -> Iterator[str]:
    """Chains that are equal draw by draw."""
    x = np.stack(list(quantities.values()), -1)
    chains: dict[bytes, list[int]] = {}
    for i, chain in enumerate(x):
        chains.setdefault(chain.tobytes(), []).append(i)
    for same in chains.values():
        if len(same) > 1 and _is_telling(x[same[0]]):
            which = named_chains(np.isin(np.arange(len(x)), same))
            yield f"{which} are copies of each other, draw by draw. Give each a seed of its own."


def _is_telling(chain: np.ndarray) -> bool:
    """Whether a chain `(draw, quantity)` moves so much that another is not equal to it by chance."""
    if len(np.unique(chain, axis=0)) >= min(_POINTS, len(chain)):
        return True
    return int((np.diff(chain, axis=0) != 0).any(axis=1).sum()) >= _MOVES


def stuck(quantities: Quantities) -> Iterator[str]:
    """Chains that never moved, and coordinates that are constant within chains but not between them."""
    moved = {name: np.ptp(x, axis=1) > 0 for name, x in quantities.items()}
    still = ~np.any(list(moved.values()), axis=0)
    if still.any() and not _is_patient(quantities, still):
        yield (
            f"{named_chains(still)} never moved: every draw is the same point. Take a smaller step size, "
            "or longer warm-up."
        )
    if still.all():
        return
    for name, m in moved.items():
        x = quantities[name]
        if not m.any() and np.ptp(x) > 0:
            yield f"{name} is constant within every chain, at different values: the chains disagree."
        elif m.any() and len(np.unique(x)) > _FEW_VALUES:
            # a value that chains which move take too is an atom of the law, where one may well sit
            frozen = ~m & ~still & ~np.isin(x[:, 0], x[m])
            if frozen.any():
                yield f"{name} never moved in {named_chains(frozen)}, and does in others."


def _is_patient(quantities: Quantities, still: np.ndarray) -> bool:
    """Whether chains that move as rarely as the others may have stood still by chance."""
    if still.all():
        return False
    steps = np.stack([np.diff(x[~still], axis=1) != 0 for x in quantities.values()])
    stays = 1 - steps.any(axis=0).mean()
    return bool(still.size * stays ** steps.shape[2] > ALPHA)


def never_moved(quantities: Quantities) -> Iterator[str]:
    """Coordinates with one value in all chains, of which nothing can be told."""
    constant = [name for name, x in quantities.items() if np.ptp(x) == 0]
    if constant and len(constant) < len(quantities):
        value = quantities[constant[0]].flat[0]
        yield (
            f"{', '.join(constant)} never moved: every draw of every chain has the same value "
            f"({constant[0]} = {value:.4g}), so whether it is right cannot be told. Start chains elsewhere, or leave "
            "out what is constant by its making."
        )


def separated(
    draws: Any, quantities: Quantities, table: pd.DataFrame, ids: np.ndarray
) -> Iterator[str]:
    """Groups of chains whose locations or spreads differ by more than their own noise explains."""
    level, places, spreads = ALPHA / len(quantities), {}, {}
    for name, x in quantities.items():
        if not table.loc[name, "r_hat"] > R_HAT:
            continue
        location, spread = p_values(x, ids)
        if 2 * location < level:
            places[name] = gap(x, _is_heavy(table, name))
        elif 2 * spread < level:
            spreads[name] = x
    if places:
        yield _of_places(places, table) + _remedy(draws)
    if spreads:
        yield _of_spreads(spreads, table, ids)


def _is_heavy(table: pd.DataFrame, name: str) -> bool:
    return "median" in table and bool(np.isnan(table.loc[name, "mean"]))


def _of_places(places: dict[str, float], table: pd.DataFrame) -> str:
    name = max(places, key=places.__getitem__)
    centre = "medians" if _is_heavy(table, name) else "means"
    kind = "sit in separate modes" if places[name] > 2 else "have not reached the same law"
    return (
        f"The chains {kind}: their {centre} of {name} lie up to {places[name]:.1f} within-chain "
        f"standard deviations apart (R-hat {table.loc[name, 'r_hat']:.2f}), more than their own "
        f"correlation explains, and so for {len(places)} of {len(table)} quantities. "
    )


def _of_spreads(spreads: Quantities, table: pd.DataFrame, ids: np.ndarray) -> str:
    found = {name: widths(x, ids) for name, x in spreads.items()}
    ratios = {name: w.max() / w.min() if w.min() > 0 else math.inf for name, w in found.items()}
    name = max(ratios, key=ratios.__getitem__)
    what = "chain" if len(found[name]) == len(ids) else "group"
    times = f"{ratios[name]:.1f} times" if math.isfinite(ratios[name]) else "many times"
    return (
        f"The chains differ in spread: in {name}, {what} {found[name].argmax()} is {times} as wide as {what} "
        f"{found[name].argmin()} (R-hat {table.loc[name, 'r_hat']:.2f}), more than their own correlation "
        f"explains, and so for {len(spreads)} of {len(table)} quantities. Some have not been where others "
        "have; draw exactly with RiemannianUniform.sample."
    )


def _remedy(draws: Any) -> str:
    """What helps chains that are apart; whether longer ones cross depends on their kernel."""
    record = record_of(draws)
    if record.independent:
        return "Independent draws of one law do not differ so: look at how they were made."
    jumps = facts_of_chains(draws).get("jumps")
    if jumps is None and record.name in ("nuts", "hmc", "batch"):
        jumps = np.array([record.name == "batch"])  # of earlier versions
    or_exact = "draw exactly with RiemannianUniform.sample, or report the modes separately."
    if jumps is None:
        return f"Unless their kernel jumps, longer chains are unlikely to cross; {or_exact}"
    if jumps.any():
        return f"Jumps are too rare to carry them across: offer more, or draw longer chains; or {or_exact}"
    return f"Longer chains are unlikely to cross; {or_exact}"

"""What the kernel's own statistics say: divergences, energies, depths of trees.

Imports NumPy and ArviZ only.

Source: Betancourt, *A conceptual introduction to Hamiltonian Monte Carlo*, 2017 (E-BFMI).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from pyrogeo.sampling.draws import facts_of_chains

__all__ = ["diverging", "low_energy", "named_chains", "saturated", "unknown_energy"]

E_BFMI = 0.3


def diverging(sample_stats: dict[str, np.ndarray]) -> Iterator[str]:
    found = sample_stats.get("diverging", np.zeros(0)).astype(bool)
    if found.any():
        yield (
            f"{found.sum()} of {found.size} transitions diverged: the integrator broke down "
            "where the density bends sharply, and draws are missing there. Take a smaller step size "
            "(target_accept_prob=0.95)."
        )


def low_energy(sample_stats: dict[str, np.ndarray]) -> Iterator[str]:
    """E-BFMI below its limit, of the chains whose energies are finite and change."""
    energy = sample_stats.get("energy")
    if energy is None:
        return
    energy, numbers = energy.astype(float), _judged(energy)
    energy = energy[numbers]
    bfmi = (np.diff(energy, axis=1) ** 2).mean(1) / energy.var(axis=1)
    if (bfmi < E_BFMI).any():
        low = np.isin(np.arange(numbers.size), np.flatnonzero(numbers)[bfmi < E_BFMI])
        yield (
            f"E-BFMI of {named_chains(low)} is {bfmi.min():.2f}, below {E_BFMI}: fresh momenta "
            "change the energy too little to explore the tails. Draw longer chains, or adapt a full "
            "mass matrix."
        )


def unknown_energy(sample_stats: dict[str, np.ndarray]) -> Iterator[str]:
    """Which chains are left out of E-BFMI."""
    energy = sample_stats.get("energy")
    if energy is not None and not _judged(energy).all():
        yield (
            f"E-BFMI is unknown for {named_chains(~_judged(energy))}: energies there are missing, infinite "
            "or never change, and the other chains are judged without."
        )


def _judged(energy: np.ndarray) -> np.ndarray:
    finite: np.ndarray = np.isfinite(energy).all(axis=1)
    with np.errstate(invalid="ignore"):
        judged: np.ndarray = finite & (np.ptp(energy, axis=1) > 0)
    return judged


def saturated(draws: Any, sample_stats: dict[str, np.ndarray]) -> Iterator[str]:
    depth = sample_stats.get("tree_depth")
    if depth is None:
        return
    largest = facts_of_chains(draws).get("max_tree_depth")
    if largest is None:  # of an earlier version
        largest = draws["sample_stats"].attrs.get("max_tree_depth")
    if largest is None:
        return
    largest = np.resize(largest, len(depth))
    reached = depth >= largest[:, None]
    if reached.any():
        yield (
            f"{reached.mean():.0%} of the transitions reached the largest tree depth, "
            f"{int(largest.max())}, and may have stopped before they turned. Raise max_tree_depth, or adapt a "
            "full mass matrix."
        )


def named_chains(which: np.ndarray) -> str:
    numbers = [str(i) for i in np.flatnonzero(which)]
    return f"chain {numbers[0]}" if len(numbers) == 1 else f"chains {', '.join(numbers)}"

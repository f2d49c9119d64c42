"""What the kernel's own statistics say: divergences, energies, depths of trees.

Imports NumPy only.

Source: Betancourt, *A conceptual introduction to Hamiltonian Monte Carlo*, 2017 (E-BFMI).
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

__all__ = ["diverging", "low_energy", "named_chains", "saturated"]

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
    energy = sample_stats.get("energy")
    if energy is None or not np.isfinite(energy).all() or not (np.ptp(energy, axis=1) > 0).all():
        return
    bfmi = (np.diff(energy, axis=1) ** 2).mean(1) / energy.var(axis=1)
    if bfmi.min() < E_BFMI:
        yield (
            f"E-BFMI of {named_chains(bfmi < E_BFMI)} is {bfmi.min():.2f}, below {E_BFMI}: fresh momenta "
            "change the energy too little to explore the tails. Draw longer chains, or adapt a full "
            "mass matrix."
        )


def saturated(draws: Any, sample_stats: dict[str, np.ndarray]) -> Iterator[str]:
    depth = sample_stats.get("tree_depth")
    largest = draws["sample_stats"].attrs.get("max_tree_depth") if depth is not None else None
    if largest is not None and (depth >= largest).any():
        yield (
            f"{(depth >= largest).mean():.0%} of the transitions reached the largest tree depth, "
            f"{int(largest)}, and may have stopped before they turned. Raise max_tree_depth, or adapt a "
            "full mass matrix."
        )


def named_chains(which: np.ndarray) -> str:
    numbers = [str(i) for i in np.flatnonzero(which)]
    return f"chain {numbers[0]}" if len(numbers) == 1 else f"chains {', '.join(numbers)}"

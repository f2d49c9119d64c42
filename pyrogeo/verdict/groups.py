"""Which chains started at one point: the groups that nested R-hat compares.

Imports NumPy only.
"""

from typing import Any

import numpy as np

from pyrogeo.sampling.draws import facts_of_chains
from pyrogeo.sampling.methods.record import attributes

__all__ = ["group_ids"]


def group_ids(draws: Any, wanted: int | None, chains: int) -> np.ndarray:
    """A number from 0 for each chain, the same for chains of one group; shape `(chain,)`.

    Args:
        draws: ArviZ data. Chains of one run and one `superchain` are a group, wherever they stand; files of
            earlier versions have an attribute `superchains` in its place, the number of equal groups.
        wanted: so many groups of consecutive chains in place of those.
        chains: how many there are.

    Raises:
        ValueError: for a number of groups that does not divide the chains, or is 1 for several.
    """
    facts = facts_of_chains(draws)
    noted = facts.get("superchain")
    if wanted is None and noted is not None and len(noted) == chains:
        keys = np.stack([facts.get("seed", np.zeros(chains)).astype(float), noted.astype(float)])
        ids: np.ndarray = np.unique(keys, axis=1, return_inverse=True)[1].reshape(-1)
        return ids
    groups = wanted or int(attributes(draws).get("superchains", chains)) if chains > 1 else 1
    if (groups < 2 and chains > 1) or chains % groups:
        raise ValueError(f"{groups} superchains do not divide {chains} chains in groups to compare")
    return np.repeat(np.arange(groups), chains // groups)

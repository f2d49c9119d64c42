"""Whether draws have moments: of a law with tails too heavy, means and their errors say nothing.

Imports NumPy only.
"""

import math

import numpy as np

from pyrogeo._tails import pareto_index

__all__ = ["heavy_tail"]

_NO_VARIANCE = 0.5
_NOISE = 1.5  # the standard error of an index of ½: (1 + k)/√M
_FEWEST = 20


def heavy_tail(x: np.ndarray, ess: float) -> float:
    """The tail index of draws whose variance does not exist, as far as they tell; NaN of others.

    The larger index of the two tails, each of the M = min(n/5, 3√n) outermost of n draws. It must exceed ½ by
    more than its noise, with M reduced by what the draws are worth in the tails.

    Args:
        x: draws of one quantity, of any shape.
        ess: independent draws that they are worth in the tails, which are correlated less than the bulk.

    >>> rng = np.random.default_rng(0)
    >>> heavy_tail(rng.normal(size=2000), 2000), heavy_tail(rng.standard_cauchy(2000), 2000) > 0.7
    (nan, True)
    """
    x = np.sort(x, axis=None)
    size = int(min(0.2 * x.size, 3 * math.sqrt(x.size)))
    if size < _FEWEST or not ess > 0:
        return math.nan
    tails = [x[-size:] - x[-size - 1], (x[size] - x[:size])[::-1]]
    tails = [tail[tail > 0] for tail in tails]
    index = max((pareto_index(t) for t in tails if len(t) >= _FEWEST), default=math.nan)
    worth = size * min(1.0, ess / x.size)
    return index if index > _NO_VARIANCE + _NOISE / math.sqrt(worth) else math.nan

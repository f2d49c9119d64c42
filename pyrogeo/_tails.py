"""How heavy a tail is: the index of the generalised Pareto law that fits its exceedances."""

import numpy as np

__all__ = ["pareto_index"]

_PRIOR_POINTS = 10  # at an index of ½, as in Pareto-smoothed importance sampling
_PRIOR_SCALE = 3
_GRID = 30


def pareto_index(exceedances: np.ndarray) -> float:
    """The tail index k of the generalised Pareto law of values beyond a threshold.

    Its density is σ⁻¹ (1 + k x/σ)^{−1/k − 1}; moments of order 1/k and above do not exist: no variance from
    k = 0.5 on, no mean from 1 on. Weights with k above 0.7 cannot be averaged with sizes that are in use.

    Args:
        exceedances: how far values lie beyond the threshold, shape `(n,)`, in any order, not negative.

    Returns:
        k, drawn a little towards ½; −∞ where fewer than five exceedances are positive.

    Source: Zhang and Stephens, *A new and efficient estimation method for the generalized Pareto
    distribution*, 2009; the prior by Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance
    sampling*, 2024.

    >>> uniform = (np.arange(1000) + 0.5) / 1000
    >>> round(pareto_index(uniform**-0.8 - 1), 1)  # a Pareto tail by its quantiles
    0.8
    """
    x = np.sort(np.asarray(exceedances, dtype=np.float64))
    x = x[x > 0]
    n = len(x)
    if n < 5:
        return -np.inf
    m = _GRID + int(n**0.5)
    steps = 1 - np.sqrt(m / (np.arange(1, m + 1) - 0.5))
    b = steps / (_PRIOR_SCALE * x[int(n / 4 + 0.5) - 1]) + 1 / x[-1]
    k = np.log1p(-b[:, None] * x).mean(1)
    profile = n * (np.log(-b / k) - k - 1)
    weights = np.exp(profile - profile.max())
    weights[weights < 10 * np.finfo(float).eps * weights.sum()] = 0
    best = float((b * weights).sum() / weights.sum())
    index = float(np.log1p(-best * x).mean())
    return (n * index + 0.5 * _PRIOR_POINTS) / (n + _PRIOR_POINTS)

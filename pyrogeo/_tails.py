"""How heavy a tail is: the shape of the generalised Pareto law of what lies beyond a threshold.

With index k, moments of order below 1/k exist: a variance for k < ½, a mean for k < 1. A normal law's tail
has k = 0, Student's t with ν degrees of freedom 1/ν, Cauchy's 1.

Imports NumPy only.

Source: Zhang, Stephens, *A new and efficient estimation method for the generalized Pareto distribution*,
2009; Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, 2024 (the prior on k).
"""

import numpy as np

__all__ = ["pareto_index"]

_PRIOR_SCALE = 3
_PRIOR_COUNT, _PRIOR_INDEX = 10, 0.5  # weakly informative, as in ArviZ


def pareto_index(exceedances: np.ndarray) -> float:
    """The index k of a generalised Pareto law, its density ∝ (1 + k x/σ)^{−1/k−1}.

    The posterior mean of θ = −k/σ over a grid, k = mean log(1 − θ x) there, shrunk towards ½ as by ten
    further exceedances.

    Args:
        exceedances: positive distances beyond a threshold, in any order, shape `(n,)`.

    Returns:
        k, the larger the heavier the tail.

    Raises:
        ValueError: for fewer than five, and for what is not positive and finite.

    >>> uniform = (np.arange(1000) + 0.5) / 1000
    >>> round(pareto_index(1 / uniform - 1), 1)  # the tail of Cauchy's law
    1.0
    """
    x = np.sort(np.asarray(exceedances, float).ravel())
    n = len(x)
    if n < 5 or not (x[0] > 0 and np.isfinite(x[-1])):
        raise ValueError(f"expected at least 5 positive, finite exceedances, got {n} of them")
    x = x / x[-1]
    size = 30 + int(n**0.5)
    theta = 1 - np.sqrt(size / (np.arange(1, size + 1) - 0.5))
    theta = 1 + theta / (_PRIOR_SCALE * x[int(n / 4 + 0.5) - 1])
    index = np.log1p(-theta[:, None] * x).mean(1)
    likelihood = n * (np.log(-theta / index) - index - 1)
    weights = np.exp(likelihood - likelihood.max())
    weights = weights / weights.sum()
    weights = np.where(weights >= 10 * np.finfo(float).eps, weights, 0.0)
    mean = (theta @ weights) / weights.sum()
    k = np.log1p(-mean * x).mean()
    return float((n * k + _PRIOR_COUNT * _PRIOR_INDEX) / (n + _PRIOR_COUNT))

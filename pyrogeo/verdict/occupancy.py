"""Where draws are, centroid by centroid: what agreement among chains cannot show.

Chains that all sit in one mode agree perfectly. Exact draws say how much mass each centroid holds, and so
which were missed.
"""

import math
from typing import Any

import numpy as np
import torch
from scipy import stats

from pyrogeo._random import forked
from pyrogeo._threads import threads_for
from pyrogeo.distributions import GeometricMixture, RiemannianUniform
from pyrogeo.distributions.mixture import has_centroids
from pyrogeo.geometry import CentroidMetric

__all__ = ["doubt_of", "missed_centroids", "nearest_centroids", "perplexity", "visited"]

_EXACT = 4096
_FEWEST = 100


def nearest_centroids(metric: CentroidMetric, z: np.ndarray) -> np.ndarray:
    """Index of the component of the geometric mixture that each point most likely belongs to.

    Args:
        metric: with K centroids.
        z: points of shape `(n, d)`.

    Returns:
        integers below K, shape `(n,)`.
    """
    mixture = GeometricMixture(metric, validate_args=False)
    points = torch.from_numpy(z).to(metric.centroids.device)
    with torch.no_grad(), threads_for(len(points), metric):
        return mixture.component(points).cpu().numpy()


def perplexity(index: np.ndarray, n_centroids: int) -> float:
    """exp(entropy) of the centroids' shares: how many centroids hold the draws, as it were.

    >>> perplexity(np.array([0, 0, 1, 1]), 5)
    2.0
    """
    share = np.bincount(index, minlength=n_centroids) / len(index)
    share = share[share > 0]
    return float(np.exp(-(share * np.log(share)).sum()).round(12))


def missed_centroids(
    density: RiemannianUniform, z: np.ndarray, ess: float, alpha: float = 1e-4
) -> dict[str, Any]:
    """Compares the centroids that chains visit with those of exact draws.

    The draws are thinned to as many as they are worth. Each centroid's count is then held against
    that of 4,096 exact draws by Fisher's exact test, Bonferroni-corrected.

    Args:
        density: of a `CentroidMetric`.
        z: chains of shape `(chain, draw, d)`.
        ess: effective sample size of all chains together.
        alpha: probability of a finding where there is nothing to find.

    Returns:
        `perplexity` of the thinned chains and `exact_perplexity` of `size` exact draws, as many: both grow with
        the number of draws. `whole_perplexity` of all exact draws, `differing` (how many centroids differ),
        `missed_share` (the exact share of those that the chains visit too little), `vacuum_share`
        (NaN where it is certainly below 5%).

    Raises:
        ValueError: for a metric without centroids.
    """
    metric = density.metric
    if not has_centroids(metric):
        raise ValueError(f"expected a metric with centroids, got {type(metric).__name__}")
    flat = z.reshape(-1, z.shape[-1])
    keep = np.linspace(0, len(flat) - 1, max(2, min(len(flat), int(ess)))).round().astype(int)
    with forked(0, metric.centroids.device):
        exact = density.sample((_EXACT,)).cpu().numpy()
    k = metric.n_centroids
    seen, true = nearest_centroids(metric, flat[keep]), nearest_centroids(metric, exact)
    counts, expected = (np.bincount(index, minlength=k) for index in (seen, true))
    p_values = np.array(
        [
            stats.fisher_exact([[a, len(seen) - a], [b, len(true) - b]])[1]
            for a, b in zip(counts, expected, strict=True)
        ]
    )
    differing = p_values < alpha / k
    less = differing & (counts / len(seen) < expected / len(true))
    return {
        "size": min(len(seen), len(true)),
        "perplexity": perplexity(seen[:: math.ceil(len(seen) / len(true))], k),
        "exact_perplexity": perplexity(true[: len(seen)], k),
        "whole_perplexity": perplexity(true, k),
        "differing": int(differing.sum()),
        "missed_share": float(expected[less].sum() / len(true)) if less.any() else 0.0,
        "vacuum_share": density.vacuum_share if density.may_be_void else math.nan,
    }


def doubt_of(density: RiemannianUniform) -> str | None:
    """Why nothing can be held against exact draws of a density: they may miss mass themselves."""
    try:
        overlap: Any = getattr(density, "overlap", None)
    except NotImplementedError:  # without a proposal there are none
        return None
    if overlap is None or not overlap.in_doubt:
        return None
    return (
        "Exact draws of this density are in doubt: they start from a law that misses mass, by estimate "
        f"{-math.expm1(-overlap.error):.0%} of the volume, so nothing is compared with them. Pass "
        "proposal=..., or lower the bandwidth ρ."
    )


def visited(
    density: RiemannianUniform, z: np.ndarray, ess: float, exact: bool = False
) -> tuple[list[str], list[str]]:
    """`missed_centroids` in words: what speaks against the chains, and what one should know.

    Of exact draws it is not said over how many centroids they are spread, beside others of their kind. Nothing
    of a density whose metric has no centroids, that has no exact draws, or whose exact draws are in doubt.
    """
    metric = density.metric
    if not has_centroids(metric) or density.proposal is None or doubt_of(density):
        return [], []
    found = missed_centroids(density, z, ess)
    k, whole = metric.n_centroids, found["whole_perplexity"]
    missed = []
    if found["differing"]:
        share = found["missed_share"]
        missed = [
            f"{'Modes are missed' if share else 'The mass is elsewhere'}: {found['differing']} centroids are "
            "visited otherwise than by exact draws"
            + (f", and those visited too little hold {share:.0%} of the mass" if share else "")
            + ". Draw exactly with RiemannianUniform.sample."
        ]
    notes = [] if exact else [_spread(found)]
    if whole < 0.1 * k:
        notes.append(
            f"The density itself concentrates on some {whole:.0f} of {k} centroids, where they crowd; "
            "GeometricMixture does not."
        )
    if found["vacuum_share"] > 0.05:
        share = found["vacuum_share"]
        notes.append(f"The vacuum, far from all centroids, holds {share:.0%} of the mass.")
    return missed, notes


def _spread(found: dict[str, Any]) -> str:
    size = found["size"]
    if size < _FEWEST:  # whose perplexity is theirs more than the law's
        return (
            f"Exact draws are spread over {found['whole_perplexity']:.0f} centroids (perplexity); {size} effective "
            "draws are too few to say over how many the chains are."
        )
    return (
        f"The draws are spread over {found['perplexity']:.0f} centroids (perplexity), exact draws over "
        f"{found['exact_perplexity']:.0f}, at the same size of {size:,}."
    )

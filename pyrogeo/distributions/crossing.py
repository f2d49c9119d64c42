"""Where exact draws from √det G start: a mixture that covers it where centroids cross, too.

Its components are the terms of single centroids and of the vacuum, √det G itself where centroids are
isolated; the heaviest terms of pairs; and tangents at points where the law so far was found to propose too
little. Their weights are first their masses, then those under which draws in proportion to √det G are likeliest
(the Kullback–Leibler divergence from √det G, by weighted expectation–maximisation with the components held fixed).
A fifth stays with the masses, so that no component is lost to the noise of a pilot population.

Source for the weights: Cappé, Douc, Guillin, Marin, Robert, *Adaptive importance sampling in general mixture
classes*, 2008.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.distributions.gaussians import Gaussians
from pyrogeo.distributions.mixture import StartingLaw
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.distributions.survey import Survey, survey
from pyrogeo.distributions.terms import (
    MANY_CENTROIDS,
    Atoms,
    Terms,
    atoms,
    log_masses,
    pairs,
    shapes,
    singles,
)
from pyrogeo.geometry import CentroidMetric

__all__ = ["crossing_law"]

_MOST_PAIRS = 2_000
_PILOT = 2_048
_ROUNDS = ((256, 4), (MANY_CENTROIDS, 2))  # surveys, for so many centroids; for more, one
_STEPS = 20  # of expectation–maximisation
_FLOOR = 0.2  # of the weights, which the masses keep
_IDLE = 1e-4  # the share below which a component is dropped, unless it is a single centroid's
_MOST = 800  # components, besides those
_GOOD = 0.9  # effective sample size at which nothing is left to gain
_MOST_FOUND = 500  # tangents that are taken in a round


@torch.no_grad()
def crossing_law(metric: CentroidMetric) -> Gaussians:
    """The starting law of exact draws, with torch's global generator.

    Args:
        metric: diagonal or full, and proper: λ = 0 or τ > 0.

    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> cross = torch.tensor([[1e-4, 1.0], [1.0, 1e-4]]).double()
    >>> metric = DiagonalCentroidMetric(torch.zeros(2, 2).double(), cross, 1.0, 0.0)
    >>> law = crossing_law(metric)
    >>> z = law.sample(1000)
    >>> weights = (metric.log_volume_element(z) - law.log_prob(z)).exp()
    >>> bool(weights.mean() ** 2 / (weights**2).mean() > 0.9)  # of one centroid after another: 0.05
    True
    """
    of, start = atoms(metric), StartingLaw(metric)
    target, law = VolumeElement(metric), _first(of, start, metric.centroids.dtype)
    best, best_score = law, -math.inf
    for left in reversed(range(_rounds(metric.n_centroids))):
        look = survey(target, law.mixture, of, _PILOT)
        score = look.overlap.ess - look.overlap.in_doubt
        if score > best_score:
            best, best_score = law, score
        if score > _GOOD or not left:
            break
        law = _better(of, law, look)
    return best.mixture


def _rounds(k: int) -> int:
    return next((rounds for most, rounds in _ROUNDS if k <= most), 1)


class _Law(NamedTuple):
    """A mixture, and the weights that its components have before any fit, shape `(T,)`, in logarithms."""

    mixture: Gaussians
    guard: Tensor


def _first(of: Atoms, start: StartingLaw, dtype: torch.dtype) -> _Law:
    """Singles and pairs by their masses, with no less of the vacuum than `StartingLaw` has."""
    parts = [part for part in (singles(of), pairs(of, _MOST_PAIRS)) if len(part.atoms)]
    means, precisions, _ = (torch.cat(s) for s in zip(*(shapes(of, p) for p in parts), strict=True))
    masses = torch.cat([log_masses(of, part) for part in parts]).log_softmax(0)
    if start.weight > 0:
        vacuum = len(of.centres) - 1
        masses[vacuum] = torch.maximum(masses[vacuum], masses.new_tensor(start.weight).log())
    guard = masses.log_softmax(0)
    return _Law(Gaussians(means, precisions, guard, start.scale, dtype), guard)


def _better(of: Atoms, law: _Law, look: Survey) -> _Law:
    """The law with what the survey found, its weights fitted to the survey's points, without idle parts."""
    old, guard = law
    means, precisions = old.means, old.precisions
    if look.found is not None:
        masses = log_masses(of, look.found)
        kept = masses.topk(min(len(masses), _MOST_FOUND)).indices
        more = shapes(of, Terms(*(part[kept] for part in look.found)))
        means, precisions = torch.cat([means, more[0]]), torch.cat([precisions, more[1]])
        # all that was found guards as much as a fifth of what was there
        guard = torch.cat([guard, masses[kept].log_softmax(0) + math.log(0.2)]).log_softmax(0)
    wide = Gaussians(means, precisions, guard, old.scale, old.dtype)
    shares = _fit(wide.log_components(look.z) - wide.log_weights, look.log_weights, guard)
    least = shares.topk(min(len(shares), _MOST)).values[-1].item()
    used = shares >= max(_IDLE, least)
    used[: len(of.centres)] = True
    weights = (_FLOOR * guard.exp() + (1 - _FLOOR) * shares).log()
    parts = (means[used], precisions[used], weights[used])
    return _Law(Gaussians(*parts, old.scale, old.dtype), guard[used].log_softmax(0))


def _fit(log_densities: Tensor, log_weights: Tensor, guard: Tensor) -> Tensor:
    """The shares `(T,)` under which weighted points `(n,)` are likeliest, densities `(n, T)` given."""
    weights = log_weights.softmax(0).float()
    # at each point relative to its largest, so that float32, twice as fast, is enough
    relative = (log_densities - log_densities.amax(-1, keepdim=True)).float().exp_()
    shares = floor = guard.exp().float()
    for _ in range(_STEPS):
        mixed = _FLOOR * floor + (1 - _FLOOR) * shares
        per_point = weights / (relative @ mixed).clamp(min=1e-30)
        shares = mixed * (per_point @ relative)
        shares = shares / shares.sum()
    return shares.double()

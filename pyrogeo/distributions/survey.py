"""Whether exact draws start from a law that covers √det G: what its weights say, and what a probe finds.

Tempered weights cannot tell: each stage is held at an effective sample size of one half, and resampling
forgets what it lost. Two looks can, at a fresh population of the starting law p₀ with its weights γ/p₀ in
one step:

- *Their tail.* A generalised Pareto law is fitted to the largest weights. Where its index k is above 0.7 and the
  weights beyond the threshold bring more than 1% of the volume, or more than 25% while fewer than a tenth of the
  draws are effective, the mean of the weights, and so the volume, cannot be trusted; what is missing is estimated
  by the share of the tail.
- *A probe*, for mass that no draw of p₀ hit, to which k is blind. Hamiltonian trajectories carry weighted draws
  to where √det G is large, and products of ω of the atoms around them peak at points in closed form; at
  each, and at centroids, the tangent of `terms` is a Gaussian under √det G. Draws from those, mixed half and half with p₀, give a
  second estimate of the volume, which p₀'s own misses by the mass that it does not propose.

Source for k: Vehtari, Simpson, Gelman, Yao, Gabry, *Pareto smoothed importance sampling*, 2024. For the weights
of a mixture: Veach, Guibas, *Optimally combining sampling techniques*, 1995.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo._tails import pareto_index
from pyrogeo.annealing import Proposal, effective_share, systematic
from pyrogeo.distributions.gaussians import Gaussians
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.distributions.terms import Atoms, Terms, log_masses, peaks, shapes, tangents
from pyrogeo.moves import State, hmc

__all__ = ["Overlap", "Survey", "overlap_of", "survey", "tail"]

_POINTS = 4096
_SECOND_LOOK = 4  # times as many, where the first leaves doubt
_WORST_INDEX = 0.7  # above which no size in use averages the weights
_FEW, _MUCH = 0.1, 0.25  # too few effective, while the tail holds as much, for k itself to be known
_LEAST_SHARE = 0.01
_ERRORS = 4.0  # a gap must exceed its standard error by
_WANDERERS = 256
_CENTRES = 512  # at most, at random where there are more
_TRAJECTORIES = 20
_LEAPFROGS = 5
_FARTHEST_LOG_WEIGHT = 5.0  # by which a tangent may be preferred for what p₀ lacks there


class Overlap(NamedTuple):
    """How well a starting law covers √det G.

    Attributes:
        ess: effective sample size of its draws in one step, as a share of them.
        tail_index: k of the largest weights.
        tail_share: the share of the volume beyond the tail's threshold.
        gap: log-volume with the probe less that without; 0 without a probe.
        gap_error: its standard error.

    >>> fine = Overlap(0.9, 0.1, 0.002, 0.001, 0.004)
    >>> fine.in_doubt, fine.error
    (False, 0.0)
    >>> Overlap(0.1, 0.9, 0.2, 0.0, 0.0).in_doubt
    True
    """

    ess: float
    tail_index: float
    tail_share: float
    gap: float
    gap_error: float

    @property
    def has_heavy_tail(self) -> bool:
        """Whether the weights' tail leaves their mean in doubt."""
        is_heavy = self.tail_index > _WORST_INDEX and self.tail_share > _LEAST_SHARE
        return is_heavy or (self.ess < _FEW and self.tail_share > _MUCH)

    @property
    def has_gap(self) -> bool:
        """Whether the probe found mass that the law does not propose."""
        return self.gap > max(_LEAST_SHARE, _ERRORS * self.gap_error)

    @property
    def in_doubt(self) -> bool:
        """Whether draws that start there may miss mass."""
        return self.has_heavy_tail or self.has_gap

    @property
    def error(self) -> float:
        """What log-volume may be short of, in nats; 0 where nothing is in doubt."""
        missing = self.gap if self.has_gap else 0.0
        if self.has_heavy_tail:  # of a Pareto tail of index k the part beyond the largest draw
            missing += max(self.tail_share, -math.log1p(-min(self.tail_share, 0.6)))
        return missing

    def __str__(self) -> str:
        words = [f"effective sample size {self.ess:.1%} in one step"]
        if self.has_heavy_tail:
            words.append(
                f"{self.tail_share:.0%} of the volume in weights of tail index {self.tail_index:.2f}"
            )
        if self.has_gap:
            words.append(f"a probe found {math.expm1(self.gap):.1%} more volume")
        return "; ".join(words)


class Survey(NamedTuple):
    """What a look at a starting law gave.

    Attributes:
        overlap: the verdict.
        z: points `(n, d)`, in float64, of the law and of the probe.
        log_weights: √det G over the law of all of them, shape `(n,)`.
        found: the tangents at what the probe met, for a better law; None without atoms.
    """

    overlap: Overlap
    z: Tensor
    log_weights: Tensor
    found: Terms | None


def overlap_of(target: VolumeElement, law: Proposal, of: Atoms | None = None) -> Overlap:
    """How well a law covers √det G, with torch's global generator.

    Where one look leaves doubt, a second with four times as many draws, none of the first, decides.

    Args:
        target: √det G.
        law: p₀.
        of: the metric's atoms; None leaves out the probe.
    """
    seen = survey(target, law, of, _POINTS).overlap
    return survey(target, law, of, _SECOND_LOOK * _POINTS).overlap if seen.in_doubt else seen


def survey(target: VolumeElement, law: Proposal, of: Atoms | None, n: int) -> Survey:
    """A look at a law, with torch's global generator.

    Args:
        target: √det G.
        law: p₀.
        of: the metric's atoms; None leaves out the probe.
        n: draws of the law, and as many of the probe.
    """
    z = law.sample(n)
    log_weights = (target.value(z) - law.log_prob(z)).double()
    index, share = tail(log_weights)
    ess = effective_share(log_weights)
    if of is None or not math.isfinite(ess):
        return Survey(Overlap(ess, index, share, 0.0, 0.0), z.double(), log_weights, None)
    found = tangents(of, _met(target, law, of, z, log_weights))
    probe = _probe(target, law, of, found, log_weights)
    there = probe.sample(n).to(z.dtype)
    both = torch.cat([z, there])
    value = target.value(both).double()
    mixed = torch.logaddexp(law.log_prob(both).double(), probe.log_prob(both).double())
    second = value - mixed + math.log(2)
    gap, error = _gap(log_weights, second)
    return Survey(Overlap(ess, index, share, gap, error), both.double(), second, found)


def tail(log_weights: Tensor) -> tuple[float, float]:
    """The tail index of weights `(n,)`, and what share of their sum exceeds the tail's threshold.

    The tail is the largest min(n/5, 3√n) weights.

    >>> torch.manual_seed(0) and None
    >>> heavy = -0.9 * torch.rand(10_000).log()  # weights with a Pareto tail of index 0.9
    >>> index, share = tail(heavy)
    >>> 0.7 < index < 1.1, share > 0.1
    (True, True)
    """
    weights = (log_weights - log_weights.max()).exp().double().cpu()
    n = len(weights)
    largest = weights.topk(int(min(n / 5, 3 * math.sqrt(n))) + 1).values
    beyond = largest[:-1] - largest[-1]
    positive = beyond[beyond > 0].numpy()
    index = pareto_index(positive) if len(positive) >= 5 else -math.inf
    return index, (beyond.sum() / weights.sum()).item()


def _met(target: VolumeElement, law: Proposal, of: Atoms, z: Tensor, log_weights: Tensor) -> Tensor:
    """Centres, where weighted draws come to by trajectories, and peaks of products around those, in float64."""
    start = z[systematic(log_weights, _WANDERERS)]
    state = State(start, *target.value_and_grad(start))
    step_size = 0.5 * z.shape[1] ** -0.25
    for _ in range(_TRAJECTORIES):
        jitter = 0.8 + 0.4 * torch.rand_like(state.value)[:, None]
        state, made = hmc(target.value_and_grad, state, step_size * jitter, _LEAPFROGS, law.scale)
        step_size *= math.exp(made.probability.mean().item() - 0.8)
    met = state.z.double()
    some = of.centres[torch.randperm(len(of.centres), device=z.device)[:_CENTRES]]
    return torch.cat([some, met, torch.unique(peaks(of, met).round(decimals=9), dim=0)])


def _probe(
    target: VolumeElement, law: Proposal, of: Atoms, found: Terms, log_weights: Tensor
) -> Gaussians:
    """The tangents as a mixture, by their mass and by how much p₀ lacks where they lie."""
    means, precisions, _ = shapes(of, found)
    at = means.to(law.sample(1).dtype)
    lack = target.value(at).double() - law.log_prob(at).double()
    lack = lack - log_weights.logsumexp(0) + math.log(len(log_weights))
    lack = lack.nan_to_num(nan=0.0).clamp(0.0, _FARTHEST_LOG_WEIGHT)
    masses = log_masses(of, found)
    weights = torch.logaddexp((masses + lack).log_softmax(0), masses.log_softmax(0))
    return Gaussians(means, precisions, weights, law.scale, torch.float64)


def _gap(first: Tensor, second: Tensor) -> tuple[float, float]:
    """How much more the weights of law and probe, half of each, sum to than the law's own; its error."""
    n = len(first)
    log_mean = first.logsumexp(0) - math.log(n)
    log_both = second.logsumexp(0) - math.log(2 * n)
    own = (first - log_mean).exp()
    low, high = (second - log_both).exp().split(n)
    # the law's draws are in both, so that its errors largely cancel
    errors = (0.5 * low - own).var() / n + 0.25 * high.var() / n
    return (log_both - log_mean).item(), errors.sqrt().item()

"""Exact draws from √det G by sequential Monte Carlo, and with them its volume.

A population starts in the geometric mixture plus a little of the vacuum's Gaussian, p₀, from which
it can be drawn exactly, and follows log γ_β = (1 − β) log p₀ + β ½ log det G from β = 0 to 1. Each
step in β is as long as an effective sample size of half the population allows; resampling and moves
that leave γ_β invariant follow: independence jumps from p₀, which carry points between modes, and
short Hamiltonian trajectories, which mix within them.

"Exact" means: with error that vanishes as the population grows. Resampled draws are not
independent; judge them by comparing runs.

Source: Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, 2006.
"""

import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from pyrogeo.distributions.mixture import StartingLaw
from pyrogeo.errors import NonFiniteDensityError, SamplingWarning
from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric
from pyrogeo.moves import State, hmc, independence

__all__ = ["Population", "anneal", "typical_scale", "warn_if_hard"]

_ESS = 0.5  # of the population, after each step in temperature
_LEAPFROGS = 5
_SWEEPS = (1, 3)  # of moves after each resampling, and after the last
_MOST_SWEEPS = 12  # while the step size is too large for this temperature
_TARGET_ACCEPTANCE = 0.8
_MANY_STAGES = 20
_POOR_ACCEPTANCE = 0.2


@dataclass(frozen=True)
class Population:
    """The outcome of one run.

    Attributes:
        particles: shape `(n, d)`.
        log_volume: the estimate of log ∫ √det G dz.
        temperatures: β after each stage, the last 1.
        ess: effective sample size of each stage before resampling, as a share of n.
        acceptance: mean acceptance of each stage's Hamiltonian moves.
    """

    particles: Tensor
    log_volume: float
    temperatures: tuple[float, ...]
    ess: tuple[float, ...]
    acceptance: tuple[float, ...]


def anneal(metric: CentroidMetric, n: int, volume_only: bool = False) -> Population:
    """Runs a population of `n` points from p₀ to √det G, with torch's global generator.

    The volume is known before the last moves; `volume_only` leaves them out.
    """
    start = StartingLaw(metric)
    scale = typical_scale(metric)
    step_size = 1.0 * metric.dimension**-0.25
    z = start.sample(n)
    beta, log_volume = 0.0, 0.0
    temperatures, ess, acceptance = [], [], []
    while beta < 1:
        ratio = metric.log_volume_element(z) - start.log_prob(z)
        if not (ratio < torch.inf).all():
            raise NonFiniteDensityError(f"½ log det G is not finite at some draws of {metric}")
        delta, share = _next_step(ratio, 1 - beta)
        beta = min(1.0, beta + delta) if delta < 1 - beta else 1.0
        weights = delta * ratio
        log_volume += (weights.logsumexp(0) - math.log(n)).item()
        z = z[_systematic(weights)]
        if beta == 1 and volume_only:
            break
        z, rate, step_size = _move(metric, start, z, beta, step_size, scale)
        temperatures.append(beta), ess.append(share), acceptance.append(rate)
    return Population(z, log_volume, tuple(temperatures), tuple(ess), tuple(acceptance))


def warn_if_hard(runs: Iterable[Population]) -> None:
    """A `SamplingWarning` with the numbers, where many stages or few acceptances make draws doubtful."""
    runs = list(runs)
    stages = max(len(run.temperatures) for run in runs)
    acceptance = min(run.acceptance[-1] for run in runs)
    if stages > _MANY_STAGES or acceptance < _POOR_ACCEPTANCE:
        warnings.warn(
            f"centroids overlap so strongly that a run took {stages} stages and accepted "
            f"{acceptance:.0%} of its last moves; compare runs with sample_smc and diagnose",
            SamplingWarning,
            stacklevel=3,
        )


def typical_scale(metric: CentroidMetric) -> Tensor:
    """A mode's standard deviations, their geometric mean over the centroids, as a vector; or for full
    covariances the Cholesky factor of their mean, as a matrix."""
    width = metric.bandwidth / math.sqrt(metric.dimension)
    if isinstance(metric, DiagonalCentroidMetric):
        return width * (0.5 * metric.variances.log().mean(0)).exp()
    return width * torch.linalg.cholesky(metric.covariances.mean(0))


def _next_step(ratio: Tensor, longest: float) -> tuple[float, float]:
    """The longest step in β that keeps the effective sample size, and that size as a share."""
    share = _ess(longest * ratio)
    if share >= _ESS:
        return longest, share
    low, high = 0.0, longest
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _ess(middle * ratio) >= _ESS else (low, middle)
    return low, _ess(low * ratio)


def _ess(log_weights: Tensor) -> float:
    n = len(log_weights)
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item() / n


def _systematic(log_weights: Tensor) -> Tensor:
    """Indices of a systematic resample, in random order."""
    n = len(log_weights)
    cumulative = log_weights.softmax(0).cumsum(0)
    comb = (
        torch.arange(n, device=cumulative.device) + torch.rand((), device=cumulative.device)
    ) / n
    index = torch.searchsorted(cumulative, comb.to(cumulative.dtype)).clamp(max=n - 1)
    return index[torch.randperm(n, device=index.device)]


def _move(metric, start: StartingLaw, z: Tensor, beta: float, step_size: float, scale: Tensor):
    """Jumps and trajectories that leave γ_β invariant; the step size follows the acceptance."""

    def value_and_grad(points: Tensor) -> tuple[Tensor, Tensor]:
        target, slope = metric.log_volume_element_and_grad(points)
        if beta == 1:
            return target, slope
        first, slope0 = start.log_prob_and_grad(points)
        return first + beta * (target - first), slope0 + beta * (slope - slope0)

    state = State(z, *value_and_grad(z))
    rates = []
    while len(rates) < _SWEEPS[beta == 1] or (rates[-1] < 0.5 and len(rates) < _MOST_SWEEPS):
        state = _jump(start, state, value_and_grad)
        jitter = 0.8 + 0.4 * torch.rand_like(state.value)[:, None]
        state, made = hmc(value_and_grad, state, step_size * jitter, _LEAPFROGS, scale)
        rates.append(made.probability.mean().item())
        step_size *= math.exp(rates[-1] - _TARGET_ACCEPTANCE)
    return state.z, sum(rates) / len(rates), step_size


def _jump(start: StartingLaw, state: State, value_and_grad) -> State:
    """Independence Metropolis–Hastings with proposals from p₀."""
    z = start.sample(len(state.z))
    proposal = State(z, *value_and_grad(z))
    log_prob = start.log_prob(state.z), start.log_prob(z)
    return independence(state, proposal, log_prob)[0]

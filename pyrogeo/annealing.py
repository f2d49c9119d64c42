"""A tempered path from a law that can be drawn to a density that cannot, with torch only.

A population of points is drawn from a proposal p₀ and follows log γ_β = (1 − β) log p₀ + β log γ from
β = 0 to 1. Each step in β is as long as an effective sample size of half the population allows;
its weights γ_β'/γ_β give the ratio of the two constants, and resampling and moves that leave γ_β'
invariant follow: independence jumps from p₀, which carry points between modes, and short Hamiltonian
trajectories, which mix within them.

The population follows γ with an error that vanishes as it grows. Resampled points are not
independent; judge them by comparing runs.

Source: Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, 2006.
"""

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from pyrogeo.errors import NonFiniteDensityError
from pyrogeo.moves import State, ValueAndGrad, hmc, independence

__all__ = [
    "Population",
    "Proposal",
    "Target",
    "anneal",
    "effective_share",
    "next_step",
    "systematic",
    "tempered",
]

_ESS = 0.5  # of the population, after each step in temperature
_LEAPFROGS = 5
_SWEEPS = (1, 3)  # of moves after each resampling, and after the last
_MOST_SWEEPS = 12  # while the step size is too large for this temperature
_TARGET_ACCEPTANCE = 0.8


@runtime_checkable
class Target(Protocol):
    """log γ, a log-density up to a constant, and its gradient.

    Zero density is a value of −∞; its gradient is then any finite number.

    >>> class Normal:
    ...     def value(self, z):
    ...         return -0.5 * (z * z).sum(-1)
    ...     def value_and_grad(self, z):
    ...         return self.value(z), -z
    >>> isinstance(Normal(), Target)
    True
    """

    def value(self, z: Tensor) -> Tensor:
        """log γ at points `(n, d)`, shape `(n,)`."""

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """log γ and its gradient, of shapes `(n,)` and `(n, d)`."""


@runtime_checkable
class Proposal(Protocol):
    """p₀: a normalised law that can be drawn from exactly.

    It decides who can be drawn from exactly: whatever mass of the target lies where the proposal has
    none is lost, and nothing in the draws tells of it.

    Attributes:
        scale: in whose units positions move from p₀ to the target, as in `moves`: a number, a vector
            `(d,)` or a matrix `(d, d)`.

    >>> class Normal:
    ...     scale = 1.0
    ...     def sample(self, n):
    ...         return torch.randn(n, 2)
    ...     def log_prob(self, z):
    ...         return -0.5 * (z * z).sum(-1) - math.log(2 * math.pi)
    ...     def log_prob_and_grad(self, z):
    ...         return self.log_prob(z), -z
    >>> isinstance(Normal(), Proposal)
    True
    """

    @property
    def scale(self) -> Tensor | float:
        """In whose units positions move."""

    def sample(self, n: int) -> Tensor:
        """`n` independent draws of shape `(n, d)`, from torch's global generator."""

    def log_prob(self, z: Tensor) -> Tensor:
        """The normalised log-density at points `(n, d)`, shape `(n,)`."""

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient, of shapes `(n,)` and `(n, d)`."""


@dataclass(frozen=True)
class Population:
    """The outcome of one run of `anneal`.

    Attributes:
        particles: shape `(n, d)`.
        log_normalizer: the estimate of log ∫ γ(z) dz.
        temperatures: β after each stage, the last 1.
        ess: effective sample size of each stage before resampling, as a share of n.
        acceptance: mean acceptance of each stage's Hamiltonian moves.
    """

    particles: Tensor
    log_normalizer: float
    temperatures: tuple[float, ...]
    ess: tuple[float, ...]
    acceptance: tuple[float, ...]


@torch.no_grad()
def anneal(
    target: Target, proposal: Proposal, n: int, *, normalizer_only: bool = False
) -> Population:
    """Runs a population of `n` points from the proposal to the target, with torch's global generator.

    Args:
        target: γ.
        proposal: p₀, which must cover the target.
        n: number of points.
        normalizer_only: leave out the last moves, before which ∫ γ is known.

    Returns:
        the points with what happened on the way.

    Raises:
        NonFiniteDensityError: if γ is infinite or NaN at some points, or zero at all of them.

    >>> class Normal:
    ...     def __init__(self, scale):
    ...         self.scale = scale
    ...     def sample(self, n):
    ...         return self.scale * torch.randn(n, 1)
    ...     def log_prob(self, z):
    ...         return torch.distributions.Normal(0.0, self.scale).log_prob(z)[:, 0]
    ...     value = log_prob
    ...     def log_prob_and_grad(self, z):
    ...         return self.log_prob(z), -z / self.scale**2
    ...     value_and_grad = log_prob_and_grad
    >>> population = anneal(Normal(1.0), Normal(2.0), 1000)
    >>> abs(population.log_normalizer) < 0.1, population.temperatures
    (True, (1.0,))
    """
    z = proposal.sample(n)
    step_size = 1.0 * z.shape[1] ** -0.25
    beta, log_normalizer = 0.0, 0.0
    temperatures: list[float] = []
    ess: list[float] = []
    acceptance: list[float] = []
    while beta < 1:
        ratio = target.value(z) - proposal.log_prob(z)
        if not (ratio < torch.inf).all() or (ratio == -torch.inf).all():
            raise NonFiniteDensityError(f"the log-density of {target} is not finite at some draws")
        step, share = next_step(ratio, 1 - beta)
        beta = min(1.0, beta + step) if step < 1 - beta else 1.0
        weights = step * ratio
        log_normalizer += (weights.logsumexp(0) - math.log(n)).item()
        z = z[systematic(weights)]
        if beta == 1 and normalizer_only:
            break
        z, rate, step_size = _move(target, proposal, z, beta, step_size)
        temperatures.append(beta)
        ess.append(share)
        acceptance.append(rate)
    return Population(z, log_normalizer, tuple(temperatures), tuple(ess), tuple(acceptance))


def effective_share(log_weights: Tensor) -> float:
    """The effective sample size (Σ w)² / Σ w² of weights `(n,)`, as a share of n.

    Args:
        log_weights: their logarithms; −∞ for a weight of zero.

    >>> effective_share(torch.tensor([0.0, 0.0, -torch.inf, -torch.inf]))
    0.5
    """
    n = len(log_weights)
    return (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item() / n


def next_step(ratio: Tensor, longest: float) -> tuple[float, float]:
    """The longest step in β after which half of the points that the target can reach are effective.

    Args:
        ratio: log γ − log p₀ at the points, shape `(n,)`; −∞ where the target has no density.
        longest: what is left to β = 1.

    Returns:
        the step, and the effective sample size as a share of all points.

    Raises:
        NonFiniteDensityError: if the ratios differ by so much that no step is short enough.

    >>> next_step(torch.zeros(10), 1.0)
    (1.0, 1.0)
    """
    least = _ESS * (ratio > -torch.inf).double().mean().item()
    share = effective_share(longest * ratio)
    if share >= least:
        return longest, share
    low, high = 0.0, longest
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if effective_share(middle * ratio) >= least else (low, middle)
    if low == 0:
        raise NonFiniteDensityError(
            "the proposal is so far from the density that no step in temperature is short enough"
        )
    return low, effective_share(low * ratio)


def systematic(log_weights: Tensor, n: int | None = None) -> Tensor:
    """`n` indices in proportion to weights `(m,)`, in random order, from torch's global generator.

    Each index comes as often as its weight says, rounded up or down.

    Args:
        log_weights: the weights' logarithms, up to a constant.
        n: by default m.

    >>> systematic(torch.tensor([0.5, 0.5, 0.0]).log(), 4).sort().values
    tensor([0, 0, 1, 1])
    """
    m, device = len(log_weights), log_weights.device
    n = m if n is None else n
    cumulative = log_weights.double().softmax(0).cumsum(0)
    comb = (torch.arange(n, device=device) + torch.rand((), device=device)) / n
    index = torch.searchsorted(cumulative, comb.to(cumulative)).clamp(max=m - 1)
    return index[torch.randperm(n, device=device)]


def tempered(target: Target, proposal: Proposal, beta: float) -> ValueAndGrad:
    """log γ_β = (1 − β) log p₀ + β log γ with its gradient, as moves take it.

    Args:
        target, proposal: γ and p₀.
        beta: from 0 to 1.

    >>> class Line:
    ...     def __init__(self, slope):
    ...         self.slope = slope
    ...     def value_and_grad(self, z):
    ...         return self.slope * z[:, 0], torch.full_like(z, self.slope)
    ...     log_prob_and_grad = value_and_grad
    >>> tempered(Line(2.0), Line(1.0), 0.5)(torch.ones(1, 1))
    (tensor([1.5000]), tensor([[1.5000]]))
    """
    if beta == 1:
        return target.value_and_grad

    def value_and_grad(z: Tensor) -> tuple[Tensor, Tensor]:
        last, slope = target.value_and_grad(z)
        first, slope0 = proposal.log_prob_and_grad(z)
        return first + beta * (last - first), slope0 + beta * (slope - slope0)

    return value_and_grad


def _move(
    target: Target, proposal: Proposal, z: Tensor, beta: float, step_size: float
) -> tuple[Tensor, float, float]:
    """Jumps and trajectories that leave γ_β invariant; the step size follows the acceptance."""
    value_and_grad = tempered(target, proposal, beta)
    state = State(z, *value_and_grad(z))
    rates: list[float] = []
    while len(rates) < _SWEEPS[beta == 1] or (rates[-1] < 0.5 and len(rates) < _MOST_SWEEPS):
        state = _jump(proposal, state, value_and_grad)
        jitter = 0.8 + 0.4 * torch.rand_like(state.value)[:, None]
        state, made = hmc(value_and_grad, state, step_size * jitter, _LEAPFROGS, proposal.scale)
        rates.append(made.probability.mean().item())
        step_size *= math.exp(rates[-1] - _TARGET_ACCEPTANCE)
    return state.z, sum(rates) / len(rates), step_size


def _jump(proposal: Proposal, state: State, value_and_grad: ValueAndGrad) -> State:
    """Independence Metropolis–Hastings with proposals from p₀."""
    z = proposal.sample(len(state.z))
    there = State(z, *value_and_grad(z))
    log_prob = proposal.log_prob(state.z), proposal.log_prob(z)
    return independence(state, there, log_prob)[0]

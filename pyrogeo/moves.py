"""Moves that leave a density invariant, on many points at once. Torch only.

A density is given by `value_and_grad`: from points `(C, d)` to log-density `(C,)` and gradient
`(C, d)`. Momenta are standard normal, and positions move in units of `scale`: a number, a vector `(d,)`
of standard deviations, or a matrix `(d, d)` whose square L Lᵀ is a covariance.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["State", "Transition", "hmc", "independence", "leapfrog", "metropolis"]

ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]


class State(NamedTuple):
    """Points with what is known of them: `z` and `gradient` of shape `(C, d)`, `value` `(C,)`."""

    z: Tensor
    value: Tensor
    gradient: Tensor


class Transition(NamedTuple):
    """What happened to each point, all of shape `(C,)`.

    Attributes:
        kinetic: ½‖p‖² of the fresh momentum p.
        error: change of the energy −log-density + ½‖p‖² along the trajectory.
        probability: of acceptance.
    """

    kinetic: Tensor
    error: Tensor
    probability: Tensor


def leapfrog(
    value_and_grad: ValueAndGrad,
    state: State,
    momentum: Tensor,
    step_size: Tensor | float,
    num_steps: int,
    scale: Tensor | float = 1.0,
) -> tuple[State, Tensor]:
    """`num_steps` leapfrog steps of H = −log-density + ½‖p‖²: reversible, volume-preserving.

    Returns:
        the last state and its momentum.
    """
    z, _, gradient = state
    full = torch.is_tensor(scale) and scale.dim() == 2
    value = state.value
    for step in range(num_steps + 1):
        half = 0.5 if step in (0, num_steps) else 1.0
        pull = gradient @ scale if full else gradient * scale
        momentum = momentum + half * step_size * pull
        if step < num_steps:
            z = z + step_size * (momentum @ scale.T if full else momentum * scale)
            value, gradient = value_and_grad(z)
    return State(z, value, gradient), momentum


def metropolis(
    state: State, proposal: State, log_ratio: Tensor, generator: torch.Generator | None = None
) -> tuple[State, Tensor]:
    """Each point moves to its proposal with probability min(1, e^log_ratio); NaN is refused.

    Returns:
        the new state, and the acceptance probabilities of shape `(C,)`.
    """
    probability = log_ratio.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
    uniform = torch.rand(
        probability.shape, generator=generator, dtype=probability.dtype, device=probability.device
    )
    accept = uniform < probability
    pick = [
        torch.where(accept if new.dim() == 1 else accept[:, None], new, old)
        for new, old in zip(proposal, state, strict=True)
    ]
    return State(*pick), probability


def hmc(
    value_and_grad: ValueAndGrad,
    state: State,
    step_size: Tensor | float,
    num_steps: int,
    scale: Tensor | float = 1.0,
    generator: torch.Generator | None = None,
) -> tuple[State, Transition]:
    """One Hamiltonian Monte Carlo transition of every point.

    Returns:
        the new state, and what happened.

    Source: R. Neal, *MCMC using Hamiltonian dynamics*, 2011.
    """
    z = state.z
    momentum = torch.randn(z.shape, generator=generator, dtype=z.dtype, device=z.device)
    proposal, final = leapfrog(value_and_grad, state, momentum, step_size, num_steps, scale)
    kinetic = 0.5 * (momentum**2).sum(-1)
    error = 0.5 * (final**2).sum(-1) - proposal.value - (kinetic - state.value)
    after, probability = metropolis(state, proposal, -error, generator)
    return after, Transition(kinetic, error, probability)


def independence(
    state: State,
    proposal: State,
    log_prob: tuple[Tensor, Tensor],
    generator: torch.Generator | None = None,
) -> tuple[State, Tensor]:
    """Metropolis–Hastings with proposals that do not depend on the state.

    Args:
        state, proposal: where the points are, and independent draws of the same number.
        log_prob: of the law that proposes, at the state and at the proposal.

    Returns:
        the new state, and the acceptance probabilities.
    """
    here, there = log_prob
    log_ratio = (proposal.value - there) - (state.value - here)
    return metropolis(state, proposal, log_ratio, generator)

"""Moves that leave a density invariant, on many points at once. Torch only.

A density is given by `value_and_grad`: from points `(C, d)` to log-density `(C,)` and gradient
`(C, d)`. Momenta are standard normal, and positions move in units of `scale`: a number, a vector `(d,)`
of standard deviations, or a matrix `(d, d)` whose square L Lᵀ is a covariance.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["State", "hmc", "leapfrog", "metropolis"]

ValueAndGrad = Callable[[Tensor], tuple[Tensor, Tensor]]


class State(NamedTuple):
    """Points with what is known of them: `z` and `gradient` of shape `(C, d)`, `value` `(C,)`."""

    z: Tensor
    value: Tensor
    gradient: Tensor


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


def metropolis(state: State, proposal: State, log_ratio: Tensor) -> tuple[State, Tensor]:
    """Each point moves to its proposal with probability min(1, e^log_ratio); NaN is refused.

    Returns:
        the new state, and the acceptance probabilities of shape `(C,)`.
    """
    probability = log_ratio.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
    accept = torch.rand_like(probability) < probability
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
) -> tuple[State, Tensor]:
    """One Hamiltonian Monte Carlo transition of every point.

    Returns:
        the new state, and the acceptance probabilities of shape `(C,)`.

    Source: R. Neal, *MCMC using Hamiltonian dynamics*, 2011.
    """
    momentum = torch.randn_like(state.z)
    proposal, final = leapfrog(value_and_grad, state, momentum, step_size, num_steps, scale)
    kinetic = 0.5 * (final**2 - momentum**2).sum(-1)
    return metropolis(state, proposal, proposal.value - state.value - kinetic)

"""Moves that leave a density invariant, on many points at once, with torch only.

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
    """Points with what is known of them.

    Attributes:
        z: positions, shape `(C, d)`.
        value: the log-density there, shape `(C,)`.
        gradient: of the log-density, shape `(C, d)`.

    >>> normal = lambda z: (-0.5 * (z * z).sum(-1), -z)  # N(0, I), up to a constant
    >>> State(torch.ones(1, 2), *normal(torch.ones(1, 2))).value
    tensor([-1.])
    """

    z: Tensor
    value: Tensor
    gradient: Tensor


class Transition(NamedTuple):
    """What happened to each point in `hmc`, all of shape `(C,)`.

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

    Args:
        value_and_grad: of the log-density.
        state: the points at the start.
        momentum: p, shape `(C, d)`.
        step_size: of all points, or a column `(C, 1)` of one for each.
        num_steps: number of steps.
        scale: in whose units positions move.

    Returns:
        the last state and its momentum.

    >>> normal = lambda z: (-0.5 * (z * z).sum(-1), -z)
    >>> start = State(torch.ones(1, 1), *normal(torch.ones(1, 1)))
    >>> end, momentum = leapfrog(normal, start, torch.zeros(1, 1), 0.1, 10)
    >>> end.z  # cos(1) = 0.5403, but for the error of the steps
    tensor([[0.5400]])
    >>> leapfrog(normal, end, -momentum, 0.1, 10)[0].z
    tensor([[1.0000]])
    """
    z, _, gradient = state
    matrix = scale if torch.is_tensor(scale) and scale.dim() == 2 else None
    value = state.value
    for step in range(num_steps + 1):
        half = 0.5 if step in (0, num_steps) else 1.0
        pull = gradient * scale if matrix is None else gradient @ matrix
        momentum = momentum + half * step_size * pull
        if step < num_steps:
            z = z + step_size * (momentum * scale if matrix is None else momentum @ matrix.T)
            value, gradient = value_and_grad(z)
    return State(z, value, gradient), momentum


def metropolis(
    state: State, proposal: State, log_ratio: Tensor, generator: torch.Generator | None = None
) -> tuple[State, Tensor]:
    """Each point moves to its proposal with probability min(1, e^log_ratio); NaN is refused.

    Args:
        state, proposal: where the points are, and where they may go.
        log_ratio: shape `(C,)`.
        generator: of the decisions; None takes torch's global state.

    Returns:
        the new state, and the acceptance probabilities of shape `(C,)`.

    >>> here, there = (State(torch.full((2, 1), z), torch.zeros(2), torch.zeros(2, 1)) for z in (0., 1.))
    >>> metropolis(here, there, torch.tensor([-torch.inf, 0.0]))[0].z.flatten()
    tensor([0., 1.])
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

    Args:
        value_and_grad, step_size, num_steps, scale: as in `leapfrog`.
        state: the points at the start.
        generator: of momenta and decisions; None takes torch's global state.

    Returns:
        the new state, and what happened.

    Source: R. Neal, *MCMC using Hamiltonian dynamics*, 2011.

    >>> normal = lambda z: (-0.5 * (z * z).sum(-1), -z)
    >>> state = State(torch.zeros(1000, 1), *normal(torch.zeros(1000, 1)))
    >>> for _ in range(20):
    ...     state, happened = hmc(normal, state, 0.5, 3)
    >>> bool((state.z.std() - 1).abs() < 0.2)
    True
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
        log_prob: of the law that proposes, at the state and at the proposal, shape `(C,)` each.
        generator: of the decisions; None takes torch's global state.

    Returns:
        the new state, and the acceptance probabilities of shape `(C,)`.

    >>> normal = lambda z: (-0.5 * (z * z).sum(-1), -z)
    >>> state, proposal = (State(z, *normal(z)) for z in (torch.zeros(3, 1), torch.randn(3, 1)))
    >>> independence(state, proposal, (state.value, proposal.value))[1]  # by the density itself
    tensor([1., 1., 1.])
    """
    here, there = log_prob
    log_ratio = (proposal.value - there) - (state.value - here)
    return metropolis(state, proposal, log_ratio, generator)

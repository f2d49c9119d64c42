"""The paper's sampling procedure, made valid: short chains whose last state is kept."""

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._random import forked, fresh_seed
from pyrogeo.geometry import Metric
from pyrogeo.moves import State, hmc

__all__ = ["paper_protocol"]


def paper_protocol(
    metric: Metric,
    starts: Tensor,
    n: int,
    *,
    num_iterations: int = 100,
    num_steps: int = 10,
    step_size: float = 0.01,
    seed: int | None = None,
    progress: bool = False,
) -> Tensor:
    """The last states of `n` short HMC chains on √det G from random training embeddings.

    With the paper's settings a chain travels about one unit of latent space, so these draws follow
    the embeddings more than the density: they are no draws from `RiemannianUniform`, and need none to
    exist, so τ may be 0. The authors' released sampler differs: its gradient lacks the ½ and its
    momentum has the wrong scale, so that it leaves no such density invariant.

    Args:
        metric: any `Metric`, G.
        starts: embeddings of shape `(N, d)`, in the metric's dtype; drawn from with replacement.
        n: number of chains.
        num_iterations, num_steps, step_size: transitions of each chain, leapfrog steps of each
            transition, and their size.
        seed: None draws one from torch's global generator.
        progress: show a bar.

    Returns:
        latent points of shape `(n, d)`.

    Raises:
        ValueError: for starts that are not finite or not of shape `(N, d)`, and counts below 1.

    Source: Chadebec, Allassonnière, *A geometric perspective on variational autoencoders*, 2022.

    >>> from pyrogeo.geometry import Euclidean
    >>> paper_protocol(Euclidean(), torch.zeros(3, 2), 5, num_iterations=2).shape
    torch.Size([5, 2])
    """
    if not torch.is_tensor(starts) or starts.dim() != 2 or len(starts) == 0:
        got = tuple(starts.shape) if torch.is_tensor(starts) else type(starts)
        raise ValueError(f"starts: expected embeddings of shape (N, d), got {got}")
    if not torch.isfinite(starts).all():
        raise ValueError("starts: expected finite numbers, got NaN or infinite values")
    if min(n, num_iterations, num_steps) < 1 or not step_size > 0:
        raise ValueError(
            "expected n, num_iterations and num_steps of at least 1 and a positive step_size, got "
            f"{n}, {num_iterations}, {num_steps} and {step_size}"
        )
    with forked(fresh_seed(seed), starts.device), torch.no_grad():
        z = starts[torch.randint(len(starts), (n,), device=starts.device)]
        state = State(z, *metric.log_volume_element_and_grad(z))
        for _ in tqdm(range(num_iterations), desc="protocol", disable=not progress):
            state, _ = hmc(metric.log_volume_element_and_grad, state, step_size, num_steps)
    return state.z

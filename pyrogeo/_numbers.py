"""Floating-point numbers far out, where squares overflow: densities are zero there, and their gradients too."""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["is_far_out", "log_sum_exp", "zero_far_out"]

_SHARE = 0.4  # of the largest exponent, which leaves room for factors and sums of squares


def is_far_out(z: Tensor) -> Tensor:
    """Which of the points `(*, d)` lie where squares overflow, shape `(*,)`: at 2.6e15 in float32, 2e123 in float64.

    NaN does not: it is for whoever looks at it to refuse.

    >>> is_far_out(torch.tensor([[1.0, 2.0], [1.0, -1e20]]))
    tensor([False,  True])
    """
    far: Tensor = z.detach().abs().amax(-1) > torch.finfo(z.dtype).max ** _SHARE
    return far


def zero_far_out(log_density: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """A log-density at points `(*, d)`, and −∞ with a gradient of zero where they are far out.

    >>> zero_far_out(lambda z: -0.5 * z.square().sum(-1), torch.tensor([[2.0], [1e20]]))
    tensor([-2., -inf])
    """
    far = is_far_out(z)
    if not far.any():
        return log_density(z)
    return log_density(z.masked_fill(far[..., None], 0.0)).masked_fill(far, -torch.inf)


def log_sum_exp(x: Tensor) -> Tensor:
    """log Σₖ exp xₖ over the last dimension, with a gradient of zero where all are −∞.

    Torch's own gradient is NaN there.

    >>> x = torch.full((2,), -torch.inf, requires_grad=True)
    >>> torch.autograd.grad(log_sum_exp(x), x)
    (tensor([0., 0.]),)
    """
    none = (x.detach() == -torch.inf).all(-1)
    if not none.any():
        return x.logsumexp(-1)
    return x.masked_fill(none[..., None], 0.0).logsumexp(-1).masked_fill(none, -torch.inf)

"""Autoregressive flows: a normal law pushed through networks in which each coordinate sees only those
before it.

A block is affine in each coordinate, x ↦ y = μ + e^α x, with μ and α read by a masked network (MADE).
If the network reads the coordinates of y before the present one, then y ↦ x is one pass and x ↦ y as
many as there are dimensions: the *masked* flow. If it reads those of x, it is the other way round: the
*inverse* flow. The two are one block, used in opposite directions.

Pyro's `AffineAutoregressive` is the same block. It keeps the last pair that it saw, so that after
`z = flow.sample()` the gradient of `flow.log_prob(z)` with respect to z is lost, which is what HMC
and a prior need, and its inverse works in float32 only. Here, its network is used and nothing is kept.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, cast

import torch
from pyro.distributions import TorchDistribution
from pyro.nn import AutoRegressiveNN
from torch import Tensor, nn
from torch.distributions import Normal, constraints

from pyrogeo._numbers import zero_far_out

__all__ = ["AutoregressiveFlow", "FlowNetworks"]

_MOST = 3.0  # |α| stays below: each block scales by 1/20 to 20


class _Block(nn.Module):
    """u ↦ v = μ(u) + e^{α(u)} u and back, μᵢ and αᵢ functions of the coordinates before i in `order`."""

    order: Tensor

    def __init__(self, order: Tensor, hidden: Sequence[int]):
        super().__init__()
        self.register_buffer("order", order)
        d = len(order)
        # Pyro says LongTensor where it means integers.
        permutation: Any = order
        self.network = AutoRegressiveNN(
            d, list(hidden), permutation=permutation, nonlinearity=nn.ELU()
        )

    def forward(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """v and log |det dv/du|, in one pass."""
        mu, alpha = self._coefficients(u)
        return mu + alpha.exp() * u, alpha.sum(-1)

    def inverse(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """u and log |det du/dv|, in d passes: each finds one more coordinate of u."""
        u = torch.zeros_like(v)
        is_next = torch.eye(len(self.order), dtype=torch.bool, device=v.device)
        for i in self.order:
            mu, alpha = self._coefficients(u)
            u = torch.where(is_next[i], (v - mu) * (-alpha).exp(), u)
        return u, -self._coefficients(u)[1].sum(-1)

    def _coefficients(self, u: Tensor) -> tuple[Tensor, Tensor]:
        mu, alpha = self.network(u)
        return mu, _MOST * (alpha / _MOST).tanh()


class FlowNetworks(nn.Module):
    """Blocks in the order from data to noise, after standardisation by `loc` and `scale`.

    Args:
        loc, scale: of the data, shape `(d,)`.
        kind: `"masked"` or `"inverse"`.
        num_blocks, hidden: number of blocks, and units of each one's hidden layers.
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self, loc: Tensor, scale: Tensor, kind: str, num_blocks: int, hidden: Sequence[int]
    ):
        super().__init__()
        self.kind = kind
        self.register_buffer("loc", loc)
        self.register_buffer("scale", scale)
        # Every second block reads the coordinates in the reverse of the order before, as two in the
        # same order leave the coordinate that comes first Gaussian.
        orders = [torch.randperm(len(loc)) for _ in range((num_blocks + 1) // 2)]
        both = [order for pair in orders for order in (pair, pair.flip(0))]
        self.blocks = nn.ModuleList(_Block(order, hidden) for order in both[:num_blocks])
        self.to(loc)

    @property
    def _in_order(self) -> list[_Block]:
        return cast("list[_Block]", list(self.blocks))

    def to_noise(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """What noise made z, shape `(*, d)`, and the log-determinant of the map there, `(*,)`."""
        z = (z - self.loc) / self.scale
        total = -self.scale.log().sum()
        for block in self._in_order:
            z, log_det = block(z) if self.kind == "masked" else block.inverse(z)
            total = total + log_det
        return z, total

    def from_noise(self, z: Tensor) -> Tensor:
        for block in reversed(self._in_order):
            z, _ = block.inverse(z) if self.kind == "masked" else block(z)
        return self.loc + self.scale * z

    def log_prob(self, z: Tensor) -> Tensor:
        noise, log_det = self.to_noise(z)
        total: Tensor = Normal(0.0, 1.0, validate_args=False).log_prob(noise).sum(-1) + log_det
        return total


class AutoregressiveFlow(TorchDistribution):
    """What `fit_flow` returns: the law of a flow, whose networks are no longer trained.

    `log_prob` can be differentiated with respect to the points. In d dimensions a masked flow takes one
    pass for it and d for drawing; an inverse flow one for drawing and d for `log_prob`.

    Args:
        networks: of the fitted flow; they are frozen here.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(self, networks: FlowNetworks, validate_args: bool | None = None):
        self.networks = networks.eval().requires_grad_(False)
        super().__init__(event_shape=networks.loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        return zero_far_out(self.networks.log_prob, value)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        loc = self.networks.loc
        shape = self._extended_shape(torch.Size(sample_shape))
        with torch.no_grad():
            return self.networks.from_noise(torch.randn(shape, dtype=loc.dtype, device=loc.device))

"""Reconstruction, for deterministic guides, with the regularisation of the RAE."""

import math
from collections.abc import Callable
from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor
from torch.autograd import forward_ad

from pyrogeo._checks import not_negative, real_or_nan, whole
from pyrogeo.vae.objectives.base import (
    Objective,
    Program,
    decoded,
    latent_site,
    observed_site,
    weighted_count,
)

__all__ = ["Reconstruction", "squared_jacobian"]


class Reconstruction(Objective):
    """−Σᵢ [log p(xᵢ|zᵢ) + β log p(zᵢ)] + N (weight_decay ‖θ‖² + gradient_penalty · mean‖∂x̂ᵢ/∂zᵢ‖²).

    With `vae.beta = 0` it is an autoencoder's loss; under a standard normal prior β log p(z) is the
    RAE's −(β/2)‖z‖², up to a constant. There is no entropy term, so guides may be deterministic;
    one that is not is driven towards its mode.

    Args:
        weight_decay: factor of the sum of squares of the model's parameters θ, those of the
            likelihood and of a prior that has some.
        gradient_penalty: factor of the squared Frobenius norm of the decoder's Jacobian, the mean
            x̂ of p(x|z) by z.
        directions: the norm is exact, by one forward-mode derivative along each of z's d axes at
            the cost of d decodings; with a number, so many random directions among the pixels estimate it
            without bias, each at the cost of a backward pass.

    Raises:
        ValueError: for factors that are negative or infinite.

    Source: Ghosh, Sajjadi, Vergari, Black, Schölkopf, *From variational to deterministic
    autoencoders*, 2020.

    >>> import pyrogeo as pg
    >>> vae = pg.VAE(pg.priors.StandardNormal(2), pg.guides.Deterministic(pg.networks.mlp(5, 2)),
    ...              pg.likelihoods.Normal(pg.networks.mlp(2, 5)), beta=0.0)
    >>> loss = Reconstruction(gradient_penalty=0.1).loss(vae.model, vae.guide, torch.zeros(10, 5))
    >>> loss > Reconstruction().loss(vae.model, vae.guide, torch.zeros(10, 5))
    True
    """

    needs_entropy = False

    def __init__(
        self,
        *,
        weight_decay: float = 0.0,
        gradient_penalty: float = 0.0,
        directions: int | None = None,
    ):
        super().__init__()
        self.weight_decay = factor("weight_decay", weight_decay)
        self.gradient_penalty = factor("gradient_penalty", gradient_penalty)
        self.directions = None if directions is None else whole("directions", directions)
        self.reads_parameters = self.weight_decay > 0

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        model_trace, _ = self._get_trace(model, guide, args, kwargs)
        loss = torch.as_tensor(-model_trace.log_prob_sum())
        count = weighted_count(observed_site(model_trace))
        if self.weight_decay:
            loss = loss + count * self.weight_decay * _sum_of_squares(model_trace)
        if self.gradient_penalty:
            z = latent_site(model_trace)
            squares = squared_jacobian(
                lambda value: decoded(model, args, kwargs, z["name"], value),
                z["value"],
                self.directions,
            )
            loss = loss + count * self.gradient_penalty * squares.mean()
        return loss


def squared_jacobian(
    function: Callable[[Tensor], Tensor], z: Tensor, directions: int | None = None
) -> Tensor:
    """‖∂f(zᵢ)/∂zᵢ‖² for each point, itself differentiable.

    Args:
        function: from `(*, B, d)` to `(*, B, *event)`, each point for itself.
        z: points, shape `(B, d)`.
        directions: None for the exact value, by forward-mode derivatives along the d axes; a number
            for so many Gaussian u among the values of f, of which E‖Jᵀu‖² = ‖J‖², by reverse mode.

    Returns:
        shape `(B,)`.

    >>> squared_jacobian(torch.sin, torch.zeros(3, 2))
    tensor([2., 2., 2.])
    """
    if directions is None:
        return _along_axes(function, z)
    with torch.enable_grad():
        z = z if z.requires_grad else z.detach().requires_grad_()
        values = function(z)
        if not values.requires_grad:  # the function does not depend on anything
            return z.new_zeros(len(z))
        options: dict[str, Any] = {
            "create_graph": True,
            "allow_unused": True,
            "materialize_grads": True,
        }
        pulled = (
            torch.autograd.grad(values, z, torch.randn_like(values), **options)[0]
            for _ in range(directions)
        )
        total = sum((gradient.square().sum(-1) for gradient in pulled), z.new_zeros(()))
        return total / directions


def _along_axes(function: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    n, d = z.shape
    v = torch.eye(d, dtype=z.dtype, device=z.device)[:, None].expand(d, n, d)
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(z.expand(v.shape).clone(), v.clone())
        tangent: Tensor | None = forward_ad.unpack_dual(function(dual)).tangent
    if tangent is None:  # the function does not depend on z
        return z.new_zeros(n)
    return tangent.square().sum(0).reshape(n, -1).sum(1)


def _sum_of_squares(model_trace: Trace) -> Tensor:
    values = [model_trace.nodes[name]["value"] for name in model_trace.param_nodes]
    return sum((value.square().sum() for value in values if value is not None), torch.zeros(()))


def factor(name: str, value: float) -> float:
    """A number that is finite and not negative, or a ValueError."""
    if math.isnan(real_or_nan(value)):
        raise ValueError(f"{name} must be a number, got {value!r}")
    return not_negative(name, value)

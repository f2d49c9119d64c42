"""The metric that a decoder induces: how far its output moves when z does."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import (
    Bernoulli,
    Categorical,
    Cauchy,
    ContinuousBernoulli,
    Distribution,
    HalfCauchy,
    Independent,
    Normal,
    Poisson,
)

from pyrogeo.geometry.metrics.base import Metric

__all__ = ["Pullback"]

_DIFFERENT_IN_TRAINING = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)


class Pullback(Metric):
    """G(z) = J(z)ᵀ W(z) J(z), J the Jacobian of a decoder by `torch.func.jvp`.

    W is the identity, so that ‖v‖ is how far the decoded mean moves in data space; or, with `fisher`, the
    Fisher information of the decoded distribution, so that ‖v‖²/2 is, to second order, the
    Kullback–Leibler divergence between the distributions at z and z + v.

    Args:
        decoder: from `(B, d)` to a tensor or a distribution of batch shape `(B, *)`, each row by itself.
            A module's parameters go with the metric; of a VAE, pass `vae.eval().likelihood`. Geodesics
            need smooth activations, such as `Tanh` or `Softplus`: with a `ReLU` the metric jumps.
        fisher: needs a distribution: `Normal` (location and scale), `Bernoulli`, `ContinuousBernoulli`
            or `Poisson`, or an `Independent` one of those.

    Raises:
        ValueError: when it is evaluated, for a decoder that cannot be differentiated forward, keeps no
            graph where derivatives of G are wanted (as `vae.decode` does), has batch norm or dropout in
            training mode, returns another number of rows, or has no Fisher information here.

    Source: Arvanitidis, Hansen, Hauberg, *Latent space oddity*, 2018; Arvanitidis et al., *Pulling back
    information geometry*, 2022.

    >>> Pullback(lambda z: torch.cat([z, 2 * z], -1))(torch.zeros(1, 2))
    tensor([[[5., 0.],
             [0., 5.]]])
    """

    def __init__(self, decoder: Callable[[Tensor], Tensor | Distribution], fisher: bool = False):
        super().__init__()
        if not callable(decoder):
            raise ValueError(f"decoder: expected a module or function, got {type(decoder)}")
        self.decoder, self.fisher = decoder, fisher

    def forward(self, z: Tensor) -> Tensor:
        flat = z.reshape(-1, z.shape[-1])
        basis = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        columns = [self._push(flat, e.expand_as(flat)) for e in basis]
        jacobian, weight = torch.stack([pushed for pushed, _ in columns], -2), columns[0][1]
        g = (jacobian * weight[:, None]) @ jacobian.mT
        return (0.5 * (g + g.mT)).reshape(*z.shape, z.shape[-1])

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        same = u is v
        z, u, v = torch.broadcast_tensors(z, u, v)
        flat = z.reshape(-1, z.shape[-1])
        left, weight = self._push(flat, u.reshape(flat.shape))
        right = left if same else self._push(flat, v.reshape(flat.shape))[0]
        return (left * weight * right).sum(-1).reshape(z.shape[:-1])

    def _push(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """J v and the diagonal of W, of shape `(B, m)`."""
        self._check_mode()
        z, v = z.contiguous(), v.contiguous()  # jvp takes no expanded tensors
        try:
            (place, weight), (pushed, _) = torch.func.jvp(self._coordinates, (z,), (v,))[:2]
        except (RuntimeError, NotImplementedError) as error:
            self._coordinates(z)  # which says so if the decoder does not work at all
            raise ValueError(
                f"the decoder, {self._name}, cannot be differentiated in forward mode "
                f"(torch.func.jvp): {error}"
            ) from error
        if torch.is_grad_enabled() and z.requires_grad and not place.requires_grad:
            raise ValueError(
                f"the decoder, {self._name}, keeps no graph, so that G cannot be differentiated: "
                "expected one without torch.no_grad() or detach(), such as vae.likelihood"
            )
        return pushed, weight

    @property
    def _name(self) -> str:
        return getattr(self.decoder, "__qualname__", type(self.decoder).__name__)

    def _check_mode(self) -> None:
        for module in self.decoder.modules() if isinstance(self.decoder, nn.Module) else ():
            if module.training and isinstance(module, _DIFFERENT_IN_TRAINING):
                raise ValueError(
                    f"the decoder's {type(module).__name__} is in training mode, in which rows are "
                    "not decoded each by itself: expected decoder.eval()"
                )

    def _coordinates(self, z: Tensor) -> tuple[Tensor, Tensor]:
        decoded = self.decoder(z)
        if not self.fisher:
            mean = _mean(decoded) if isinstance(decoded, Distribution) else decoded
            pairs = [(mean, torch.ones_like(mean))]
        else:
            pairs = _fisher_information(decoded)
        for parameter, _ in pairs:
            if parameter.shape[:1] != z.shape[:1]:
                raise ValueError(
                    f"decoder: expected {len(z)} rows for {len(z)} points, got shape "
                    f"{tuple(parameter.shape)}"
                )
        place, weight = (
            torch.cat([p.flatten(1) for p in parts], 1) for parts in zip(*pairs, strict=True)
        )
        return place, weight


def _mean(decoded: Distribution) -> Tensor:
    base = decoded
    while isinstance(base, Independent):
        base = base.base_dist
    if isinstance(base, (Categorical, Cauchy, HalfCauchy)):
        raise ValueError(
            f"decoder: a {type(base).__name__} distribution has no mean to pull back; expected a function of z "
            "that gives numbers, such as its logits"
        )
    return decoded.mean


def _fisher_information(decoded: Tensor | Distribution) -> list[tuple[Tensor, Tensor]]:
    """Parameters in which the information is diagonal, and its diagonal."""
    while isinstance(decoded, Independent):
        decoded = decoded.base_dist
    if isinstance(decoded, Normal):
        precision = decoded.scale**-2
        return [(decoded.loc, precision), (decoded.scale, 2 * precision)]
    if isinstance(decoded, (Bernoulli, ContinuousBernoulli)):
        return [(decoded.logits, decoded.variance)]
    if isinstance(decoded, Poisson):
        return [(decoded.rate.log(), decoded.rate)]
    raise ValueError(
        "fisher=True: expected a decoder that returns a Normal, Bernoulli, ContinuousBernoulli or Poisson "
        f"distribution, got {type(decoded)}"
    )

"""The Wasserstein autoencoder's objective with the maximum mean discrepancy."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from pyrogeo._checks import positive
from pyrogeo.vae.objectives.base import (
    Objective,
    Program,
    latent_site,
    observed_site,
    weighted_count,
)
from pyrogeo.vae.objectives.reconstruction import factor

__all__ = ["WassersteinMMD", "imq", "mmd", "rbf"]

Kernel = Callable[[Tensor, Tensor], Tensor]


class WassersteinMMD(Objective):
    """−Σᵢ log p(xᵢ|zᵢ) + N · weight · MMD²(q(z), p(z)), zᵢ ~ q(z|xᵢ), q(z) the batch's draws.

    The guide may be deterministic. The prior's draws are as many as the batch's; the estimator is
    unbiased, so values below 0 occur. β plays no part: `weight` has its place.

    Args:
        kernel: `"imq"`, `"rbf"`, or a function of points `(n, d)` and `(m, d)` to `(n, m)`.
        weight: factor, in nats for each datum.
        scale: of the named kernels, in standard deviations of the prior's coordinates; of several,
            the kernels' mean is taken.

    Raises:
        ValueError: for an unknown kernel or bad numbers, and from its methods for a batch of one.

    Source: Tolstikhin, Bousquet, Gelly, Schölkopf, *Wasserstein auto-encoders*, 2018.

    >>> import pyrogeo as pg
    >>> vae = pg.VAE(pg.priors.StandardNormal(2), pg.guides.Deterministic(pg.networks.mlp(5, 2)),
    ...              pg.likelihoods.Normal(pg.networks.mlp(2, 5)))
    >>> WassersteinMMD(weight=5).differentiable_loss(vae.model, vae.guide, torch.zeros(10, 5)).shape
    torch.Size([])
    """

    uses_beta = False
    needs_entropy = False

    def __init__(
        self,
        kernel: str | Kernel = "imq",
        weight: float = 10.0,
        scale: float | Sequence[float] = 1.0,
    ):
        super().__init__()
        self.weight = factor("weight", weight)
        self.kernel = kernel if callable(kernel) else _named(kernel, scale)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        model_trace, _ = self._get_trace(model, guide, args, kwargs)
        x, z = observed_site(model_trace), latent_site(model_trace)
        discrepancy = mmd(z["value"], z["fn"](), self.kernel)
        value: Tensor = -x["log_prob_sum"] + weighted_count(x) * self.weight * discrepancy
        return value


def mmd(a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
    """Σ_{i≠j} k(aᵢ, aⱼ) / n(n−1) + Σ_{i≠j} k(bᵢ, bⱼ) / m(m−1) − 2 Σᵢⱼ k(aᵢ, bⱼ) / nm: MMD² without bias.

    Args:
        a, b: points, shapes `(n, d)` and `(m, d)`.
        kernel: from both to `(n, m)`.

    Raises:
        ValueError: for fewer than two points.

    Source: Gretton et al., *A kernel two-sample test*, 2012, Eq. 3.

    >>> a = torch.zeros(5, 2)
    >>> mmd(a, a, rbf).item()
    0.0
    """
    if min(len(a), len(b)) < 2:
        raise ValueError(f"MMD needs at least two points of each law, got {len(a)} and {len(b)}")
    return _between(a, kernel) + _between(b, kernel) - 2 * kernel(a, b).mean()


def _between(a: Tensor, kernel: Kernel) -> Tensor:
    k = kernel(a, a)
    return (k.sum() - k.diagonal().sum()) / (len(a) * (len(a) - 1))


def imq(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
    """The inverse multiquadric C / (C + ‖a − b‖²), C = 2 d scale²: heavy tails, so far points count.

    Args:
        a, b: points, shapes `(n, d)` and `(m, d)`; the result has shape `(n, m)`.
        scale: in units of latent space.

    >>> imq(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    tensor([[1.0000, 0.5000]])
    """
    c = 2 * a.shape[-1] * scale**2
    return c / (c + _squared_distances(a, b))


def rbf(a: Tensor, b: Tensor, scale: float = 1.0) -> Tensor:
    """The Gaussian kernel exp(−‖a − b‖² / C), C = 2 d scale².

    Args:
        a, b, scale: as in `imq`.

    >>> rbf(torch.zeros(1, 2), torch.tensor([[0.0, 0.0], [2.0, 0.0]]))
    tensor([[1.0000, 0.3679]])
    """
    return (-_squared_distances(a, b) / (2 * a.shape[-1] * scale**2)).exp()


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    # By differences: a batch is small, and matrix products lose digits where points are close.
    return (a[:, None] - b).square().sum(-1)


def _named(kernel: str, scale: float | Sequence[float]) -> Kernel:
    kernels = {"imq": imq, "rbf": rbf}
    if kernel not in kernels:
        raise ValueError(f"kernel: expected imq, rbf or a function, got {kernel!r}")
    several = tuple(scale) if isinstance(scale, Sequence) else (scale,)
    if not several:
        raise ValueError(f"scale must be positive and finite, got {scale!r}")
    scales = tuple(positive("scale", s) for s in several)
    return partial(_mean_kernel, kernels[kernel], scales)


def _mean_kernel(
    kernel: Callable[..., Tensor], scales: tuple[float, ...], a: Tensor, b: Tensor
) -> Tensor:
    return torch.stack([kernel(a, b, scale) for scale in scales]).mean(0)

"""Data at the door: what came, what was expected, before any long work."""

from collections.abc import Callable
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo._random import forked
from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import is_deterministic
from pyrogeo.vae.training.batches import Batches

__all__ = ["check_batches", "check_data", "check_entropy"]


def check_batches(vae: VAE, batches: Batches, what: str = "data") -> Tensor:
    """Looks at all data that are in memory, and at the first batch of others.

    Returns:
        one datum, of shape `(1, *event)`.

    Raises:
        ValueError: as `check_data`.
    """
    with forked(0, vae.device):
        x = batches.first()
    check_data(vae, x, what if len(x) == batches.size else f"{what}, first batch")
    return x[:1]


def check_data(vae: VAE, x: Tensor, what: str = "data") -> None:
    """Whether guide and likelihood both take `x`, once it is in the VAE's dtype.

    Integers are refused, since whether 255 or 16 is white cannot be known.

    Raises:
        ValueError: for anything else than finite floating-point numbers of shape `(N, *event)` in
            the support of the likelihood.
    """
    if not x.is_floating_point():
        raise ValueError(
            f"{what}: expected floating-point numbers, got {x.dtype}; for images of bytes, "
            "x.float() / 255"
        )
    if x.dim() < 2 or x.numel() == 0:
        raise ValueError(f"{what}: expected shape (N, *event) with N ≥ 1, got {tuple(x.shape)}")
    x = x.to(vae.dtype)
    bad = (~torch.isfinite(x)).sum().item()
    if bad:
        raise ValueError(f"{what}: expected finite numbers, got {bad} NaN or infinite values")
    with forked(0, vae.device):
        _check_parts(vae, x, what)


def check_entropy(vae: VAE, x: Tensor, objective: Any) -> None:
    """Refuses a deterministic guide under an ELBO that needs entropy; `x` is a datum or more."""
    with forked(0, vae.device):
        q = vae.embed(x[:1])
    if is_deterministic(q):
        raise ValueError(
            f"objective: a deterministic guide under an ELBO that needs entropy, "
            f"{type(objective).__name__}; take objectives.Reconstruction, WassersteinMMD or "
            "LatentAdversarial"
        )


def _check_parts(vae: VAE, x: Tensor, what: str) -> None:
    event = tuple(x.shape[1:])
    q = _made("guide", f"{what}: the guide does not take events of shape {event}", vae.embed, x[:1])
    if tuple(q.batch_shape) != (1,):
        raise ValueError(
            f"{what}: the guide does not take events of shape {event}: for one datum it has batch "
            f"shape {tuple(q.batch_shape)}, expected (1,)"
        )
    if q.event_shape != vae.prior().event_shape:
        raise ValueError(
            f"the guide draws latent points of shape {tuple(q.event_shape)}, the prior of "
            f"{tuple(vae.prior().event_shape)}"
        )
    z = q.sample()
    likelihood = _made(
        "likelihood", "the likelihood does not take the guide's points", vae.decode, z
    )
    if tuple(likelihood.event_shape) != event:
        raise ValueError(
            f"{what}: the likelihood expects events of shape {tuple(likelihood.event_shape)}, "
            f"got {event}"
        )
    support: Any = likelihood.support
    inside = [support.check(batch.to(vae.device)).all() for batch in x.split(4096)]
    if not all(inside):
        raise ValueError(
            f"{what}: {type(vae.likelihood).__name__} expects values in {_support_of(likelihood)}, "
            f"got {x.min():.4g} to {x.max():.4g}"
        )


def _made(part: str, problem: str, call: Callable[..., Any], argument: Tensor) -> Distribution:
    """What a part makes of one datum, if that is a Pyro distribution."""
    try:
        made = call(argument)
    except Exception as error:  # a user's network raises what it likes
        raise ValueError(f"{problem}: {type(error).__name__}: {error}") from error
    if not isinstance(made, TorchDistributionMixin):
        raise ValueError(f"the {part} must return a Pyro distribution, got {type(made)}")
    return made


def _support_of(likelihood: Distribution) -> str:
    """For a message: its bounds, if it has some."""
    base: Any = getattr(likelihood.support, "base_constraint", likelihood.support)
    if hasattr(base, "lower_bound") and hasattr(base, "upper_bound"):
        return f"[{base.lower_bound:g}, {base.upper_bound:g}]"
    return str(base)

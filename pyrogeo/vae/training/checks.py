"""Data at the door: what came, what was expected, before any long work."""

import contextlib
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyro
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.constraints import Constraint

from pyrogeo._checks import in_one_line
from pyrogeo._random import forked
from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import is_deterministic
from pyrogeo.vae.training.batches import Batches
from pyrogeo.vae.training.scales import check_scales

__all__ = ["check_batches", "check_data", "check_entropy", "check_objective"]


_TRIED = 1024  # data with missing values that the parts are tried on
_OTHERS = (
    "take Trace_ELBO(), RenyiELBO(), or one of pyrogeo.objectives such as IWAE(num_particles=5)"
)


def check_batches(vae: VAE, batches: Batches, what: str = "data") -> Tensor:
    """Looks at all data that are in memory, and at the first batch of others.

    Returns:
        a batch of them, of shape `(B, *event)`.

    Raises:
        ValueError: as `check_data`.
    """
    with forked(0, vae.device):
        x = batches.first()
    check_data(vae, x, what if len(x) == batches.size else f"{what}, first batch")
    return x[: batches.batch_size or len(x)]


def check_data(vae: VAE, x: Tensor, what: str = "data") -> None:
    """Whether guide and likelihood both take `x`, once it is in the VAE's dtype.

    Integers are taken where the likelihood is one of integers, since otherwise whether 255 or 16 is white
    cannot be known. NaN is a missing value, where both parts stay finite with it.

    Raises:
        ValueError: for anything else than numbers of shape `(N, *event)` in the support of the likelihood.
    """
    if x.dim() < 2 or x.numel() == 0:
        raise ValueError(f"{what}: expected shape (N, *event) with N ≥ 1, got {tuple(x.shape)}")
    if not x.is_floating_point():
        x = _made_of_integers(vae, x, what)
    x = x.to(vae.dtype)
    missing, infinite = (int(count(x).sum()) for count in (torch.isnan, torch.isinf))
    if infinite:
        raise ValueError(
            f"{what}: expected finite numbers, got {missing + infinite} NaN or infinite values"
        )
    with forked(0, vae.device):
        if missing:
            _check_missing(vae, x, what)
        _check_parts(vae, x, what)


def _made_of_integers(vae: VAE, x: Tensor, what: str) -> Tensor:
    try:
        return vae.from_integers(x)
    except Exception as error:  # a user's likelihood raises what it likes
        raise ValueError(f"{what}: {error}") from error


def _check_missing(vae: VAE, x: Tensor, what: str) -> None:
    """Refuses NaN, unless guide and likelihood are finite with them."""
    rows = x[x.isnan().flatten(1).any(1)][:_TRIED]
    try:
        z = vae.embed(rows).sample()
        log_prob = vae.decode(z).log_prob(rows.to(vae.device))
    except Exception as error:  # torch's distributions, or a user's network
        reason = in_one_line(error)
    else:
        if z.isfinite().all() and log_prob.isfinite().all():
            return
        reason = f"the {'likelihood' if z.isfinite().all() else 'guide'} makes NaN of them"
    raise ValueError(
        f"{what}: expected finite numbers, got {int(x.isnan().sum())} NaN or infinite values; for missing values "
        "take a guide that sees x.nan_to_num() and x.isnan(), and a likelihood such as "
        f"pyro.distributions.NanMaskedNormal ({reason})"
    )


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


def check_objective(vae: VAE, x: Tensor, objective: Any) -> None:
    """Refuses an objective whose loss is no number, and whatever its loss raises; `x` is a batch.

    The loss says which epoch is best, and when training breaks down. So an objective that has gradients only,
    as `TraceTailAdaptive_ELBO`, or one loss for each program, as `ReweightedWakeSleep`, cannot be trained
    with here.
    """
    name = type(objective).__name__
    x = x.to(vae.device, vae.dtype)
    try:
        with _aside(vae):
            loss = objective.loss(vae.model, vae.guide, x)
    except Exception as error:  # a user's objective raises what it likes
        # What speaks to its user in ValueErrors says what to do itself.
        others = "" if isinstance(error, ValueError) else f"; {_OTHERS}"
        raise ValueError(
            f"objective: {name} has no loss for these programs: {in_one_line(error)}{others}"
        ) from error
    if isinstance(loss, Tensor) and loss.numel() == 1:
        loss = loss.item()
    if not isinstance(loss, (int, float)):
        got = f"a {type(loss).__name__} of {len(loss)}" if isinstance(loss, tuple) else type(loss)
        raise ValueError(f"objective: the loss of {name} is not one number but {got}; {_OTHERS}")


@contextlib.contextmanager
def _aside(vae: VAE) -> Iterator[None]:
    """What is tried here leaves no trace: neither in the random state, nor with Pyro, nor in a batch norm."""
    with (
        forked(0, vae.device),
        pyro.get_param_store().scope(),
        torch.inference_mode(False),
        vae.evaluating(),  # without gradients, which the last line would allow again
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # they come again, with the first step
        yield


def _check_parts(vae: VAE, x: Tensor, what: str) -> None:
    event = tuple(x.shape[1:])
    check_scales(vae, x, what)
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
    support = _support(likelihood)
    usual = likelihood.sample()  # stands for what is missing
    for batch in x.split(4096):
        batch = batch.to(vae.device)
        known = torch.where(batch.isnan(), usual.to(batch), batch)
        if not support.check(known).all():
            raise ValueError(
                f"{what}: {type(vae.likelihood).__name__} expects {_support_of(likelihood)}, got "
                f"{np.nanmin(x.cpu()):.4g} to {np.nanmax(x.cpu()):.4g}"
            )


def _made(part: str, problem: str, call: Callable[..., Any], argument: Tensor) -> Distribution:
    """What a part makes of one datum, if that is a Pyro distribution."""
    try:
        made = call(argument)
    except Exception as error:  # a user's network raises what it likes
        raise ValueError(f"{problem}: {in_one_line(error)}") from error
    if not isinstance(made, TorchDistributionMixin):
        raise ValueError(f"the {part} must return a Pyro distribution, got {type(made)}")
    return made


def _support(likelihood: Distribution) -> Constraint:
    try:
        support: Constraint | None = likelihood.support
    except NotImplementedError:  # as torch leaves it
        support = None
    if support is None:
        raise ValueError(
            f"the likelihood's distribution, {type(likelihood).__name__}, does not say its support, such as "
            "constraints.real_vector"
        )
    return support


def _support_of(likelihood: Distribution) -> str:
    """For a message: its numbers, and their bounds, if it has some."""
    support = _support(likelihood)
    base: Constraint = getattr(support, "base_constraint", support)
    kind = "integers" if base.is_discrete else "values"
    if hasattr(base, "lower_bound") and hasattr(base, "upper_bound"):
        low, high = (_bound(base, name) for name in ("lower_bound", "upper_bound"))
        return f"{kind} in [{low}, {high}]"
    if hasattr(base, "lower_bound"):
        return f"{kind} of at least {_bound(base, 'lower_bound')}"
    return f"{kind} in {base}"


def _bound(constraint: Constraint, name: str) -> str:
    """A bound, of which each number of a datum may have its own."""
    bounds = torch.as_tensor(getattr(constraint, name)).unique().tolist()
    return f"{bounds[0]:g}" if len(bounds) == 1 else f"{bounds[0]:g} … {bounds[-1]:g}"

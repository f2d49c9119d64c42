"""Long inputs in pieces, and the pieces' distributions put together again."""

from collections.abc import Iterator
from typing import Any

import pyro.distributions as dist
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

from pyrogeo._checks import whole
from pyrogeo.vae.likelihoods import GreyBernoulli

__all__ = ["batched", "joined"]


def batched(x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Slices of at most `batch_size` rows; an empty input is refused."""
    batch_size = whole("batch_size", batch_size)
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"expected data of shape (N, *event) with N ≥ 1, got {tuple(x.shape)}")
    return iter(x.split(batch_size))


def joined(parts: list[Distribution]) -> Distribution | None:
    """One distribution from those of consecutive batches, along the first batch dimension.

    None for kinds whose every detail is not known to be in the listed tensors (a flow with parameters of
    each datum, a class of the user's own).
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Independent):
        independent: list[Any] = parts
        base = joined([part.base_dist for part in independent])
        return None if base is None else type(first)(base, first.reinterpreted_batch_ndims)
    if type(first) is dist.Delta:
        v, log_density = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("v", "log_density")
        )
        return dist.Delta(v, log_density, event_dim=len(first.event_shape))
    names = _PARAMETERS.get(type(first))
    if names is None or getattr(first, "_lims", _LIMS) != _LIMS:
        return None
    options: dict[str, Any] = {
        name: torch.cat([getattr(part, name) for part in parts]) for name in names
    }
    return type(first)(**options)


_LIMS = (0.499, 0.501)  # between which a ContinuousBernoulli is expanded, by default
_PARAMETERS: dict[type, tuple[str, ...]] = {GreyBernoulli: ("logits",)}
for _library in (dist, torch.distributions):
    _PARAMETERS |= {
        _library.Normal: ("loc", "scale"),
        _library.Laplace: ("loc", "scale"),
        _library.MultivariateNormal: ("loc", "scale_tril"),
        _library.Bernoulli: ("logits",),
        _library.ContinuousBernoulli: ("logits",),
    }

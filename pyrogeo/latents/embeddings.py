"""Embeddings at the door of what is fitted to them: shapes, splits, standardisation."""

import torch
from torch import Tensor

from pyrogeo._checks import share
from pyrogeo._random import forked

__all__ = ["check_embeddings", "split", "standardisation"]


def check_embeddings(z: Tensor, at_least: int) -> None:
    if not torch.is_tensor(z) or not z.is_floating_point():
        got = z.dtype if torch.is_tensor(z) else type(z)
        raise ValueError(f"z: expected a floating-point tensor of embeddings (N, d), got {got}")
    if z.dim() != 2 or z.shape[1] == 0:
        raise ValueError(f"z: expected embeddings of shape (N, d), got {tuple(z.shape)}")
    if len(z) < at_least:
        raise ValueError(f"z: expected at least {at_least} embeddings, got {len(z)}")
    bad = (~torch.isfinite(z)).sum().item()
    if bad:
        raise ValueError(f"z: expected finite numbers, got {bad} NaN or infinite values")


def split(z: Tensor, validation: float, seed: int) -> tuple[Tensor, Tensor]:
    part = share("validation", validation)
    with forked(seed):
        order = torch.randperm(len(z)).to(z.device)
    n = min(max(1, round(part * len(z))), len(z) - 2)
    return z[order[n:]], z[order[:n]]


def standardisation(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate."""
    loc, scale = z.mean(0), z.std(0)
    constant = (scale <= torch.finfo(z.dtype).eps * z.abs().amax(0)).nonzero().flatten().tolist()
    if constant:
        raise ValueError(
            f"z: coordinates {constant} have the same value in every embedding, so that there is no "
            "density; leave them out"
        )
    return loc, scale

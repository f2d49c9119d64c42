"""Long inputs in pieces, and the pieces' distributions put together again."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent

__all__ = ["batched", "joined"]


def batched(x: Tensor, batch_size: int) -> Iterator[Tensor]:
    """Slices of at most `batch_size` rows; an empty input is refused."""
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    if x.dim() == 0 or len(x) == 0:
        raise ValueError(f"expected data of shape (N, *event) with N ≥ 1, got {tuple(x.shape)}")
    return iter(x.split(batch_size))


def joined(parts: list[Distribution]) -> Distribution | None:
    """One distribution from those of consecutive batches, along the first batch dimension.

    None for a distribution that is more than its tensors (a flow with parameters of each datum).
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, Independent):
        base = joined([part.base_dist for part in parts])
        return None if base is None else type(first)(base, first.reinterpreted_batch_ndims)
    names = [name for name in first.arg_constraints if name in vars(first)]
    columns = {name: [getattr(part, name) for part in parts] for name in names}
    if not names or not all(torch.is_tensor(v) for values in columns.values() for v in values):
        return None
    return type(first)(**{name: torch.cat(values) for name, values in columns.items()})

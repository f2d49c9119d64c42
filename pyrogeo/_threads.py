"""Threads by size: two threads that share a small product wait for each other longer than they work."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

__all__ = ["one_thread", "threads_for"]

_LEAST = 0


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch's operations run on one thread within the block; the caller's number is put back.

    The order of a sum, and so its last bit, may depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def threads_for(points: int, module: torch.nn.Module) -> Any:
    """One thread for work below a size, the caller's number above it.

    Args:
        points: that are evaluated together.
        module: each of whose numbers meets each point about once, as in a product (B × 2d)·(2d × K).
    """
    return nullcontext()

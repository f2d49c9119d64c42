"""Threads by size and load: threads that share a small product, or a core, wait for each other by spinning.

Measured by `benchmarks/threads.py` on two cores: alone, two threads take 0.6 to 0.8 of the time of one, but
for the smallest work; beside a process that keeps a core busy they take two to four times as long.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress

import torch

__all__ = ["one_thread", "threads_for"]

_LEAST = 2**20  # multiplications


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


def threads_for(points: int, module: torch.nn.Module) -> AbstractContextManager[None]:
    """One thread for work below a size or while others use the cores, else the caller's number.

    Args:
        points: that are evaluated together.
        module: each of whose numbers meets each point about once, as in a product (B × 2d)·(2d × K).
    """
    numbers = sum(tensor.numel() for tensor in (*module.parameters(), *module.buffers()))
    is_small = points * numbers < _LEAST
    return one_thread() if is_small or _free_cores() < torch.get_num_threads() else nullcontext()


def _free_cores() -> float:
    """Cores that no other process uses at the moment; where that is not known, over the last minute."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    try:
        with open("/proc/loadavg") as file:
            running: float = int(file.read().split()[3].split("/")[0]) - _own_running_threads()
    except OSError:
        running = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    return cores - running


def _own_running_threads() -> int:
    """Threads of this process that run: the caller's, and those that spin after their share of a product.

    Raises:
        OSError: where the system does not say.
    """
    running = 0
    for task in os.listdir("/proc/self/task"):
        with suppress(FileNotFoundError), open(f"/proc/self/task/{task}/stat") as file:
            # The name, in brackets, may hold anything; the state follows the last bracket.
            running += file.read().rpartition(")")[2].split()[0] == "R"
    return running

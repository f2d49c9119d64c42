"""One seed, one result, and the caller's random state left as it was."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch

__all__ = ["continued", "derived_seed", "forked", "fresh_seed"]


def fresh_seed(seed: int | None) -> int:
    """`seed` itself, or one drawn from torch's global generator, so that
    `torch.manual_seed` makes unseeded calls reproducible too."""
    if seed is None:
        return int(torch.randint(2**31, ()))
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1 or None, got {seed!r}")
    return int(seed)


def derived_seed(*words: int) -> int:
    """An integer that depends on all `words`: independent streams for (seed, chain) or (seed, epoch)."""
    return int(np.random.SeedSequence(words).generate_state(1, np.uint64)[0]) >> 1


@contextlib.contextmanager
def forked(seed: int | None, device: torch.device | str = "cpu") -> Iterator[None]:
    """Seeds torch within the block and puts the caller's random state back; with None does nothing."""
    if seed is None:
        yield
        return
    device = torch.device(device)
    devices = [device] if device.type not in ("cpu", "meta") else []
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        torch.manual_seed(seed)
        yield


@contextlib.contextmanager
def continued(generator: torch.Generator) -> Iterator[None]:
    """Torch's global generator goes on where `generator` is within the block, and `generator` after it.

    So code that knows the global generator only, such as a distribution's `sample`, draws from one's own.
    """
    device = generator.device
    devices = [device] if device.type != "cpu" else []
    get, put = torch.get_rng_state, torch.set_rng_state
    if devices:
        module = getattr(torch, device.type)
        get, put = module.get_rng_state, module.set_rng_state
    with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
        put(generator.get_state(), *devices)
        yield
        generator.set_state(get(*devices))

"""Where chains are run: in turn, or by joblib's workers.

Joblib's own workers are processes (loky). `joblib.parallel_config` around a call puts Dask or Ray in
their place. A chain has its seed and one thread, so that its draws are the same everywhere.
"""

import threading
from collections.abc import Generator
from contextlib import closing

import joblib
from joblib.parallel import get_active_backend

from pyrogeo.sampling.chains import Chain, Draw, Emit, run_chain

try:
    import cloudpickle
except ImportError:  # joblib before 1.6 brings its own
    from joblib.externals import cloudpickle

__all__ = ["in_turn", "in_workers", "workers"]

# Chains seed torch's one generator: an engine of threads runs them one by one.
_ALONE = threading.Lock()


def in_turn(chains: list[Chain], emit: Emit, num_workers: int = 1) -> None:
    """Runs the chains here, and calls `emit(number, warmup, draw)` after every transition."""
    for number, chain in enumerate(chains):
        run_chain(number, chain, emit)


def in_workers(chains: list[Chain], emit: Emit, num_workers: int) -> None:
    """The same by joblib; a chain is emitted when all of it has come in.

    Raises:
        ValueError: for parts that cannot be sent to a worker.
        RuntimeError: for what goes wrong in one.
    """
    _check_parts(chains[0])
    with closing(_finished(chains, min(num_workers, len(chains)))) as finished:
        for number, draws in finished:
            for warmup, draw in draws:
                emit(number, warmup, draw)


def workers(num_workers: int) -> int:
    """How many there will be; of one, a surrounding `joblib.parallel_config` may make more."""
    number: int = joblib.effective_n_jobs(_n_jobs(num_workers))
    return number


def _n_jobs(num_workers: int) -> int | None:
    """Joblib's setting; None is whatever was configured around, and otherwise one."""
    return num_workers if num_workers > 1 else None


def _finished(
    chains: list[Chain], num_workers: int
) -> Generator[tuple[int, list[tuple[bool, Draw]]], None, None]:
    """Number and draws of each chain, as they come in where the backend can do that."""
    backend, _ = get_active_backend()
    streams = getattr(backend, "supports_return_generator", False)
    return_as = "generator_unordered" if streams else "list"
    tasks = (joblib.delayed(_whole_chain)(*numbered) for numbered in enumerate(chains))
    try:
        yield from joblib.Parallel(_n_jobs(num_workers), return_as=return_as)(tasks)
    except Exception as error:  # the worker's own, or joblib's for one that died
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise RuntimeError(f"a worker failed: {reason}") from error


def _whole_chain(number: int, chain: Chain) -> tuple[int, list[tuple[bool, Draw]]]:
    draws: list[tuple[bool, Draw]] = []
    with _ALONE:
        run_chain(number, chain, lambda _, warmup, draw: draws.append((warmup, draw)))
    return number, draws


def _check_parts(chain: Chain) -> None:
    for name, part in {"density": chain.potential, "kernel": chain.kernel}.items():
        try:
            cloudpickle.dumps(part)
        except Exception as error:  # pickle raises many things
            raise ValueError(
                f"{name}: num_workers > 1 needs parts that can be pickled: {error}"
            ) from error

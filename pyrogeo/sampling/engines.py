"""Where chains are run: in turn, or by joblib's workers.

Joblib's own workers are processes (loky). `joblib.parallel_config` around a call puts Dask or Ray in
their place. A chain has its seed and one thread, so that its draws are the same everywhere.
"""

import re
import threading
import warnings
from collections.abc import Generator
from contextlib import closing

import joblib
from joblib.parallel import get_active_backend
from tqdm.std import tqdm

from pyrogeo._checks import in_one_line
from pyrogeo.sampling.chains import Chain, Draw, Emit, run_chain

try:
    import cloudpickle
except ImportError:  # joblib before 1.6 brings its own
    from joblib.externals import cloudpickle

__all__ = ["in_turn", "in_workers", "workers"]

# Chains seed torch's one generator: an engine of threads runs them one by one.
_ALONE = threading.Lock()
_PARTS = "the density or the kernel"
_HERE = "num_workers=1 needs no copy of it"


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
    packed = [_packed(chain) for chain in chains]
    with (
        warnings.catch_warnings(),  # joblib counts what is given up; the reason is what counts
        closing(_finished(packed, min(num_workers, len(chains)))) as finished,
    ):
        warnings.filterwarnings("ignore", ".*tasks which were still being processed")
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
    packed: list[bytes], num_workers: int
) -> Generator[tuple[int, list[tuple[bool, Draw]]], None, None]:
    """Number and draws of each chain, as they come in where the backend can do that."""
    backend, _ = get_active_backend()
    streams = getattr(backend, "supports_return_generator", False)
    return_as = "generator_unordered" if streams else "list"
    tasks = (joblib.delayed(_whole_chain)(*numbered) for numbered in enumerate(packed))
    try:
        for number, came in joblib.Parallel(_n_jobs(num_workers), return_as=return_as)(tasks):
            if isinstance(came, str):
                raise RuntimeError(f"a worker failed in chain {number}: {came}")
            yield number, came
    except RuntimeError as error:
        if str(error).startswith("a worker failed in chain"):
            raise
        raise RuntimeError(_reason(error)) from error
    except Exception as error:  # joblib's, for a worker that died or could not begin
        raise RuntimeError(_reason(error)) from error


def _whole_chain(number: int, packed: bytes) -> tuple[int, list[tuple[bool, Draw]] | str]:
    """A chain's number and draws, or in words what went wrong: errors of a user's own class need not pickle."""
    draws: list[tuple[bool, Draw]] = []
    if not hasattr(
        tqdm, "_lock"
    ):  # or Pyro's bars make one of the system's, which a worker that dies leaves
        tqdm.set_lock(threading.RLock())
    try:
        chain = cloudpickle.loads(packed)
    except Exception as error:
        return number, f"it cannot load {_PARTS}: {in_one_line(error)}; {_HERE}"
    try:
        with _ALONE:
            run_chain(number, chain, lambda _, warmup, draw: draws.append((warmup, draw)))
    except Exception as error:  # a user's density raises what it likes
        return number, in_one_line(error)
    return number, draws


def _reason(error: BaseException) -> str:
    """What ended the workers, in a line: joblib tells of the process, not of what to do."""
    signals = sorted(set(re.findall(r"SIG\w+|EXIT\(-?\d+\)", str(error))))
    if type(error).__name__ == "TerminatedWorkerError":
        how = f" ({', '.join(signals)})" if signals else ""
        memory = (
            ", as the system does to what takes too much memory" if "SIGKILL" in signals else ""
        )
        return (
            f"a worker died{how}{memory}: take fewer num_workers, or see with num_workers=1 what "
            "the density or kernel does"
        )
    return f"a worker failed: {in_one_line(error)}"


def _packed(chain: Chain) -> bytes:
    """A chain to be sent, by value where its classes live in a notebook or a script.

    Raises:
        ValueError: with the part that cannot be.
    """
    for name, part in {"density": chain.potential, "kernel": chain.kernel}.items():
        try:
            cloudpickle.dumps(part)
        except Exception as error:  # pickle raises many things
            raise ValueError(
                f"{name}: num_workers > 1 needs parts that can be pickled: {in_one_line(error)}; {_HERE}"
            ) from error
    content: bytes = cloudpickle.dumps(chain)
    return content

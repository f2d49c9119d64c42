"""One thread or two: wall and CPU time of exact draws, batched chains and occupancy by size.

    python benchmarks/threads.py

Each case runs with one thread, with two, and as the library decides for a caller who has two: first on
the machine as it is, then beside a process that keeps one core busy. The three take turns, and of each
the smallest time counts, as what others run only adds to it. Prints a Markdown table of ratios to one
thread. Goal: "ours" is never more than 1.2 times the better of the two in wall time.
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

import pyrogeo as pg
from pyrogeo import _threads
from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric, FullCentroidMetric
from pyrogeo.verdict.occupancy import nearest_centroids

WAYS = ("one", "two", "ours")


def synthetic(k: int, d: int, full: bool = False) -> CentroidMetric:
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator).double()
    variances = 0.05 + 0.1 * torch.rand(k, d, generator=generator).double()
    if full:
        return FullCentroidMetric(centroids, torch.diag_embed(variances), 1.0)
    return DiagonalCentroidMetric(centroids, variances, 1.0)


def exact(metric: CentroidMetric, n: int) -> Callable[[], object]:
    density = pg.RiemannianUniform(metric)
    return lambda: density.population(n)


def chains(metric: CentroidMetric, n: int) -> Callable[[], object]:
    kernel = pg.BatchHMC(pg.RiemannianUniform(metric).potential, adapt_step_size=False, seed=0)
    kernel.initial_params = {"z": pg.GeometricMixture(metric).sample((n,))}
    kernel.setup(0)
    return lambda: [kernel.sample({"z": kernel._state.z}) for _ in range(5)]


def occupancy(metric: CentroidMetric, n: int) -> Callable[[], object]:
    z = pg.GeometricMixture(metric).sample((n,)).numpy()
    return lambda: [nearest_centroids(metric, z) for _ in range(5)]


CASES = [
    (exact, 2048, 100, 2, False),
    (exact, 8000, 100, 16, False),
    (exact, 8000, 1000, 16, False),
    (exact, 8000, 100, 64, False),
    (exact, 2048, 1000, 64, False),
    (exact, 2048, 10_000, 16, False),
    (exact, 2048, 10_000, 64, False),
    (exact, 2048, 100, 16, True),
    (chains, 64, 100, 16, False),
    (chains, 500, 100, 16, False),
    (chains, 2000, 1000, 16, False),
    (chains, 2000, 1000, 64, False),
    (occupancy, 4096, 100, 16, False),
    (occupancy, 4096, 1000, 64, False),
]


def timed(work: Callable[[], object], way: str) -> tuple[float, float]:
    """Seconds of wall and of CPU time."""
    torch.set_num_threads(1 if way == "one" else 2)
    decides = _threads._LEAST, _threads._free_cores
    if way != "ours":
        _threads._LEAST, _threads._free_cores = 0, lambda: math.inf
    try:
        torch.manual_seed(0)
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        return time.perf_counter() - wall, time.process_time() - cpu
    finally:
        _threads._LEAST, _threads._free_cores = decides


def spin() -> None:
    while True:
        sum(range(10_000))


@contextlib.contextmanager
def busy() -> Iterator[None]:
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    process.start()
    time.sleep(1)
    try:
        yield
    finally:
        process.terminate()
        process.join()


def measure(work: Callable[[], object], repeats: int) -> dict[str, tuple[float, float]]:
    for way in WAYS:
        timed(work, way)
    found = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way in WAYS:
            found[way].append(timed(work, way))
    return {way: tuple(map(min, zip(*times, strict=True))) for way, times in found.items()}


def line(name: str, found: dict[str, tuple[float, float]]) -> str:
    wall, cpu = ({way: times[i] for way, times in found.items()} for i in (0, 1))
    ratio = wall["ours"] / min(wall["one"], wall["two"])
    shares = [wall[w] / wall["one"] for w in WAYS[1:]] + [cpu[w] / cpu["one"] for w in WAYS[1:]]
    numbers = " | ".join(f"{share:.2f}" for share in shares)
    return f"| {name} | {1e3 * wall['one']:.1f} | {numbers} | {ratio:.2f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}\n")
    print(
        "| work | ms, one thread | wall, two | wall, ours | CPU, two | CPU, ours | ours / better |"
    )
    print("|:--|--:|--:|--:|--:|--:|--:|")
    results = {}
    for beside in ("as it is", "beside a busy process"):
        with busy() if beside != "as it is" else contextlib.nullcontext():
            for make, n, k, d, full in CASES:
                kind = ", full" if full else ""
                name = f"{make.__name__}, {n:,} points, K = {k:,}, d = {d}{kind}, {beside}"
                results[name] = measure(make(synthetic(k, d, full), n), args.repeats)
                print(line(name, results[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

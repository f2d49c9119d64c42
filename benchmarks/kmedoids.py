"""Time and memory of selecting centroids.

    python benchmarks/kmedoids.py

Prints the largest resident memory above that of the data, on two threads. Goal: 50,000 points in
16 dimensions under 1.5 GB.
"""

import argparse
import resource
import time
from multiprocessing import get_context

import numpy as np
import torch


def measure(n: int, init: str, n_clusters: int, queue) -> None:
    from pyrogeo.geometry import KMedoids

    torch.set_num_threads(2)
    rng = np.random.default_rng(0)
    # Like embeddings: few directions vary much. (In 16 even ones the alternation stops at once.)
    x = rng.normal(size=(n, 4)) @ rng.normal(size=(4, 16)) + 0.3 * rng.normal(size=(n, 16))
    KMedoids(5, random_state=0).fit(x[:100])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    found = KMedoids(n_clusters, init=init, random_state=0).fit(x)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    queue.put((seconds, peak / 2**20, found.n_iter_, found.inertia_ / n))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clusters", type=int, default=100)
    args = parser.parse_args()
    context = get_context("spawn")
    print(f"{'points':>7} {'init':>12} {'seconds':>8} {'peak GiB':>9} {'steps':>6} {'inertia':>8}")
    for n, init in [(5_000, "k-medoids++"), (50_000, "k-medoids++"), (50_000, "heuristic")]:
        queue = context.SimpleQueue()
        process = context.Process(target=measure, args=(n, init, args.clusters, queue))
        process.start()
        seconds, peak, steps, inertia = queue.get()
        process.join()
        print(f"{n:>7} {init:>12} {seconds:>8.1f} {peak:>9.2f} {steps:>6} {inertia:>8.3f}")


if __name__ == "__main__":
    main()

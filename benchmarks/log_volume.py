"""Coverage of the interval that `RiemannianUniform` states for its volume.

    python benchmarks/log_volume.py

Prints a Markdown table, from one seed on one thread: in how many of 1,000 runs the 95% interval
log_volume ± t(0.975; 7) log_volume_error holds the true volume. Goal: 92% to 97.5%.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from scipy.stats import t as student

import pyrogeo as pg
from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric

QUANTILE = student.ppf(0.975, 7)


def random_metric(k: int, d: int, **options) -> DiagonalCentroidMetric:
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator).double()
    variances = 0.05 + 0.3 * torch.rand(k, d, generator=generator).double()
    return DiagonalCentroidMetric(centroids, variances, **options)


def isolated(d: int) -> DiagonalCentroidMetric:
    """Four modes ten apart, with standard deviations below 0.02."""
    generator = torch.Generator().manual_seed(d)
    variances = 1e-4 * (1 + torch.rand(4, d, generator=generator).double())
    return DiagonalCentroidMetric(10 * torch.eye(d).double()[:4], variances, 2.0, 1e-3)


def in_line(k: int, d: int) -> DiagonalCentroidMetric:
    """Round modes along the first axis, which overlap so much that p₀ is annealed in two steps."""
    centroids = torch.zeros(k, d).double()
    centroids[:, 0] = torch.linspace(-2, 2, k, dtype=torch.float64) ** 3 / 2
    return DiagonalCentroidMetric(centroids, torch.full((k, d), 0.2).double(), 2.0)


def quadrature(metric: CentroidMetric, half_width: float = 40.0, n: int = 3001) -> float:
    """log ∫ √det G over an interval or a square, by the midpoint rule."""
    x = torch.linspace(-half_width, half_width, n, dtype=torch.float64)
    z = torch.cartesian_prod(*[x] * metric.dimension).reshape(-1, metric.dimension)
    log_cell = metric.dimension * (x[1] - x[0]).log()
    return (metric.log_volume_element(z).logsumexp(0) + log_cell).item()


def cylindrical(metric: CentroidMetric, half_width: float = 25.0, n: int = 1250) -> float:
    """The same for a density of the first coordinate and the distance from its axis only."""
    d, step = metric.dimension, half_width / n
    r = (torch.arange(n, dtype=torch.float64) + 0.5) * step
    plane = torch.cartesian_prod(torch.cat([-r.flip(0), r]), r)
    points = torch.cat([plane, plane.new_zeros(len(plane), d - 2)], 1)
    log_sphere = math.log(2) + (d - 1) / 2 * math.log(math.pi) - math.lgamma((d - 1) / 2)
    log_density = metric.log_volume_element(points) + (d - 2) * plane[:, 1].log()
    return log_density.logsumexp(0).item() + 2 * math.log(step) + log_sphere


def law(metric: CentroidMetric) -> float:
    """log(V + W), the volume of isolated centroids up to a share of about λσ²d."""
    return float(np.logaddexp(metric.log_mixture_volume, metric.log_vacuum_volume))


CASES = {
    "5 overlapping centroids, d = 1, quadrature": (random_metric(5, 1, bandwidth=1.0), quadrature),
    "12 overlapping, d = 2, quadrature": (random_metric(12, 2, bandwidth=1.5), quadrature),
    "4 in line, d = 16, quadrature in 2": (in_line(4, 16), cylindrical),
    "4 isolated, d = 16, V + W": (isolated(16), law),
}


def measure(metric: CentroidMetric, truth: float, runs: int, seed: int) -> dict:
    """Runs that share nothing, each with a seed of its own."""
    density = pg.RiemannianUniform(metric)
    start, found = time.perf_counter(), []
    for run in range(runs):
        volume = density.estimate_volume(seed * runs + run)
        found.append((volume.log_volume - truth, volume.error))
    off, error = np.array(found).T
    return {
        "runs": runs,
        "truth": truth,
        "coverage": float((abs(off) <= QUANTILE * error).mean()),
        "bias": float(off.mean()),
        "sd": float(off.std(ddof=1)),
        "error": float(np.sqrt((error**2).mean())),
        "s": time.perf_counter() - start,
    }


def line(name: str, found: dict) -> str:
    p, n = found["coverage"], found["runs"]
    met = "yes" if 0.92 <= p <= 0.975 else "**no**"
    return (
        f"| {name} | {n} | {p:.1%} | {math.sqrt(p * (1 - p) / n):.1%} | {found['truth']:.4f} "
        f"| {found['bias']:+.5f} | {found['sd']:.5f} | {found['error']:.5f} | {met} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| density | runs | coverage | ± | log-volume | bias | sd | stated error | met |")
    print("|:--|--:|--:|--:|--:|--:|--:|--:|:--|")
    results = {}
    for i, (name, (metric, truth)) in enumerate(CASES.items()):
        results[name] = measure(metric, truth(metric), args.runs, args.seed + i)
        print(line(name, results[name]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "cases": results}, indent=1))


if __name__ == "__main__":
    main()

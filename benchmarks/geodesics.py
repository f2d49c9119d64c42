"""How fast and how exact geodesics are, beside stochman's, and what many of them cost.

    python -m pip install -c constraints.txt '.[bench]' && python benchmarks/geodesics.py

On Poincaré's half-plane, where the distance is known, and on metrics of 100 centroids from VAEs trained
on scikit-learn's digits (2 and 16 latent dimensions, Bernoulli, seed 0). The peer gets all pairs in
one batch, with its own settings; its curves' lengths are measured by the same quadrature as ours.
Goals: 1,000 half-plane geodesics to 1e-3 in at most 5 s on two threads, at least 10 times the peer's
geodesics per second at better accuracy, and a cost that does not depend on their number.
"""

import argparse
import json
import platform
import subprocess
import sys
import warnings
from pathlib import Path

import torch
from peers import stochman_geodesics
from sampling import peak_mib, timed
from torch import Tensor

import pyrogeo as pg
from pyrogeo.errors import GeodesicWarning
from pyrogeo.geometry import Curve, Metric, Newton, Spline, distance_matrix, geodesic
from pyrogeo.recipes import standard_vae


class HalfPlane(Metric):
    """I / z₁², as a user would write it."""

    def forward(self, z: Tensor) -> Tensor:
        return torch.diag_embed((z[..., 1:] ** -2).expand_as(z))

    def contains(self, z: Tensor) -> Tensor:
        return torch.isfinite(z).all(-1) & (z[..., 1] > 0)

    @staticmethod
    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (1 + ((a - b) ** 2).sum(-1) / (2 * a[..., 1] * b[..., 1])).acosh()


def half_plane_pairs(n: int) -> tuple[Tensor, Tensor]:
    """From −2 to 2 and, evenly in the logarithm, from 0.2 to 3."""
    torch.manual_seed(0)
    u = torch.rand(2, n, 2, dtype=torch.float64)
    z = torch.stack([4 * u[..., 0] - 2, 0.2 * 15 ** u[..., 1]], -1)
    return z[0], z[1]


def digits(d: int, epochs: int) -> tuple[pg.CentroidMetric, Tensor]:
    """The metric, and the training embeddings in an order of chance."""
    data = pg.datasets.digits()
    torch.manual_seed(0)
    vae = standard_vae((1, 8, 8), d)
    pg.fit(vae, data.train, data.validation, epochs=epochs, seed=0, progress=False)
    posterior = vae.embed(data.train)
    z = posterior.mean.double()
    metric = pg.CentroidMetric.from_posterior(posterior, 100, dtype=torch.float64)
    return metric, z[torch.randperm(len(z), generator=torch.Generator().manual_seed(0))]


def errors(length: Tensor, truth: Tensor) -> tuple[float, float]:
    """Relative errors: their median and the largest."""
    relative = (length - truth).abs() / truth
    return relative.median().item(), relative.max().item()


def best_rate(metric: Metric, start: Tensor, end: Tensor, repeats: int = 2, **options):
    """Geodesics per second, the best of some runs, and what was found."""
    runs = [timed(lambda: geodesic(metric, start, end, **options)) for _ in range(repeats)]
    return len(start) / min(seconds for seconds, _ in runs), runs[0][1]


def half_plane(n: int) -> dict:
    metric, (start, end) = HalfPlane(), half_plane_pairs(n)
    rate, found = best_rate(metric, start, end)
    _, error = errors(found.length, metric.distance(start, end))
    print(f"{n:,} geodesics in {n / rate:.2f} s, {rate:.0f} per second, largest error {error:.1e}")
    return {"n": n, "seconds": n / rate, "rate": rate, "error": error}


def beside_stochman(metric: Metric, start: Tensor, end: Tensor, truth: Tensor | None) -> dict:
    """A row for each of `WAYS`: rates and errors, against the truth, or without one against the shortest
    curve that any way finds with many segments.

    Theirs is measured between runs of ours, for the machine may change its pace.
    """
    if truth is None:
        fine = (Newton(num_segments=128), Spline(num_segments=32, tolerance=1e-3))
        truth = torch.minimum(
            *(geodesic(metric, start, end, solver=solver).length for solver in fine)
        )
    solve, curves = stochman_geodesics(metric, start, end)
    solve()
    rows = {}
    for way, solver in WAYS.items():
        rate, found = best_rate(metric, start, end, solver=solver)
        seconds = min(timed(solve)[0] for _ in range(2))
        row = {"ours": min(rate, best_rate(metric, start, end, solver=solver)[0])}
        row["stochman"] = len(start) / seconds
        row["ratio"] = row["ours"] / row["stochman"]
        theirs = Curve(curves(), degree=1).length(metric)
        row["median"], row["error"] = errors(found.length, truth)
        row["their median"], row["their error"] = errors(theirs, truth)
        excess = theirs / found.length - 1
        row["excess"] = excess.median().item()
        row["longer"] = (excess < -1e-3).double().mean().item()
        row["converged"] = found.converged.double().mean().item()
        row["left"] = found.left_domain.double().mean().item()
        rows[way] = row
    return rows


WAYS = {  # Newton's method with its default and with few segments; splines well solved and in haste
    "n = 64": Newton(num_segments=64),
    "n = 16": Newton(num_segments=16),
    "spline": Spline(),
    "spline, hasty": Spline(num_segments=8, tolerance=0.1, max_iterations=8),
}

COLUMNS = {  # of a row, and how wide and in what format
    "ours": "8.1f",
    "stochman": "9.1f",
    "ratio": "7.1f",
    "median": "9.1e",
    "error": "9.1e",
    "their median": "13.1e",
    "their error": "12.1e",
    "excess": "9.2%",
    "longer": "8.1%",
    "converged": "10.1%",
    "left": "7.1%",
}


def show(name: str, row: dict) -> None:
    print(f"{name:<32}" + "".join(f"{row[key]:>{form}}" for key, form in COLUMNS.items()))


def side_by_side(cases: dict) -> dict:
    header = "".join(f"{key:>{form.split('.')[0]}}" for key, form in COLUMNS.items())
    print(f"{'per second':<32}{header}")
    rows = {}
    for name, case in cases.items():
        try:
            rows[name] = beside_stochman(*case)
        except ImportError:
            print("stochman is not installed (extra bench): left out", file=sys.stderr)
            break
        for way, row in rows[name].items():
            show(f"{name}, {way}", row)
    print(
        "median, error: of the lengths, and the largest, against the closed form or the shortest known;\n"
        "excess: of their lengths over ours, median; longer: share of ours that is 0.1% above theirs"
    )
    return rows


def cost_by_number(sizes: list[int]) -> dict:
    """Milliseconds for each of n geodesics."""
    found = {}
    for n in sizes:
        start, end = half_plane_pairs(n)
        repeats = max(1, min(10, 1000 // n))
        found[n] = 1e3 / best_rate(HalfPlane(), start, end, repeats)[0]
    print("ms each: " + ", ".join(f"{n:,}: {ms:.2f}" for n, ms in found.items()))
    return found


def memory(n: int) -> None:
    """Runs in a process of its own."""
    start, end = half_plane_pairs(n)
    before = peak_mib()
    seconds, _ = timed(lambda: geodesic(HalfPlane(), start, end))
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak_mib()}))


def memory_by_number(sizes: list[int], threads: int) -> dict:
    rows = {}
    for n in sizes:
        command = [sys.executable, __file__, "--threads", str(threads), "--memory", str(n)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        rows[n] = found = json.loads(done.stdout)
        print(f"{n:,}: peak {found['peak']:.0f} MiB, of which {found['before']:.0f} before")
    return rows


def whole_matrix(metric: Metric, z: Tensor, **options) -> dict:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", GeodesicWarning)
        seconds, _ = timed(lambda: distance_matrix(metric, z, **options))
    pairs = len(z) * (len(z) - 1) // 2
    print(
        f"{len(z)} points, {pairs:,} geodesics, {options}: {seconds:.0f} s, "
        f"{pairs / seconds:.0f} per second"
    )
    for warning in said:
        print(f"warned: {warning.message}")
    return {"points": len(z), "pairs": pairs, "options": str(options), "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2, help="of torch; the goals are for two")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory:
        memory(args.memory)
        return
    warnings.simplefilter("ignore", GeodesicWarning)  # their numbers are in the tables
    quick = args.quick
    found = {"torch": torch.__version__, "machine": platform.machine(), "threads": args.threads}
    print(f"{args.threads} threads, torch {torch.__version__}\n\nhalf-plane")
    found["half-plane"] = half_plane(100 if quick else 1000)
    planes = {d: digits(d, 5 if quick else 50) for d in (2, 16)}
    n = 20 if quick else 200
    start, end = half_plane_pairs(n)
    cases = {"half-plane": (HalfPlane(), start, end, HalfPlane.distance(start, end))}
    for d, (metric, z) in planes.items():
        cases[f"digits, d = {d}"] = (metric, z[:n], z[n : 2 * n], None)
    print()
    found["beside stochman"] = side_by_side(cases)
    sizes = [10, 100] if quick else [10, 100, 1000, 10_000]
    print("\ncost by number, half-plane")
    found["cost"] = cost_by_number(sizes)
    print("\nmemory by number, half-plane")
    found["memory"] = memory_by_number(sizes, args.threads)
    print("\ndistance matrix, digits, d = 2")
    metric, z = planes[2]
    found["distance matrix"] = whole_matrix(metric, z[: 20 if quick else 500], solver=Spline())
    if args.json:
        args.json.write_text(json.dumps(found, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()

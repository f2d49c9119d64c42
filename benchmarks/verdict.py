"""Rates of the verdict of `diagnose`, on chains whose truth is known.

    python benchmarks/verdict.py

Prints a Markdown table, from one seed on one thread: how many sets of chains pass, are too short, or
disagree. Goals: chains of one law, however correlated, disagree in at most 4 of 1,000 sets; all chains
in separate modes, and all that miss modes of a density, are seen.
"""

import argparse
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from scipy import signal, stats

import pyrogeo as pg
from pyrogeo._random import derived_seed
from pyrogeo.sampling.draws import to_arviz

FALSE = "disagree ≤ 0.4%"
SEEN = "disagree 100%"


@dataclass(frozen=True)
class Row:
    """A kind of chains: `make(rng)` gives `z` of shape `(chain, draw, d)`."""

    name: str
    make: Callable[[np.random.Generator], np.ndarray]
    goal: str = ""
    share: float = 1.0  # of the sets asked for
    options: dict = field(default_factory=dict)  # of `diagnose`
    reason: str = ""  # that must open the reasons


def autoregressive(rng, rho=0.0, chains=4, draws=500, d=2) -> np.ndarray:
    """Stationary chains of N(0, 1) with correlation ρ from draw to draw."""
    noise = rng.normal(size=(chains, draws, d)) * math.sqrt(1 - rho**2)
    before = rho * rng.normal(size=(chains, 1, d))
    return signal.lfilter([1.0], [1.0, -rho], noise, axis=1, zi=before)[0]


def heavy(rng, rho=0.0) -> np.ndarray:
    """The same with a Student t law of 3 degrees of freedom."""
    return stats.t.ppf(stats.norm.cdf(autoregressive(rng, rho)), 3)


def jumping(rng, every: int) -> np.ndarray:
    """Stationary chains that change between two modes, 6 standard deviations apart, now and then."""
    jumps = rng.random((4, 500, 1)) < 1 / every
    mode = (jumps.cumsum(1) + rng.integers(2, size=(4, 1, 1))) % 2
    return autoregressive(rng, 0.5) + 6 * mode


def four_modes(rng, rho: float) -> np.ndarray:
    """Each chain in a mode of its own: the corners of a square, 6 standard deviations long."""
    corners = np.array([[0, 0], [0, 6], [6, 0], [6, 6]])
    return autoregressive(rng, rho) + rng.permutation(corners)[:, None]


def one_apart(rng, rho: float) -> np.ndarray:
    """One chain of four 6 standard deviations from the others, in one coordinate."""
    z = autoregressive(rng, rho)
    z[rng.integers(4), :, rng.integers(2)] += 6
    return z


def one_wide(rng, rho: float) -> np.ndarray:
    """One chain of four three times as wide as the others."""
    z = autoregressive(rng, rho)
    z[rng.integers(4)] *= 3
    return z


def many_short(rng, rho: float, apart: int = 0) -> np.ndarray:
    """256 chains of 20 draws; `apart` of the 16 superchains in another mode."""
    z = autoregressive(rng, rho, chains=256, draws=20)
    far = rng.permutation(16)[:apart]
    z.reshape(16, 16, 20, 2)[far] += 6
    return z


def ring() -> pg.RiemannianUniform:
    """Six isolated modes in the plane."""
    angle = torch.arange(6).double() * math.pi / 3
    centroids = 3 * torch.stack([angle.cos(), angle.sin()], -1)
    variances = torch.full((6, 2), 0.05**2).double()
    variances[::2, 0] *= 4
    return pg.RiemannianUniform(pg.geometry.DiagonalCentroidMetric(centroids, variances, 2.0))


def crowd(d: int, bandwidth: float) -> pg.RiemannianUniform:
    """30 centroids that overlap, so that exact draws are annealed and share ancestors."""
    generator = torch.Generator().manual_seed(30 + d)
    centroids = 0.5 * torch.randn(30, d, generator=generator).double()
    variances = 0.05 + 0.3 * torch.rand(30, d, generator=generator).double()
    return pg.RiemannianUniform(pg.geometry.DiagonalCentroidMetric(centroids, variances, bandwidth))


def exact(rng, density) -> np.ndarray:
    return density.sample((4, 500)).numpy()


def in_modes(rng, density, rho: float, modes: int) -> np.ndarray:
    """Chains that all visit the same few modes of an isolated density, exactly within each."""
    metric = density.metric
    visited = rng.permutation(metric.n_centroids)[:modes]
    index = torch.from_numpy(rng.choice(visited, size=2000))
    noise = torch.from_numpy(autoregressive(rng, rho).reshape(2000, 2))
    width = metric.bandwidth / math.sqrt(metric.dimension)
    z = metric.centroids[index] + width * metric.unwhiten(index, noise)
    return z.reshape(4, 500, 2).numpy()


def rows() -> Iterator[Row]:
    for rho in (0.0, -0.5, 0.5, 0.9, 0.99, 0.999):
        chains = partial(autoregressive, rho=rho)
        yield Row(f"one law, ρ = {rho:g}, 4 × 500", chains, FALSE)
    for rho, n, length in [(0.9, 2, 100), (0.97, 8, 300)]:
        chains = partial(autoregressive, rho=rho, chains=n, draws=length)
        yield Row(f"one law, ρ = {rho:g}, {n} × {length}", chains, FALSE)
    wide = partial(autoregressive, rho=0.5, d=16)
    yield Row("one law, ρ = 0.5, 4 × 500, 16 coordinates", wide, FALSE, 0.3)
    for rho in (0.0, 0.9):
        yield Row(f"one law, Student t₃, ρ = {rho:g}, 4 × 500", partial(heavy, rho=rho), FALSE)
    for every in (50, 500):
        name = f"two modes, a jump every {every} draws, 4 × 500"
        yield Row(name, partial(jumping, every=every), "", 0.3)
    yield from separated()
    yield from beside_exact_draws()
    yield from superchains()


def separated() -> Iterator[Row]:
    for rho in (0.0, 0.9, 0.95):
        goal = SEEN if rho < 0.95 else ""
        for name, make in {"four modes": four_modes, "one chain apart": one_apart}.items():
            yield Row(f"{name}, ρ = {rho:g}, 4 × 500", partial(make, rho=rho), goal, 0.3)
    yield Row(
        "one chain three times as wide, ρ = 0.5, 4 × 500", partial(one_wide, rho=0.5), SEEN, 0.3
    )


def beside_exact_draws() -> Iterator[Row]:
    density = ring()
    cases = [
        ("6 isolated modes", density, 1.0),
        ("a crowd, d = 8", crowd(8, 2.0), 0.3),
        ("a dense crowd, d = 16", crowd(16, 3.0), 0.1),
    ]
    for name, drawn, share in cases:
        make = partial(exact, density=drawn)
        yield Row(f"exact draws of {name}, beside others", make, FALSE, share, {"density": drawn})
    for rho, modes in [(0.0, 1), (0.9, 1), (0.0, 5)]:
        make = partial(in_modes, density=density, rho=rho, modes=modes)
        name = f"{modes} of 6 modes visited by all, ρ = {rho:g}"
        yield Row(name, make, SEEN, 0.3, {"density": density}, "Modes are missed")


def superchains() -> Iterator[Row]:
    options = {"superchains": 16}
    for rho in (0.0, 0.9):
        make = partial(many_short, rho=rho)
        yield Row(f"one law, ρ = {rho:g}, 256 × 20 in 16 groups", make, FALSE, 1.0, options)
    for apart in (8, 1):
        make = partial(many_short, rho=0.5, apart=apart)
        yield Row(f"{apart} of 16 groups apart, ρ = 0.5, 256 × 20", make, SEEN, 0.3, options)


def measure(row: Row, sets: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    verdicts, named, start = Counter(), 0, time.perf_counter()
    for _ in range(sets):
        found = pg.diagnose(to_arviz({"z": row.make(rng)}, {}), **row.options)
        verdicts[found.verdict] += 1
        named += found.reasons[0].startswith(row.reason)
    counts = {verdict: verdicts[verdict] for verdict in ("pass", "too short", "disagree")}
    met = {
        FALSE: counts["disagree"] <= 0.004 * sets,
        SEEN: counts["disagree"] == sets == named,
    }.get(row.goal)
    seconds = time.perf_counter() - start
    return {"chains": row.name, "sets": sets, **counts, "goal": row.goal, "met": met, "s": seconds}


def line(result: dict) -> str:
    shares = [f"{result[v] / result['sets']:.1%}" for v in ("pass", "too short", "disagree")]
    met = {True: "yes", False: "**no**", None: ""}[result["met"]]
    return " | ".join(
        ["", result["chains"], str(result["sets"]), *shares, result["goal"], met, ""]
    ).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--sets", type=int, default=1000, help="of chains of one law; 0.3 of it else"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print("| chains × draws | sets | pass | too short | disagree | goal | met |")
    print("|:--|--:|--:|--:|--:|:--|:--|")
    results = []
    for i, row in enumerate(rows()):
        if args.only not in row.name:
            continue
        sets = max(1, round(row.share * args.sets))
        results.append(measure(row, sets, derived_seed(args.seed, i)))
        print(line(results[-1]), flush=True)
    if args.json:
        args.json.write_text(json.dumps({"seed": args.seed, "rows": results}, indent=1))


if __name__ == "__main__":
    main()

"""Whether `log_volume` ± t₇·`log_volume_error` covers the truth, and whether the check sees where it would not.

Kinds of metrics:
- crossing: 36, K = 20, d = 4 and 8, variances log-uniform from 1e-2, 1e-3 and 1e-4 to 1, in equal pairs of
  coordinates, so that the truth is known by expansion.
- random: 200, d = 1 to 32, K = 2 to 60, condition numbers up to 1e4; truth by importance sampling with a law made
  from another seed, 200,000 draws, where its effective size is above 30% and its error at most half of the tested
  one, which it is added to; the others are counted.
- easy: 26, d = 1 to 64, K = 10 to 100, posteriors of like width; truth as of the random ones.
- pancakes: 16 centroids at the origin of 16 dimensions, each thin in one coordinate; 20 seeds of the check.

Each metric is also estimated from `StartingLaw`, the mixture of single centroids: "old".

    python benchmarks/exactness.py --out exactness.jsonl
"""

import argparse
import json
import math
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from expansion import Expansion
from joblib import Parallel, delayed

import pyrogeo as pg
from pyrogeo.distributions import StartingLaw
from pyrogeo.distributions.crossing import crossing_law
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.distributions.survey import overlap_of
from pyrogeo.distributions.terms import atoms
from pyrogeo.errors import SamplingWarning, VacuumWarning
from pyrogeo.geometry import DiagonalCentroidMetric

T7 = 2.365  # the 97.5% quantile of Student's t with 7 degrees of freedom
TRUTH_DRAWS = 200_000
D = torch.float64


def metrics() -> Iterator[tuple[str, int, Callable[[], DiagonalCentroidMetric]]]:
    for number in range(36):
        yield "crossing", number, lambda n=number: crossing(n)
    for number in range(26):
        yield "easy", number, lambda n=number: easy(n)
    for number in range(200):
        yield "random", number, lambda n=number: random(n)


def crossing(number: int) -> DiagonalCentroidMetric:
    g = torch.Generator().manual_seed(number)
    d, low = (4, 8)[number % 2], (1e-2, 1e-3, 1e-4)[number // 2 % 3]
    half = torch.rand(20, d // 2, dtype=D, generator=g)
    variances = low ** half.repeat_interleave(2, 1)
    return DiagonalCentroidMetric(torch.randn(20, d, dtype=D, generator=g), variances)


def random(number: int) -> DiagonalCentroidMetric:
    g = torch.Generator().manual_seed(1000 + number)
    d = int(torch.randint(1, 33, (), generator=g))
    k = int(torch.randint(2, 61, (), generator=g))
    condition, spread = 10 ** (4 * torch.rand(2, dtype=D, generator=g) * torch.tensor([1.0, 0.25]))
    largest = 10 ** (-2 * torch.rand((), dtype=D, generator=g))
    variances = largest * condition ** -torch.rand(k, d, dtype=D, generator=g)
    centroids = 0.3 * spread * torch.randn(k, d, dtype=D, generator=g)
    return DiagonalCentroidMetric(centroids, variances)


def easy(number: int) -> DiagonalCentroidMetric:
    g = torch.Generator().manual_seed(2000 + number)
    d = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 16)[number % 13]
    k = (10, 100)[number % 2]
    deviations = (0.05, 0.2)[number // 13] * (0.7 + 0.6 * torch.rand(k, d, dtype=D, generator=g))
    return DiagonalCentroidMetric(2 * torch.randn(k, d, dtype=D, generator=g), deviations**2)


def pancakes() -> DiagonalCentroidMetric:
    variances = torch.ones(16, 16, dtype=D).fill_diagonal_(1e-4)
    return DiagonalCentroidMetric(torch.zeros(16, 16, dtype=D), variances, 1.0, 0.0, 0.0)


def measured(kind: str, number: int, make: Callable[[], DiagonalCentroidMetric]) -> dict[str, Any]:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", SamplingWarning)
    warnings.simplefilter("ignore", VacuumWarning)
    metric = make()
    row: dict[str, Any] = {"kind": kind, "number": number, "d": metric.dimension}
    row["k"] = metric.n_centroids
    for name, proposal in (("new", None), ("old", StartingLaw(metric))):
        begin, density = time.perf_counter(), pg.RiemannianUniform(metric, proposal=proposal)
        row[name] = density.log_volume
        row[f"{name}_error"] = density.log_volume_error
        row[f"{name}_overlap"] = density.overlap._asdict()
        row[f"{name}_doubt"] = density.overlap.in_doubt
        row[f"{name}_widened"] = density.overlap.error
        row[f"{name}_seconds"] = time.perf_counter() - begin
    row["truth"], row["truth_error"] = truth(metric) if kind != "crossing" else exact(metric)
    return row


def exact(metric: DiagonalCentroidMetric) -> tuple[float, float]:
    return Expansion(metric).log_volume, 0.0


def truth(metric: DiagonalCentroidMetric) -> tuple[float | None, float]:
    torch.manual_seed(12345)
    law = crossing_law(metric)
    parts = []
    for _ in range(TRUTH_DRAWS // 10_000):
        z = law.sample(10_000)
        parts.append(metric.log_volume_element(z) - law.log_prob(z))
    weights = torch.cat(parts)
    log_mean = (weights.logsumexp(0) - math.log(len(weights))).item()
    relative = (weights - log_mean).exp()
    ess = 1 / (relative**2).mean().item()
    error = (relative.std() / math.sqrt(len(weights))).item()
    return (log_mean if ess > 0.3 else None), error


def seeds_of_the_check(seed: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    metric, row = pancakes(), {"kind": "pancakes", "number": seed}
    target, of = VolumeElement(metric), atoms(metric)
    torch.manual_seed(seed)
    for name, law in (("new", crossing_law(metric)), ("old", StartingLaw(metric))):
        overlap = overlap_of(target, law, of)
        row |= {f"{name}_doubt": overlap.in_doubt, f"{name}_overlap": overlap._asdict()}
    return row


def covers(row: dict[str, Any], name: str) -> bool:
    return abs(row[name] - row["truth"]) <= T7 * math.hypot(
        row[f"{name}_error"], row["truth_error"]
    )


def told(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| metrics | truth known | covered | from single centroids | median error | of those | in doubt |"
    yield "|---|--:|--:|--:|--:|--:|--:|"
    for kind in ("crossing", "random", "easy"):
        mine = [row for row in rows if row["kind"] == kind]
        known = [
            r for r in mine if r["truth"] is not None and r["truth_error"] <= r["new_error"] / 2
        ]
        if not known:
            continue
        counts = [sum(covers(r, name) for r in known) for name in ("new", "old")]
        median = [
            sorted(r[f"{name}_error"] for r in known)[len(known) // 2] for name in ("new", "old")
        ]
        doubt = sum(r["new_doubt"] for r in mine)
        yield (
            f"| {kind} | {len(known)} of {len(mine)} | {counts[0]} | {counts[1]} | {median[0]:.4f} "
            f"| {median[1]:.4f} | {doubt} |"
        )
    yield from ("", *power(rows))


def power(rows: list[dict[str, Any]]) -> Iterator[str]:
    yield "| the check | fired |"
    yield "|---|--:|"
    wrong = [r for r in rows if r["kind"] == "crossing" and not _old_is_right(r)]
    yield f"| old law, crossing, wrong without it | {_fired(wrong, 'old')} |"
    for kind in ("crossing", "random", "easy", "pancakes"):
        mine = [row for row in rows if row["kind"] == kind]
        for name in ("old", "new"):
            yield f"| {name} law, {kind} | {_fired(mine, name)} |"


def _old_is_right(row: dict[str, Any]) -> bool:
    error = math.sqrt(max(row["old_error"] ** 2 - row["old_widened"] ** 2, 0))
    return abs(row["old"] - row["truth"]) <= T7 * error


def _fired(rows: list[dict[str, Any]], name: str) -> str:
    return f"{sum(r[f'{name}_doubt'] for r in rows)} of {len(rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--out", type=Path, required=True, help="a line per metric; what is there is kept"
    )
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--kinds", nargs="*", default=["crossing", "easy", "random", "pancakes"])
    asked = parser.parse_args()
    rows = (
        [json.loads(line) for line in asked.out.read_text().splitlines()]
        if asked.out.exists()
        else []
    )
    there = {(row["kind"], row["number"]) for row in rows}
    work = [
        delayed(measured)(kind, number, make)
        for kind, number, make in metrics()
        if kind in asked.kinds and (kind, number) not in there
    ]
    if "pancakes" in asked.kinds:
        work += [delayed(seeds_of_the_check)(s) for s in range(20) if ("pancakes", s) not in there]
    with asked.out.open("a") as file:
        for row in Parallel(asked.jobs, return_as="generator_unordered")(work):
            file.write(json.dumps(row) + "\n")
            file.flush()
            rows.append(row)
    print("\n".join(told(rows)))


if __name__ == "__main__":
    main()

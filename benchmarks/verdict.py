"""Rates of the verdict of `diagnose`, on chains whose truth is known.

    python benchmarks/verdict.py

Prints a Markdown table, from one seed on one thread: how many sets of chains pass, are too short, cannot be
told, or disagree, and in how many the reasons say what they should, or should not. Goals: chains of one law,
however correlated, disagree in at most 4 of 1,000 sets; all chains in separate modes, and all that miss modes
of a density, are seen; what else is wrong with chains is said, and hardly ever of chains that are right.
"""

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from verdict_rows import FALSE, OFTEN, RARE, SAID, SEEN, UNPRAISED, UNTOLD, Row, rows

import pyrogeo as pg
from pyrogeo._random import derived_seed
from pyrogeo.sampling.draws import to_arviz
from pyrogeo.verdict import Diagnosis

VERDICTS = ("pass", "too short", "cannot tell", "disagree")


def measure(row: Row, sets: int, seed: int) -> dict:
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    verdicts, said, start = Counter(), 0, time.perf_counter()
    for _ in range(sets):
        made = row.make(rng)
        draws = to_arviz({"z": made}, {}) if isinstance(made, np.ndarray) else made
        found = pg.diagnose(draws, **row.options)
        verdicts[found.verdict] += 1
        said += _says(row.says, draws, found)
    counts = {verdict: verdicts[verdict] for verdict in VERDICTS}
    everywhere = said == sets or not row.says
    met = {
        FALSE: counts["disagree"] <= 0.004 * sets,
        SEEN: counts["disagree"] == sets and everywhere,
        UNTOLD: counts["cannot tell"] == sets and everywhere,
        UNPRAISED: counts["pass"] + counts["too short"] == 0,
        SAID: said == sets,
        OFTEN: said >= 0.98 * sets,
        RARE: said <= 0.02 * sets,
    }.get(row.goal)
    seconds = time.perf_counter() - start
    words = {"said": said if row.says else None, "goal": row.goal, "met": met, "s": seconds}
    return {"chains": row.name, "sets": sets, **counts, **words}


def _says(what: str | Callable[[Any, Diagnosis], bool], draws: Any, found: Diagnosis) -> bool:
    if callable(what):
        return what(draws, found)
    return bool(what) and any(what in reason for reason in found.reasons)


def line(result: dict) -> str:
    shares = [f"{result[v] / result['sets']:.1%}" for v in VERDICTS]
    shares.append("" if result["said"] is None else f"{result['said'] / result['sets']:.1%}")
    met = {True: "yes", False: "**no**", None: ""}[result["met"]]
    return " | ".join(
        ["", result["chains"], str(result["sets"]), *shares, result["goal"], met, ""]
    ).strip()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", type=int, default=300, help="of most rows; less of some")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="rows whose name contains this")
    parser.add_argument("--json", type=Path, help="also write the counts to this file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    print(f"| chains × draws | sets | {' | '.join(VERDICTS)} | said | goal | met |")
    print("|:--|--:|--:|--:|--:|--:|--:|:--|:--|")
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

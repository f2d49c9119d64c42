"""Whether the VAE program with `RiemannianUniform` as prior is calibrated under Pyro's NUTS.

    python benchmarks/soundness.py --out soundness.jsonl

Simulation-based calibration. A replicate is a point z, drawn exactly from the prior, with data x drawn from the
likelihood of a small decoder at z; NUTS draws from z | x through `vae.model`, from starts that are draws from
the prior of their own; 63 draws, as evenly spaced in the chains as can be, rank the true z, its log √det G and
its log-likelihood. A hundred replicates are the data of one run: given the data their posteriors are independent,
and one call of the program serves all. They share step size and mass matrix.

Prints a Markdown table, from one seed: the p-value of the simultaneous band for each quantity, and the share of
replicates whose R-hat is below 1.01 in every quantity. Goals: where chains mix, ranks are uniform at a joint
level of 5% and 95% of the replicates have such an R-hat; on isolated centroids, the control, ranks are not
uniform. With --out each replicate is a line of JSON, and what is there is not made again.
"""

import argparse
import json
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import arviz as az
import matplotlib
import numpy as np
import torch
from joblib import Parallel, delayed
from pyro.infer import MCMC, NUTS
from torch import Tensor

import pyrogeo as pg
from pyrogeo._random import derived_seed, forked
from pyrogeo.geometry import DiagonalCentroidMetric
from pyrogeo.verdict import RankCheck, check_ranks, ranks_among

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from pyrogeo import plots

TOGETHER = 100  # replicates of one run
CHAINS, WARMUP, DRAWS = 2, 200, 850
RANKED = 63  # draws that a true value is ranked among
QUANTITIES = ("z[0]", "z[1]", "log √det G(z)", "log p(x|z)")
LEVEL = 0.05  # of a metric, all quantities together
R_HAT, SHARE = 1.01, 0.95
# On which a replicate depends, beside the seed.
SETTINGS = [TOGETHER, CHAINS, WARMUP, DRAWS, RANKED]


@dataclass(frozen=True)
class Case:
    """A metric in the plane, and whether NUTS mixes over its density."""

    name: str
    centroids: list[list[float]]
    variances: list[list[float]]
    mixes: bool = True
    share: float = 1.0  # of the replicates asked for

    def wanted(self, replicates: int) -> range:
        return range(max(1, round(self.share * replicates)))

    def density(self) -> pg.RiemannianUniform:
        """With λ = 0.05 and τ = 1 the vacuum holds at most 5%, not far from the centroids."""
        c, s = torch.tensor(self.centroids).double(), torch.tensor(self.variances).double()
        return pg.RiemannianUniform(DiagonalCentroidMetric(c, s, 1.0, 0.05, 1.0))


CASES = [
    Case("one centroid", [[0.5, -0.3]], [[0.3, 1.0]]),
    Case(
        "five overlapping centroids",
        [[-0.3, -0.4], [-0.4, 0.5], [-0.1, 1.3], [-1.0, -0.5], [0.5, -0.6]],
        [[1.0, 0.5], [0.3, 1.0], [1.2, 0.4], [0.8, 1.0], [0.6, 0.7]],
    ),
    Case(
        "five isolated centroids (control)",
        [[3.0, 0.0], [0.9, 2.9], [-2.4, 1.8], [-2.4, -1.8], [0.9, -2.9]],
        [[0.05, 0.1], [0.1, 0.05], [0.05, 0.05], [0.1, 0.1], [0.05, 0.1]],
        mixes=False,
        share=1 / 3,
    ),
]


def program(case: Case) -> pg.VAE:
    """The VAE whose prior is the density; its decoder has fixed random weights."""
    with forked(3):
        guide = pg.guides.DiagonalNormal(pg.networks.mlp(5, 4, 4))  # plays no part
        likelihood = pg.likelihoods.Normal(pg.networks.mlp(2, 16, 5), scale=0.3)
    vae = pg.VAE(pg.priors.Fixed(case.density()), guide, likelihood).double()
    return vae.requires_grad_(False).eval()


def chain(vae: pg.VAE, x: Tensor) -> tuple[Tensor, int]:
    """Draws `(draw, B, d)` of z | x by Pyro's NUTS, and how many transitions diverged."""
    start = vae.prior().sample((len(x),))
    mcmc = MCMC(
        NUTS(vae.model),
        DRAWS,
        WARMUP,
        initial_params={"z": start},
        num_chains=1,
        disable_progbar=True,
        disable_validation=True,
    )
    mcmc.run(x)
    return mcmc.get_samples()["z"], len(mcmc.diagnostics()["divergences"]["chain 0"])


def quantities(vae: pg.VAE, x: Tensor, z: Tensor) -> np.ndarray:
    """For points `(*, B, d)` and data `(B, *event)`, shape `(quantity, *, B)`."""
    with torch.no_grad():
        lp = vae.prior.distribution.log_density(z)
        log_likelihood = vae.likelihood(z).log_prob(x)
    return torch.stack([*z.unbind(-1), lp, log_likelihood]).numpy()


def run(number: int, which: int, seed: int) -> list[dict]:
    """One run of the program: a record for each of its replicates."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore", category=FutureWarning)
    own, start = derived_seed(seed, which, number), time.perf_counter()
    with forked(own):
        vae = program(CASES[which])
        truth = vae.prior().sample((TOGETHER,))
        x = vae.likelihood(truth).sample()
        chains, divergences = zip(*[chain(vae, x) for _ in range(CHAINS)], strict=True)
        true = quantities(vae, x, truth)
        drawn = quantities(vae, x, torch.stack(chains))  # (quantity, chain, draw, B)
    pooled = drawn.reshape(len(QUANTITIES), -1, TOGETHER)
    spaced = (np.arange(RANKED) + 0.5) * pooled.shape[1] / RANKED
    ranks = ranks_among(true, np.moveaxis(pooled[:, spaced.astype(int)], 1, -1), own)
    common = {
        "metric": CASES[which].name,
        "seed": seed,
        "settings": SETTINGS,
        "divergences": sum(divergences) / TOGETHER,
        "seconds": (time.perf_counter() - start) / TOGETHER,
    }
    return [
        {
            **common,
            "replicate": number * TOGETHER + b,
            "ranks": ranks[:, b].tolist(),
            "r_hat": max(float(az.rhat(q[..., b])) for q in drawn),
            "ess": min(float(az.ess(q[..., b])) for q in drawn),
        }
        for b in range(TOGETHER)
    ]


def kept(out: Path | None, seed: int) -> dict[tuple[str, int], dict]:
    """Replicates in the file, by metric and number; a line that was cut off is none."""
    lines = out.read_text().splitlines() if out is not None and out.exists() else []
    found = {}
    for line in lines:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        theirs = record["seed"], record["settings"]
        if theirs != (seed, SETTINGS):
            raise SystemExit(f"{out}: seed and settings {theirs}, expected {(seed, SETTINGS)}")
        found[record["metric"], record["replicate"]] = record
    return found


def missing(found: dict, replicates: int) -> list[tuple[int, int]]:
    """Runs, by number and metric, of which some replicate is not there; every metric's first ones first."""
    lacking = {
        (i // TOGETHER, which)
        for which, case in enumerate(CASES)
        for i in case.wanted(replicates)
        if (case.name, i) not in found
    }
    return sorted(lacking)


def write(out: Path, records: list[dict]) -> None:
    """On a line of its own each, also after a line that was cut off."""
    cut = out.exists() and out.stat().st_size and not out.read_bytes().endswith(b"\n")
    lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    with out.open("a") as file:
        file.write("\n" * bool(cut) + lines)


def judged(records: list[dict]) -> dict[str, RankCheck]:
    ranks = np.array([record["ranks"] for record in records])
    level = LEVEL / len(QUANTITIES)
    return {name: check_ranks(ranks[:, i], RANKED, level) for i, name in enumerate(QUANTITIES)}


def line(case: Case, records: list[dict]) -> str:
    checks = judged(records)
    calibrated = all(check.calibrated for check in checks.values())
    mixed = float(np.mean([record["r_hat"] < R_HAT for record in records]))
    met = calibrated and mixed >= SHARE if case.mixes else not calibrated
    cells = [
        case.name,
        str(len(records)),
        f"{mixed:.1%}",
        f"{np.median([record['ess'] for record in records]):.0f}",
        f"{sum(record['divergences'] for record in records):.0f}",
        *(f"{check.p_value:.2g}" for check in checks.values()),
        "yes" if calibrated else "no",
        "calibrated, R-hat in 95%" if case.mixes else "not calibrated",
        "yes" if met else "**no**",
    ]
    return "| " + " | ".join(cells) + " |"


def picture(cases: dict[str, list[dict]], file: Path) -> None:
    figure, axes = plt.subplots(1, len(cases), figsize=(12, 3.8), layout="constrained", sharey=True)
    for ax, (name, records) in zip(np.atleast_1d(axes), cases.items(), strict=True):
        plots.calibration(judged(records), ax).set_title(
            f"{name}, {len(records)} replicates", fontsize=9
        )
    for ax in np.atleast_1d(axes)[1:]:
        ax.set_ylabel("")
    figure.savefig(file, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--replicates", type=int, default=300, help="of a metric; a third of it for the control"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="a line for each replicate; those in it are kept")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--plot", type=Path, help="also draw the ranks into this file")
    args = parser.parse_args()
    found = kept(args.out, args.seed)
    work = [delayed(run)(*which, args.seed) for which in missing(found, args.replicates)]
    for records in Parallel(args.jobs, return_as="generator_unordered")(work):
        if args.out is not None:
            write(args.out, records)
        found |= {(record["metric"], record["replicate"]): record for record in records}
        print(f"{records[0]['metric']}: {len(found)} replicates in all", file=sys.stderr)
    cases = {
        case.name: [found[case.name, i] for i in case.wanted(args.replicates)] for case in CASES
    }
    p_values = " | ".join(f"p, {name.replace('|', chr(92) + '|')}" for name in QUANTITIES)
    print(
        f"| metric | replicates | R-hat < {R_HAT} | median ESS | divergences | {p_values} | calibrated | goal | met |"
    )
    print("|:--|" + "--:|" * (4 + len(QUANTITIES)) + ":--|:--|:--|")
    for case in CASES:
        print(line(case, cases[case.name]))
    if args.plot:
        picture(cases, args.plot)


if __name__ == "__main__":
    main()

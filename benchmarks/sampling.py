"""How fast exact draws and batched chains are, beside peers and beside the arithmetic they need.

    python -m pip install -c constraints.txt '.[bench]' && python benchmarks/sampling.py

Trains a VAE on scikit-learn's digits (16 latent dimensions, Bernoulli, seed 0), takes the metric of 100
centroids, and prints a table and, with --json FILE, writes it. Ours are counted by effective draws
between runs over all the time they take; peers by effective draws within chains over the time of
sampling alone, without warm-up and compilation. R-hat stands beside each; above 1.01 the chains do
not agree and the figure is marked invalid. Goals: 60 (Pyro), 4 (NumPyro), 100 (the authors'), and at
most 3.5 times the three products.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import arviz as az
import numpy as np
import torch
from peers import AuthorsSampler, autograd_potential, numpyro_nuts
from pyro.infer import NUTS

import pyrogeo as pg
from pyrogeo.geometry import DiagonalCentroidMetric
from pyrogeo.moves import State, hmc
from pyrogeo.recipes import standard_vae


def timed(work: Callable) -> tuple[float, object]:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def best(work: Callable, repeats: int) -> float:
    work()
    return min(timed(work)[0] for _ in range(repeats))


def digits_metric(device: str, dtype: torch.dtype = torch.float64) -> pg.CentroidMetric:
    digits = pg.datasets.digits()
    torch.manual_seed(0)
    vae = standard_vae((1, 8, 8), 16)
    pg.fit(vae, digits.train, digits.validation, epochs=50, seed=0, progress=False)
    posterior = vae.embed(digits.train)
    return pg.CentroidMetric.from_posterior(posterior, 100, dtype=dtype).to(device)


def within(z: np.ndarray) -> tuple[float, float]:
    """Effective draws within chains, summed over them, of the worst coordinate; and R-hat of the worst.

    Of many chains a sixteenth is looked at, and stands for the others.
    """
    some = z[:: max(1, len(z) // 16)]
    per_chain = [[float(az.ess(chain[None, :, j])) for j in range(z.shape[2])] for chain in some]
    r_hat = max(float(az.rhat(z[:, :, j])) for j in range(z.shape[2]))
    return np.sum(per_chain, 0).min() * len(z) / len(some), r_hat


def exact_rate(metric: pg.CentroidMetric, runs: int) -> dict:
    """Effective draws per second of `sample_smc`: a fresh density, nothing cached."""
    seconds, draws = timed(
        lambda: pg.sample_smc(pg.RiemannianUniform(metric), 2000, runs, seed=0, progress=False)
    )
    table = pg.diagnose(draws).table
    ess = table["ess_between"].min()
    return {"rate": ess / seconds, "r_hat": table["r_hat"].max(), "ess": ess, "seconds": seconds}


def pyro_rate(metric: pg.CentroidMetric, draws: int) -> dict:
    """Pyro's NUTS, four chains one after another, on the metric's graph."""
    density = pg.RiemannianUniform(metric)
    stamps = []
    kernel = partial(NUTS, max_tree_depth=10)

    class Autograd:
        potential = staticmethod(autograd_potential(metric))
        log_density, initial = density.log_density, density.initial
        event_shape, num_starts = density.event_shape, density.num_starts

    class Timed(kernel.func):
        def sample(self, params):
            seconds, found = timed(lambda: super(Timed, self).sample(params))
            stamps.append(seconds)
            return found

    chains = pg.sample(Autograd, draws, Timed, 4, warmup_steps=draws // 2, seed=0, progress=False)
    per_chain = np.array(stamps).reshape(4, -1)[:, -draws:]  # without warm-up
    ess, r_hat = within(chains.posterior["z"].to_numpy())
    seconds = per_chain.sum()
    return {"rate": ess / seconds, "r_hat": r_hat, "ess": ess, "seconds": seconds}


def numpyro_rate(metric: pg.CentroidMetric, draws: int) -> dict:
    seconds, z = timed(numpyro_nuts(metric, 256, draws, draws))
    ess, r_hat = within(np.asarray(z))
    return {"rate": ess / seconds, "r_hat": r_hat, "ess": ess, "seconds": seconds}


def effective_draws(metric: pg.CentroidMetric, args: argparse.Namespace) -> dict:
    rows = {"sample_smc": exact_rate(metric, 32)}
    rows["Pyro NUTS, autograd"] = pyro_rate(metric, 50 if args.quick else 300)
    try:
        rows["NumPyro NUTS, 256 chains"] = numpyro_rate(metric, 20 if args.quick else 100)
    except ImportError:
        print("NumPyro is not installed (extra bench): its row is left out", file=sys.stderr)
    # Ours once more: between the two, the machine may have changed its pace.
    again = exact_rate(metric, 32)
    rows["sample_smc, again"] = again
    ours = min(rows["sample_smc"]["rate"], again["rate"])
    for name, row in rows.items():
        row["ratio"] = None if name.startswith("sample_smc") else ours / row["rate"]
        mark = "" if row["r_hat"] <= 1.01 else "  invalid: the chains disagree"
        ratio = f"{row['ratio']:8.1f}" if row["ratio"] else " " * 8
        print(
            f"{name:<28}{row['ess']:>10.0f}{row['seconds']:>9.2f}{row['rate']:>11.1f}"
            f"{row['r_hat']:>8.3f}{ratio}{mark}"
        )
    return rows


def short_chains(metric: pg.CentroidMetric, quick: bool) -> dict:
    """500 chains × 100 transitions × 10 leapfrog steps, ours and the authors'; of theirs 10 transitions
    are timed and multiplied, as all cost the same."""
    ours, theirs = (2, 1) if quick else (100, 10)
    starts = metric.centroids[torch.randint(metric.n_centroids, (500,))]
    value_and_grad = metric.log_volume_element_and_grad

    def batched() -> State:
        state = State(starts, *value_and_grad(starts))
        for _ in range(ours):
            state, _ = hmc(value_and_grad, state, 0.01, 10)
        return state

    fast = best(batched, 3)
    slow = timed(lambda: AuthorsSampler(metric).sample(starts, theirs, 10, 0.01))[0] * ours / theirs
    print(f"{ours} transitions: ours {fast:.3g} s, dense {slow:.3g} s, {slow / fast:.0f} times")
    return {"ours": fast, "dense": slow, "ratio": slow / fast, "transitions": ours}


def one_evaluation(metric: pg.CentroidMetric, repeats: int) -> dict:
    """Log-density with gradient against its three products, taken in turn, at 4,096 points."""
    z = torch.randn(4096, metric.dimension, dtype=metric.centroids.dtype).to(metric.centroids)
    s = 1 / metric.variances
    sc, square = s * metric.centroids, z * z
    omega = torch.rand(4096, metric.n_centroids).to(z)

    def products():
        return square @ s.T, z @ sc.T, omega @ s

    pairs = []
    for _ in range(repeats):
        pairs.append((timed(products)[0], timed(lambda: metric.log_volume_element_and_grad(z))[0]))
    alone, ours = (statistics.median(p) for p in zip(*pairs[repeats // 4 :], strict=True))
    print(
        f"three products {1e3 * alone:.2f} ms, ours {1e3 * ours:.2f} ms, {ours / alone:.2f} times"
    )
    return {"products": alone, "ours": ours, "ratio": ours / alone}


def synthetic(k: int, d: int, device: str, dtype: torch.dtype) -> pg.CentroidMetric:
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator, dtype=torch.float64)
    variances = 0.05 + 0.1 * torch.rand(k, d, generator=generator, dtype=torch.float64)
    return DiagonalCentroidMetric(centroids.to(dtype), variances.to(dtype), 1.0).to(device)


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """The slope of log time over log size, by least squares."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def scaling(args: argparse.Namespace, dtype: torch.dtype) -> dict:
    """One log-density with gradient in K and d; whole draws in their number."""
    found = {}
    make = partial(synthetic, device=args.device, dtype=dtype)
    k_sizes = [100, 1000, 10_000] if args.quick else [100, 500, 2500, 10_000, 50_000]

    def evaluation(metric: pg.CentroidMetric, points: int) -> float:
        z = pg.GeometricMixture(metric).sample((points,))
        return best(lambda: metric.log_volume_element_and_grad(z), 3)

    seconds = [evaluation(make(k, 16), 1024) for k in k_sizes]
    found["K"] = dict(zip(k_sizes, seconds, strict=True)), exponent(k_sizes, seconds)
    d_sizes = [2, 4, 8, 16, 32, 64]
    seconds = [evaluation(make(1000, d), 4096) for d in d_sizes]
    found["d"] = dict(zip(d_sizes, seconds, strict=True)), exponent(d_sizes, seconds)
    sizes = [10**3, 10**4, 10**5] if args.quick else [10**3, 10**4, 10**5, 10**6]
    metric = make(100, 16)

    def draw(n: int) -> float:
        return timed(lambda: pg.RiemannianUniform(metric).sample((n,)))[0]

    draw(1000)
    seconds = [min(draw(n) for _ in range(3 if n < 10**5 else 1)) for n in sizes]
    found["draws"] = dict(zip(sizes, seconds, strict=True)), exponent(sizes, seconds)
    for name, (times, slope) in found.items():
        shown = ", ".join(f"{size:,}: {1e3 * t:.3g}" for size, t in times.items())
        print(f"{name:<6} exponent {slope:.2f}   ms at {shown}")
    return found


def peak_mib() -> float:
    """Of this process; `ru_maxrss` would be that of the process that started it."""
    words = Path("/proc/self/status").read_text().split()
    return int(words[words.index("VmHWM:") + 1]) / 1024


def memory(k: int, n: int) -> None:
    """Runs in a process of its own: prints seconds, and MiB at the peak before and after drawing."""
    metric = synthetic(k, 16, "cpu", torch.float64)
    before = peak_mib()
    torch.manual_seed(0)
    seconds, z = timed(lambda: pg.RiemannianUniform(metric).sample((n,)))
    print(json.dumps({"seconds": seconds, "before": before, "peak": peak_mib(), "draws": len(z)}))


def memory_in_a_process(quick: bool) -> dict:
    k, n = (5000, 2048) if quick else (50_000, 10_000)
    command = [sys.executable, __file__, "--memory", str(k), str(n)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    print(
        f"{n:,} exact draws at K = {k:,}: {found['seconds']:.0f} s, peak {found['peak']:.0f} MiB, of "
        f"which {found['before']:.0f} before the draws (Python, PyTorch, the metric)"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2, help="of torch; the goals are for two")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--memory", type=int, nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.memory:
        memory(*args.memory)
        return
    found = {"torch": torch.__version__, "machine": platform.machine(), "device": args.device}
    metric = digits_metric(args.device)
    print(f"{metric}\n{args.device}, {args.threads} threads, torch {torch.__version__}\n")
    print(f"{'':<28}{'effective':>10}{'seconds':>9}{'per second':>11}{'R-hat':>8}{'ours/it':>8}")
    found["effective draws"] = effective_draws(metric, args)
    print("\n500 short chains")
    found["short chains"] = short_chains(metric, args.quick)
    for dtype in (torch.float64, torch.float32):
        name = str(dtype).removeprefix("torch.")
        print(f"\none evaluation, {name}")
        fresh = DiagonalCentroidMetric(
            metric.centroids.to(dtype), metric.variances.to(dtype), metric.bandwidth.item()
        )
        found[f"evaluation, {name}"] = one_evaluation(fresh, 20 if args.quick else 200)
        print(f"scaling, {name}")
        found[f"scaling, {name}"] = scaling(args, dtype)
    if args.device == "cpu":
        print("\nmemory")
        found["memory"] = memory_in_a_process(args.quick)
    if args.json:
        args.json.write_text(json.dumps(found, indent=2, default=float) + "\n")


if __name__ == "__main__":
    main()

"""Every recipe trained fully on digits, tried with every latent sampler, and beside Pythae.

    python -m pip install -c constraints.txt '.[bench]' && python benchmarks/families.py

First table: squared error of reconstruction per test image, the bound in nats (−ELBO is what is bounded, β
= 1, ten draws; none for point masses), seconds per epoch. Second: for each latent sampler the Fréchet distance
between draws and test images in a small classifier's features, and in brackets memorisation: the median
distance of a draw to its nearest training image, over that of a test image; 1 is like unseen data, towards 0
training images are copied. The row of training images is the floor of the first and has 0 for the second.
Samplers are fitted to embeddings of the training data. A deterministic guide's covariance is local.
Third, where Pythae is installed: the same systems in both for --peer-epochs, means over three seeds, the least
processor time on one thread; goals: loss at most 2% above Pythae's, and no more time than it takes.
"""

import argparse
import importlib.util
import inspect
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from pyro.infer import Trace_ELBO
from pythae_peer import PAIRS, compare
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

import pyrogeo as pg
from pyrogeo import recipes
from pyrogeo.distributions import choose_bandwidth
from pyrogeo.latents import fit_flow, fit_gaussian_mixture, fit_two_stage
from pyrogeo.sampling import paper_protocol

D = 16
DRAWS = 540  # as many as there are test images


class Judge:
    """Draws against test images: Fréchet distance in a classifier's features, and memorisation."""

    def __init__(self, data: pg.datasets.Dataset):
        self.data = data
        self.features = _classifier(data)
        self.moments = self._moments(data.test)
        self.usual = self._nearest(data.test)

    def frechet(self, images: Tensor) -> float:
        """‖μ − μ′‖² + tr(C + C′ − 2 (C C′)^½) of Gaussians fitted to features."""
        (m, c), (n, k) = self.moments, self._moments(images)
        roots = np.sqrt(np.clip(np.linalg.eigvals(c @ k).real, 0, None))
        return float(((m - n) ** 2).sum() + np.trace(c + k) - 2 * roots.sum())

    def memorisation(self, images: Tensor) -> float:
        return self._nearest(images) / self.usual

    def _moments(self, images: Tensor) -> tuple[np.ndarray, np.ndarray]:
        with torch.no_grad():
            f = self.features(images).double().numpy()
        return f.mean(0), np.cov(f.T)

    def _nearest(self, images: Tensor) -> float:
        apart = torch.cdist(images.flatten(1), self.data.train.flatten(1))
        return apart.amin(1).median().item()


def _classifier(data: pg.datasets.Dataset) -> nn.Module:
    """The last hidden layer of a small network that tells the digits apart."""
    torch.manual_seed(0)
    body, head = pg.networks.mlp((1, 8, 8), 128, 32), nn.Linear(32, 10)
    network = nn.Sequential(body, nn.ReLU(), head)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    for _ in range(40):
        for index in torch.randperm(len(data.train)).split(100):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(data.train[index]), data.train_labels[index])
            loss.backward()
            optimizer.step()
    return nn.Sequential(body, nn.ReLU()).eval()


def made(name: str, data: pg.datasets.Dataset) -> tuple[pg.VAE, object]:
    make = recipes.named(name)
    # A VampPrior's pseudo-inputs start at data.
    extra = {"data": data.train} if "data" in inspect.signature(make).parameters else {}
    return make(data.event_shape, D, **extra)


def trained(name: str, data: pg.datasets.Dataset, epochs: int) -> tuple[pg.VAE, dict]:
    """A recipe's VAE after training, and its row of the first table."""
    torch.manual_seed(0)
    vae, objective = made(name, data)
    start = time.perf_counter()
    pg.fit(
        vae,
        data.train,
        data.validation,
        objective=objective,
        epochs=epochs,
        seed=0,
        progress=False,
    )
    seconds = time.perf_counter() - start
    picture = vae.decode(vae.embed(data.test).mean).mean
    row = {
        "reconstruction": ((picture - data.test) ** 2).flatten(1).sum(1).mean().item(),
        "bound": bound(vae, data.test),
        "seconds per epoch": seconds / epochs,
        "seconds": seconds,
    }
    return vae, row


def bound(vae: pg.VAE, x: Tensor) -> float:
    """The ELBO per datum at β = 1, NaN for a guide that is a point mass."""
    if isinstance(vae.posterior, pg.guides.Deterministic):
        return float("nan")
    beta, vae.beta = vae.beta, 1.0
    torch.manual_seed(0)
    try:
        # Leapfrog guides need gradients, so no `no_grad` here.
        vae.eval()
        losses = [Trace_ELBO().loss(vae.model, vae.guide, x) for _ in range(10)]
    finally:
        vae.beta = beta
    return -float(np.mean(losses)) / len(x)


def metric_of(vae: pg.VAE, x: Tensor, covariance: str) -> pg.CentroidMetric:
    return pg.CentroidMetric.from_posterior(vae.embed(x), 100, covariance=covariance)


def samplers(vae: pg.VAE, data: pg.datasets.Dataset, quick: bool) -> dict[str, Callable]:
    """Each draws `n` latent points; what must be fitted is fitted at its call."""
    posterior = vae.embed(data.train)
    z = posterior.mean
    epochs = 5 if quick else 100
    plain = "posterior" if posterior.variance.any() else "local"

    def exact(n: int) -> Tensor:
        return pg.RiemannianUniform(metric_of(vae, data.train, plain)).sample((n,))

    def mixture(n: int) -> Tensor:
        metric = pg.CentroidMetric.from_posterior(posterior, None, covariance="local")
        held_out = vae.embed(data.validation).mean.double()
        choice = choose_bandwidth(metric, held_out)
        return pg.GeometricMixture(metric.with_bandwidth(choice.bandwidth)).sample((n,))

    def protocol(n: int) -> Tensor:
        return paper_protocol(metric_of(vae, data.train, plain), z.double(), n, seed=0)

    def drawn(law: Callable) -> Callable[[int], Tensor]:
        return lambda n: law().sample((n,))

    return {
        "prior": drawn(vae.prior),
        "mixture of 10": drawn(lambda: fit_gaussian_mixture(z, 10)),
        "masked flow": drawn(lambda: fit_flow(z, epochs=epochs, progress=False)),
        "inverse flow": drawn(
            lambda: fit_flow(
                z, "inverse", num_blocks=2, hidden=(64,), epochs=epochs // 5, progress=False
            )
        ),
        "two stages": drawn(lambda: fit_two_stage(z, epochs=epochs, progress=False)),
        "exact": exact,
        "geometric mixture": mixture,
        "protocol": protocol,
    }


def quality(vae: pg.VAE, data: pg.datasets.Dataset, judge: Judge, quick: bool) -> dict:
    """For each latent sampler its figures and seconds, or what went wrong."""
    rows = {}
    for name, sampler in samplers(vae, data, quick).items():
        torch.manual_seed(0)
        start = time.perf_counter()
        try:
            with torch.no_grad():
                z = sampler(DRAWS).detach()
            images = vae.decode(z).mean
        except (ValueError, ArithmeticError) as error:
            rows[name] = {"error": f"{type(error).__name__}: {error}"}
            continue
        rows[name] = {
            "frechet": judge.frechet(images),
            "memorisation": judge.memorisation(images),
            "seconds": time.perf_counter() - start,
        }
    return rows


def print_training(rows: dict[str, dict]) -> None:
    print(f"{'recipe':<18}{'reconstruction':>15}{'bound':>9}{'s/epoch':>9}{'seconds':>9}")
    for name, row in rows.items():
        print(
            f"{name:<18}{row['reconstruction']:>15.2f}{row['bound']:>9.2f}"
            f"{row['seconds per epoch']:>9.3f}{row['seconds']:>9.1f}"
        )


def print_quality(rows: dict[str, dict], floor: float) -> None:
    columns = list(next(iter(rows.values()))["samplers"])
    print(f"\ntraining images: Fréchet distance {floor:.2f}")
    print(f"{'recipe':<18}" + "".join(f"{name:>19}" for name in columns))
    for name, row in rows.items():
        cells = [
            "failed" if "error" in cell else f"{cell['frechet']:.2f} ({cell['memorisation']:.2f})"
            for cell in row["samplers"].values()
        ]
        print(f"{name:<18}" + "".join(f"{cell:>19}" for cell in cells))
    for name, row in rows.items():
        for sampler, cell in row["samplers"].items():
            if "error" in cell:
                print(f"{name}, {sampler}: {cell['error']}")


def print_peer(rows: dict[str, dict]) -> None:
    print(
        f"\n{'beside Pythae':<12}{'loss':>16}{'ratio':>8}{'reconstruction':>17}{'bound':>17}"
        f"{'ms/epoch':>15}{'ratio':>7}"
    )
    for name, row in rows.items():
        ours, theirs = row["ours"], row["pythae"]
        pairs = {k: f"{ours[k]:.2f}/{theirs[k]:.2f}" for k in ("loss", "reconstruction", "bound")}
        times = f"{1e3 * ours['seconds']:.0f}/{1e3 * theirs['seconds']:.0f}"
        print(
            f"{name:<12}{pairs['loss']:>17}{ours['loss'] / theirs['loss']:>8.3f}"
            f"{pairs['reconstruction']:>17}{pairs['bound']:>17}{times:>15}"
            f"{ours['seconds'] / theirs['seconds']:>7.2f}"
        )
    for name, row in rows.items():
        if row["note"]:
            print(f"{name}: {row['note']}")


def families(
    names: list[str], data: pg.datasets.Dataset, epochs: int, quick: bool, path: Path | None
) -> dict:
    judge, rows = Judge(data), {}
    for name in names:
        vae, row = trained(name, data, epochs)
        rows[name] = row | {"samplers": quality(vae, data, judge, quick)}
        print(f"{name}: trained in {row['seconds']:.1f} s", file=sys.stderr, flush=True)
        write(path, {"recipes": rows})  # a long run that is broken off keeps what it found
    floor = judge.frechet(data.train)
    print_training(rows)
    print_quality(rows, floor)
    return {"recipes": rows, "training images": floor}


def averaged(results: list[dict]) -> dict:
    """Means over seeds; of times the least, as others use the machine too."""
    row = {"note": results[0]["note"]}
    for side in ("ours", "pythae"):
        columns = {k: [r[side][k] for r in results] for k in results[0][side]}
        row[side] = {k: float(np.mean(v)) for k, v in columns.items()}
        row[side]["seconds"] = min(columns["seconds"])
    return row


def write(path: Path | None, found: dict) -> None:
    if path:
        path.write_text(json.dumps(found, indent=2))


def peer(names: list[str], data: pg.datasets.Dataset, epochs: int, seeds: int) -> dict:
    if importlib.util.find_spec("pythae") is None:
        print("\nPythae is not installed (extra bench): its table is left out")
        return {}
    names = [name for name in PAIRS if not names or name in names]
    if not names:
        return {}
    rows = {}
    for name in names:
        rows[name] = averaged([compare(name, data, epochs, seed) for seed in range(seeds)])
        ours, theirs = (rows[name][side] for side in ("ours", "pythae"))
        ratios = ours["loss"] / theirs["loss"], ours["seconds"] / theirs["seconds"]
        print(f"{name}: loss {ratios[0]:.3f}, time {ratios[1]:.2f}", file=sys.stderr, flush=True)
    print_peer(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--peer-epochs", type=int, default=50, help="at most, beside Pythae")
    parser.add_argument("--quick", action="store_true", help="a few epochs, to see that it runs")
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="NAME", help="recipes, or Pythae's"
    )
    parser.add_argument("--part", choices=["recipes", "peer"], help="one of the two halves")
    parser.add_argument("--json", type=Path, help="write the figures here")
    args = parser.parse_args()
    torch.set_num_threads(1)
    threadpool_limits(1)  # scikit-learn's
    warnings.simplefilter("ignore", pg.errors.PyrogeoWarning)
    epochs = 3 if args.quick else args.epochs
    data, found = pg.datasets.digits(), {}
    names = [name for name in recipes.CATALOGUE if not args.only or name in args.only]
    unknown = set(args.only) - set(names) - set(PAIRS)
    if unknown:
        parser.error(f"--only: expected names of recipes or of Pythae's systems, got {unknown}")
    if names and args.part != "peer":
        found |= families(names, data, epochs, args.quick, args.json)
    if args.part != "recipes":
        found["peer"] = peer(args.only, data, min(epochs, args.peer_epochs), 1 if args.quick else 3)
    write(args.json, found)


if __name__ == "__main__":
    main()

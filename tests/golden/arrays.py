"""Small results that a change of structure must not change: made once, kept in `arrays.npz`, compared ever after.

`python -m tests.golden.arrays` makes the file anew, which a change that means to move a value does, and says so.
"""

import warnings
from functools import partial
from pathlib import Path

import numpy as np
import torch
from pyro.infer import HMC, NUTS
from torch.distributions import MultivariateNormal, Normal

import pyrogeo as pg
from pyrogeo.geometry import (
    KMedoids,
    Newton,
    Spline,
    distance_matrix,
    exp_map,
    geodesic,
    volume_seeking,
)
from pyrogeo.sampling import paper_protocol

FILE = Path(__file__).with_name("arrays.npz")


def made() -> dict[str, np.ndarray]:
    """Every array by name, in float64 and on one thread, with explicit seeds."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pg.errors.PyrogeoWarning)
            torch.manual_seed(0)
            metrics = {
                name: pg.CentroidMetric.from_posterior(q, 20, seed=1) for name, q in _laws().items()
            }
            found = _fitted() | _medoids()
            for name, metric in metrics.items():
                found |= {
                    f"{name}/{key}": value
                    for key, value in (_drawn(metric) | _curves(metric)).items()
                }
            return {key: np.asarray(value) for key, value in found.items()}
    finally:
        torch.set_num_threads(threads)


def _laws() -> dict[str, torch.distributions.Distribution]:
    generator = torch.Generator().manual_seed(3)
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    means = 2 * normal(60, 3)
    scales = (0.3 * normal(60, 3) - 1.5).exp()
    factors = torch.diag_embed(scales) + 0.1 * normal(60, 3, 3).tril(-1)
    return {
        "diagonal": Normal(means, scales),
        "full": MultivariateNormal(means, scale_tril=factors),
    }


def _fitted() -> dict[str, np.ndarray]:
    digits = pg.datasets.digits(seed=0)
    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        pg.guides.DiagonalNormal(pg.networks.mlp((1, 8, 8), 16, 4)),
        pg.likelihoods.Bernoulli(pg.networks.mlp(2, 16, (1, 8, 8))),
    ).double()
    history = pg.fit(
        vae, digits.train[:300], digits.validation, epochs=3, batch_size=50, seed=5, progress=False
    )
    weights = torch.cat([p.flatten() for p in vae.parameters()])
    return {
        "fit/loss": history.table["loss"],
        "fit/validation_loss": history.table["validation_loss"],
        "fit/weights": weights.detach()[::17],
    }


def _medoids() -> dict[str, np.ndarray]:
    x = np.random.default_rng(2).normal(size=(150, 4))
    inits = ("k-medoids++", "heuristic", "random")
    return {
        f"medoids/{i}": KMedoids(12, init=i, random_state=4).fit(x).medoid_indices_ for i in inits
    }


def _drawn(metric: pg.CentroidMetric) -> dict[str, np.ndarray]:
    torch.manual_seed(11)
    density = pg.RiemannianUniform(metric)
    short = {"num_chains": 2, "warmup_steps": 20, "seed": 7, "progress": False}
    kernels = {
        "nuts": NUTS,
        "hmc": partial(HMC, step_size=0.1, num_steps=5),
        "batch": partial(pg.BatchHMC, num_steps=5, jump_every=3),
    }
    found = {n: pg.sample(density, 8, kernel=k, **short).posterior["z"] for n, k in kernels.items()}
    exact = pg.sample_smc(density, 8, 2, seed=7, progress=False)
    found |= {"exact": exact.posterior["z"], "exact/lp": exact.sample_stats["lp"]}
    starts = metric.centroids[:5]
    found["protocol"] = paper_protocol(metric, starts, 6, num_iterations=5, seed=7)
    torch.manual_seed(13)
    found["mixture"] = pg.GeometricMixture(metric).sample((6,))
    return found


def _curves(metric: pg.CentroidMetric) -> dict[str, np.ndarray]:
    seeking, c = volume_seeking(metric, power=2 / 3), metric.centroids
    newton = geodesic(seeking, c[:3], c[3:6], solver=Newton(16))
    velocity = torch.full((3, 3), 0.1, dtype=torch.float64)
    return {
        "newton": newton.length,
        "newton/middle": newton.curve(torch.tensor([0.5], dtype=torch.float64)),
        "spline": distance_matrix(seeking, c[:5], solver=Spline(), progress=False),
        "exp_map": exp_map(seeking, c[:3], velocity),
        "log_volume_element": metric.log_volume_element(c[:5] + 0.1),
    }


if __name__ == "__main__":
    np.savez_compressed(FILE, **made())

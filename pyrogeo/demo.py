"""The main job on scikit-learn's digits: from images to decoded latent samples with a verdict."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import torch
from pyro.infer import NUTS
from safetensors.torch import save_file, save_model
from torch import Tensor

from pyrogeo import plots
from pyrogeo._random import forked
from pyrogeo.datasets import Dataset, digits
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.geometry import CentroidMetric
from pyrogeo.sampling import Diagnosis, diagnose, sample
from pyrogeo.vae import VAE, fit, guides, likelihoods, networks, priors

__all__ = ["digits_vae", "run"]

FILES = (
    "latent.png",
    "samples.png",
    "chains.png",
    "draws.nc",
    "metric.safetensors",
    "summary.json",
)
WEIGHTS = Path("vae") / "weights.safetensors"


def digits_vae(latent_dim: int) -> VAE:
    """The VAE of the demo: two hidden layers of 256 units each way, Bernoulli pixels."""
    return VAE(
        priors.StandardNormal(latent_dim),
        guides.DiagonalNormal(networks.mlp((1, 8, 8), 256, 256, 2 * latent_dim)),
        likelihoods.Bernoulli(networks.mlp(latent_dim, 256, 256, (1, 8, 8))),
    )


def run(
    out: str | os.PathLike,
    latent_dim: int = 2,
    seed: int = 0,
    *,
    epochs: int = 100,
    num_samples: int = 500,
    warmup_steps: int = 300,
    num_chains: int = 4,
    progress: bool = True,
) -> Diagnosis:
    """Trains, builds the metric, samples with NUTS, judges, and writes everything into `out`.

    Args:
        out: a folder that is empty, new, or that an earlier demo wrote.
        latent_dim: d.
        seed: of everything random.
        epochs, num_samples, warmup_steps, num_chains: the size of the work.
        progress: show progress bars.

    Returns:
        the verdict on the NUTS chains.

    Raises:
        ValueError: before training, for a folder that cannot be written or holds other things.
    """
    out = _prepared(Path(out))
    data = digits()
    with forked(seed):
        vae = digits_vae(latent_dim)
    history = fit(vae, data.train, data.validation, epochs=epochs, seed=seed, progress=progress)
    posterior = vae.embed(data.train)
    metric = CentroidMetric.from_posterior(posterior, seed=seed)
    density = RiemannianUniform(metric)
    draws = sample(
        density,
        num_samples,
        NUTS,
        num_chains,
        warmup_steps=warmup_steps,
        seed=seed,
        progress=progress,
    )
    diagnosis = diagnose(draws)
    with forked(seed):
        exact = density.sample((num_samples,))
    _write(out, vae, metric, draws)
    _draw(out, vae, metric, posterior.mean, data, draws, exact)
    summary = {
        "data": {"name": "digits", "train": len(data.train), "validation": len(data.validation)},
        "latent_dim": latent_dim,
        "seed": seed,
        "best_epoch": history.best_epoch,
        "validation_elbo": -round(history.table["validation_loss"].min(), 4),
        "metric": {
            "n_centroids": metric.n_centroids,
            "bandwidth": metric.bandwidth.item(),
            "regularization": metric.regularization.item(),
            "decay": metric.decay.item(),
        },
        "verdict": diagnosis.verdict,
        "reasons": list(diagnosis.reasons),
        "table": json.loads(diagnosis.table.to_json(orient="index")),
        "versions": {
            "python": platform.python_version(),
            **{p: version(p) for p in ("pyrogeo", "torch", "pyro-ppl", "arviz", "numpy")},
        },
    }
    (out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return diagnosis


def _prepared(out: Path) -> Path:
    if out.is_dir() and any(out.iterdir()) and not (out / "summary.json").is_file():
        raise ValueError(f"{out} holds files that the demo did not write; choose another folder")
    try:
        (out / WEIGHTS.parent).mkdir(parents=True, exist_ok=True)
        probe = out / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(f"{out} cannot be written: {error.strerror}") from error
    return out


def _write(out: Path, vae: VAE, metric: CentroidMetric, draws: Any) -> None:
    save_model(vae, str(out / WEIGHTS))
    kind = {"class": type(metric).__name__, "format": "1"}
    save_file(metric.state_dict(), str(out / "metric.safetensors"), metadata=kind)
    draws.to_netcdf(out / "draws.nc", engine="h5netcdf")


def _draw(
    out: Path,
    vae: VAE,
    metric: CentroidMetric,
    embeddings: Tensor,
    data: Dataset,
    draws: Any,
    exact: Tensor,
) -> None:
    """The three pictures."""
    z = torch.from_numpy(draws.posterior["z"].to_numpy())
    with matplotlib.rc_context({"savefig.dpi": 150}):
        ax = plots.latent_space(metric, embeddings, data.train_labels, draws)
        ax.set_title("Digits in latent space, with NUTS draws", fontsize=11)
        _save(ax.figure, out / "latent.png")
        columns = 12
        some = z[:, torch.linspace(0, z.shape[1] - 1, columns).long()]
        both = torch.cat([some.flatten(0, 1), exact[: 4 * columns]])
        labels = [f"NUTS, chain {i}" for i in range(len(z))] + ["exact draws"] * 4
        ax = plots.images(vae.decode(both).mean, columns=columns, row_labels=labels)
        _save(ax.figure, out / "samples.png")
        _save(plots.chains(draws), out / "chains.png")


def _save(figure: Any, path: Path) -> None:
    figure.savefig(path, bbox_inches="tight")
    plt.close(figure)

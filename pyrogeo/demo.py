"""The main job on scikit-learn's digits: from images to decoded latent samples with a verdict."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from pyro.infer import NUTS
from torch import Tensor

from pyrogeo import plots
from pyrogeo._random import forked
from pyrogeo.datasets import digits
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.figures import save
from pyrogeo.geometry import CentroidMetric
from pyrogeo.run import Run
from pyrogeo.sampling import Diagnosis
from pyrogeo.vae import VAE
from pyrogeo.vae.standard import standard_vae

__all__ = ["run"]

FILES = (
    "latent.png",
    "samples.png",
    "chains.png",
    "draws.nc",
    "metric.safetensors",
    "vae/",
    "summary.json",
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
    """Trains, builds the metric, samples with NUTS, judges, and leaves a run folder with pictures.

    Args:
        out: a folder that is empty, new, or that an earlier demo wrote, which is then replaced.
        latent_dim: d.
        seed: of everything random.
        epochs, num_samples, warmup_steps, num_chains: the size of the work.
        progress: show progress bars.

    Returns:
        the verdict on the NUTS chains.

    Raises:
        ValueError: before training, for a folder that cannot be written or holds other things.
    """
    _remove_earlier(Path(out))
    folder = Run.create(out, command="demo", latent_dim=latent_dim, seed=seed)
    data = digits()
    with forked(seed):
        vae = standard_vae((1, 8, 8), latent_dim)
    history = folder.fit(vae, data, epochs=epochs, seed=seed, progress=progress)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    metric = folder.make_metric(seed=seed)
    draws = folder.sample(
        num_samples,
        metric=metric,
        kernel=NUTS,
        num_chains=num_chains,
        warmup_steps=warmup_steps,
        seed=seed,
        progress=progress,
    )
    diagnosis = folder.diagnose()
    with forked(seed):
        exact = RiemannianUniform(metric).sample((48,))
    _draw(folder, vae, metric, draws, exact)
    summary = {
        "data": {"name": "digits", "train": len(data.train), "validation": len(data.validation)},
        "latent_dim": latent_dim,
        "seed": seed,
        "best_epoch": history.best_epoch,
        "validation_elbo": -history.table["validation_loss"].min(),
        "metric": {
            "n_centroids": metric.n_centroids,
            "bandwidth": metric.bandwidth.item(),
            "regularization": metric.regularization.item(),
            "decay": metric.decay.item(),
        },
        "verdict": diagnosis.verdict,
        "reasons": list(diagnosis.reasons),
        "table": json.loads(diagnosis.table.to_json(orient="index")),
        "versions": folder.words["versions"],
    }
    (folder.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    return diagnosis


def _remove_earlier(out: Path) -> None:
    """Empties a folder that a demo wrote; any other that holds something, `Run.create` refuses."""
    if not (out / "run.json").is_file():
        return
    if Run(out).words["statement"].get("command") != "demo":
        raise ValueError(f"{out} holds a run that is no demo; choose another folder")
    for item in out.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def _draw(folder: Run, vae: VAE, metric: CentroidMetric, draws: Any, exact: Tensor) -> None:
    """The three pictures."""
    z = torch.from_numpy(draws.posterior["z"].to_numpy())
    embeddings, labels = folder.embeddings()
    ax = plots.latent_space(metric, embeddings, labels, draws)
    ax.set_title("Digits in latent space, with NUTS draws", fontsize=11)
    save(ax.figure, folder.folder / "latent.png")
    columns = 12
    some = z[:, torch.linspace(0, z.shape[1] - 1, columns).long()]
    both = torch.cat([some.flatten(0, 1), exact])
    words = [f"NUTS, chain {i}" for i in range(len(z))] + ["exact draws"] * (len(exact) // columns)
    ax = plots.images(vae.decode(both).mean, columns=columns, row_labels=words)
    save(ax.figure, folder.folder / "samples.png")
    save(plots.chains(draws), folder.folder / "chains.png")

"""The main job on scikit-learn's digits: from images to decoded latent samples with a verdict."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch

from pyrogeo import plots
from pyrogeo._random import forked
from pyrogeo.datasets import digits
from pyrogeo.geometry import CentroidMetric
from pyrogeo.methods import METHODS, chosen
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report
from pyrogeo.reports.pictures import save
from pyrogeo.run import Run
from pyrogeo.sampling.draws import write_draws
from pyrogeo.vae import VAE
from pyrogeo.verdict import Diagnosis, diagnose

__all__ = ["run"]

FILES = (
    "latent.png",
    "samples.png",
    "chains.png",
    "draws.nc",
    "exact.nc",
    "metric.safetensors",
    "vae/",
    "summary.json",
    "report.html",
)
_TITLES = {"nuts": "Four chains of Pyro's NUTS", "exact": "Exact draws"}
_ROWS, _COLUMNS = 4, 12


def run(
    out: str | os.PathLike,
    latent_dim: int = 2,
    seed: int = 0,
    *,
    method: str = "nuts",
    epochs: int = 100,
    num_samples: int = 500,
    warmup_steps: int = 300,
    num_chains: int | None = None,
    progress: bool = True,
) -> dict[str, Diagnosis]:
    """Trains, builds the metric, samples, judges, and leaves a run folder with pictures.

    Args:
        out: a folder that is empty, new, or that an earlier demo wrote, which is then replaced.
        latent_dim: d, the number of latent dimensions.
        seed: of everything random.
        method: a name in `pyrogeo.methods.METHODS`. Exact draws are made beside it.
        epochs, num_samples, warmup_steps, num_chains: the size of the work.
        progress: show progress bars.

    Returns:
        the verdicts on the method's draws (`draws.nc`) and on the exact ones (`exact.nc`), by name.

    Raises:
        ValueError: before training, for a folder that cannot be written or holds other things, and
            for a method that is none.
        KeyboardInterrupt: after Ctrl-C in training; `Run.fit` on the folder continues it.
    """
    if method not in METHODS:
        raise ValueError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}")
    _remove_earlier(Path(out))
    folder = Run.create(out, command="demo", latent_dim=latent_dim, method=method, seed=seed)
    data = digits()
    with forked(seed):
        vae = standard_vae((1, 8, 8), latent_dim)
    history = folder.fit(vae, data, epochs=epochs, seed=seed, progress=progress)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    metric = folder.make_metric(seed=seed)
    options = {"warmup": warmup_steps, "seed": seed, "progress": progress}
    draw = chosen(method, folder.embeddings()[0], chains=num_chains, **options)
    draws = folder.sample(num_samples, metric=metric, draw=draw)
    found = {METHODS[method]: folder.diagnose()}
    exact = chosen("exact", folder.embeddings()[0], **options)(metric, num_samples)
    write_draws(folder.folder / "exact.nc", exact)
    found[METHODS["exact"]] = diagnose(exact)
    _draw(folder, vae, metric, {method: draws, "exact": exact})
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
        "method": method,
        **dict(zip(("draws", "exact"), map(_in_words, found.values()), strict=False)),
        "versions": folder.words["versions"],
    }
    (folder.folder / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    report(folder.folder, vae=vae)
    return found


def _in_words(found: Diagnosis) -> dict[str, Any]:
    table = json.loads(found.table.to_json(orient="index"))
    return {"verdict": found.verdict, "reasons": list(found.reasons), "table": table}


def _remove_earlier(out: Path) -> None:
    """Empties a folder that a demo wrote; any other that holds something, `Run.create` refuses."""
    if not (out / "run.json").is_file():
        return
    if Run(out).words["statement"].get("command") != "demo":
        raise ValueError(f"{out} holds a run that is no demo; choose another folder")
    for item in out.iterdir():
        shutil.rmtree(item) if item.is_dir() else item.unlink()


def _draw(folder: Run, vae: VAE, metric: CentroidMetric, sets: dict[str, Any]) -> None:
    """The three pictures: latent space and decoded draws of each set, and the first set's chains."""
    embeddings, labels = folder.embeddings()
    figure, axes = plt.subplots(1, len(sets), figsize=(6.5 * len(sets), 6), layout="constrained")
    for ax, (name, draws) in zip(np.atleast_1d(axes), sets.items(), strict=True):
        plots.latent_space(metric, embeddings, labels, draws, ax=ax)
        ax.set_title(_TITLES.get(name, name), fontsize=11)
    save(figure, folder.folder / "latent.png")
    points, words = [], []
    for name, draws in sets.items():
        z = torch.from_numpy(draws.posterior["z"].to_numpy())[:_ROWS]
        points.append(z[:, torch.linspace(0, z.shape[1] - 1, _COLUMNS).long()].flatten(0, 1))
        kind = "run" if name == "exact" else "chain"
        words += [f"{name}, {kind} {i}" for i in range(len(z))]
    ax = plots.images(vae.decode(torch.cat(points)).mean, columns=_COLUMNS, row_labels=words)
    save(ax.figure, folder.folder / "samples.png")
    save(plots.chains(next(iter(sets.values()))), folder.folder / "chains.png")

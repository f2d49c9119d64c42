"""The main job on scikit-learn's digits: from images to decoded latent samples with a verdict."""

import json
import os
from pathlib import Path
from typing import Any

from pyrogeo._files import write_bytes
from pyrogeo._random import forked
from pyrogeo.datasets import digits
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report
from pyrogeo.reports.pictures import of_draws, save
from pyrogeo.run import Run
from pyrogeo.run.kept import diagnosis_in_words
from pyrogeo.run.training import CHECKPOINT
from pyrogeo.sampling.methods import METHODS, Method, chosen
from pyrogeo.vae import VAE, History
from pyrogeo.verdict import Diagnosis

__all__ = ["run"]

#: what a demo leaves beside the files of its run
PICTURES = ("latent.png", "samples.png", "chains.png")
FILES = (*PICTURES, "draws/", "vae/", "summary.json", "report.html")


def run(
    out: str | os.PathLike[str],
    latent_dim: int = 2,
    seed: int = 0,
    *,
    method: str | Method | Any = "nuts",
    epochs: int = 100,
    num_samples: int = 500,
    warmup_steps: int = 300,
    num_chains: int | None = None,
    progress: bool = True,
) -> dict[str, Diagnosis]:
    """Trains, builds the metric, samples, judges, and leaves a run folder with pictures.

    Args:
        out: a folder that is empty, new, or that an earlier demo wrote. The same demo goes on there, where
            it was interrupted; another one replaces its files, and other files stay.
        latent_dim: d, the number of latent dimensions.
        seed: of everything random.
        method: a name in `pyrogeo.methods`, or what `Run.sample` takes besides. Exact draws are made
            beside it.
        epochs, num_samples, warmup_steps, num_chains: the size of the work.
        progress: show progress bars.

    Returns:
        the verdicts on the method's draws and on the exact ones, by the methods' summaries.

    Raises:
        ValueError: before training, for a folder that cannot be written or holds other things, and
            for a method that is none.
        KeyboardInterrupt: after Ctrl-C in training; the same call continues it.
    """
    records = list(dict.fromkeys([chosen(method), METHODS["exact"]]))
    asked = {"latent_dim": latent_dim, "method": records[0].name, "seed": seed, "epochs": epochs}
    asked |= {"num_samples": num_samples, "warmup_steps": warmup_steps, "num_chains": num_chains}
    folder = _begun(Path(out), {"command": "demo", **asked})
    with forked(seed):
        vae = standard_vae((1, 8, 8), latent_dim)
    history = folder.fit(vae, digits(), epochs=epochs, seed=seed, progress=progress)
    if history.stopped == "interrupted":
        raise KeyboardInterrupt
    metric = folder.make_metric(seed=seed)
    wanted: dict[str, Any] = {"warmup_steps": warmup_steps, "seed": seed, "progress": progress}
    found = {}
    for record in records:
        settings = {k: v for k, v in wanted.items() if k in record.settings}
        if num_chains is not None and record is records[0]:
            settings["num_chains"] = num_chains
        folder.sample(num_samples, record, metric=metric, vae=vae, **settings)
        found[record.name] = folder.diagnose(record.name)
    _draw(folder, vae, list(found))
    _summarise(folder, history, found)
    report(folder.folder, vae=vae, replace=True)
    return {record.summary: found[record.name] for record in records}


def _summarise(folder: Run, history: History, found: dict[str, Diagnosis]) -> None:
    metric = folder.metric()
    summary = {
        **folder.statement,
        "best_epoch": history.best_epoch,
        "validation_elbo": -history.table["validation_loss"].min(),
        "metric": {
            "n_centroids": metric.n_centroids,
            "bandwidth": metric.bandwidth.item(),
            "regularization": metric.regularization.item(),
            "decay": metric.decay.item(),
        },
        "draws": {name: diagnosis_in_words(diagnosis) for name, diagnosis in found.items()},
        "versions": folder.store.manifest.versions,
    }
    write_bytes(folder.folder / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())


def _begun(out: Path, statement: dict[str, Any]) -> Run:
    """The folder, in which the same demo goes on where it was killed, and another one begins anew."""
    if not (out / "run.json").is_file():
        return Run.create(out, **statement)
    earlier = Run(out)
    if earlier.statement.get("command") != "demo":
        raise ValueError(f"{out} holds a run that is no demo; choose another folder")
    if earlier.statement != statement:
        beside = (*PICTURES, "summary.json", "report.html", CHECKPOINT)
        earlier.store.restart(statement, removes=beside)
    return Run(out)


def _draw(folder: Run, vae: VAE, names: list[str]) -> None:
    """Latent space and decoded draws of all sets, and the chains of the first."""
    for picture in of_draws(folder, vae, names):
        file = f"{picture.name}.png"
        if picture.name == f"chains-{names[0]}":
            file = "chains.png"
        if file in PICTURES:
            save(picture.make(), folder.folder / file)

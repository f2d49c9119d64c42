"""The pictures of a run folder."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch

from pyrogeo import plots
from pyrogeo.run import Run
from pyrogeo.vae import VAE

__all__ = ["draw", "save"]


def save(figure: Any, path: Path) -> None:
    """Writes a figure to a path, whose ending says the format, and closes it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(plt.figure(figsize=(1, 1)), Path(folder) / "empty.png")
    ...     [file.name for file in Path(folder).iterdir()]
    ['empty.png']
    """
    with matplotlib.rc_context({"savefig.dpi": 150}):
        figure.savefig(path, bbox_inches="tight")
    plt.close(figure)


def draw(folder: str | os.PathLike, vae: VAE | None = None, replace: bool = False) -> list[Path]:
    """Draws what a run holds into its `figures/`.

    Args:
        folder: the run.
        vae: of one's own parts; by default the folder's.
        replace: pictures that are there.

    Returns:
        the pictures' paths.

    Raises:
        ValueError: for a run with nothing to draw, or with pictures, without `replace`.
    """
    run = Run(folder)
    target = run.folder / "figures"
    makers = dict(_makers(run, vae))
    if not makers:
        raise ValueError(f"{run.folder} holds nothing to draw yet; fit first")
    paths = {name: target / f"{name}.png" for name in makers}
    there = [path.name for path in paths.values() if path.exists()]
    if there and not replace:
        raise ValueError(f"{target} has {', '.join(there)} already; --force replaces them")
    target.mkdir(exist_ok=True)
    for name, make in makers.items():
        made = make()
        save(getattr(made, "figure", None) or made, paths[name])
    return list(paths.values())


def _makers(run: Run, vae: VAE | None) -> Iterator[tuple[str, Callable[[], Any]]]:
    if not run.has("history"):
        return
    vae = vae or run.vae()
    yield "history", lambda: plots.history(run.history())
    yield "reconstructions", lambda: plots.reconstructions(vae, run.examples())
    if not run.has("draws"):
        return
    draws, metric = run.draws(), run.metric()
    embeddings, labels = run.embeddings()
    classes = run.words["data"]["classes"]
    if classes and labels is not None:
        labels = np.array(classes)[labels]
    yield "latent", lambda: plots.latent_space(metric, embeddings, labels, draws)
    yield "chains", lambda: plots.chains(draws)
    yield "spectrum", lambda: plots.spectrum(metric, draws)
    if run.examples().dim() == 4:
        yield "samples", lambda: _samples(vae, draws)


def _samples(vae: VAE, draws: Any) -> Any:
    """Decoded draws, evenly spaced, a row for each of the first chains."""
    z = torch.from_numpy(draws.posterior["z"].to_numpy())[:8]
    some = z[:, torch.linspace(0, z.shape[1] - 1, min(12, z.shape[1])).long()]
    words = [f"chain {i}" for i in range(len(some))]
    pictures = vae.decode(some.flatten(0, 1)).mean
    return plots.images(pictures, columns=some.shape[1], row_labels=words)

"""What a run shows: one list of pictures, each with its name, its words and how it is drawn.

`plot`, the report and the demo take their pictures from here.
"""

import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch
from torch import Tensor

from pyrogeo import plots
from pyrogeo._files import write_bytes
from pyrogeo._tensors import digest_of
from pyrogeo.plots._plane import plain
from pyrogeo.run import Run
from pyrogeo.run.asked import differing_step
from pyrogeo.sampling.methods import record_of
from pyrogeo.vae import VAE
from pyrogeo.vae.likelihoods import picture

__all__ = ["Picture", "draw", "of_draws", "of_training", "save"]

_COLUMNS = 12
_ROWS = 4  # chains of each set of draws


@dataclass(frozen=True)
class Picture:
    """One picture of a run.

    Attributes:
        name: of its file.
        title: of its section in the report.
        words: what one sees, in a paragraph.
        alternative: what it shows, for those who do not see it.
        make: draws it; returns a figure, or an Axes of one.
    """

    name: str
    title: str
    words: str
    alternative: str
    make: Callable[[], Any]


def of_training(run: Run, vae: VAE) -> Iterator[Picture]:
    """The pictures of a trained VAE: history and reconstructions."""
    history = run.history()
    yield Picture(
        "history",
        "What was trained",
        _history_in_words(history),
        f"Line plot of the losses over {len(history.table)} epochs; best at epoch {history.best_epoch}.",
        lambda: plots.history(history),
    )
    yield Picture(
        "reconstructions",
        "What the autoencoder keeps",
        "Held-out data above, what the decoder makes of their codes below. What is lost here, no draw can "
        "show.",
        "Held-out data in one row and their reconstructions below.",
        lambda: plots.reconstructions(vae, run.examples()),
    )


def _history_in_words(history: Any) -> str:
    table = history.table
    best = table.loc[history.best_epoch] if history.best_epoch else table.iloc[-1]
    held_out = best["validation_loss"]
    return (
        f"Training took {len(table)} epochs ({history.stopped}); the weights of epoch "
        f"{history.best_epoch} are kept. The loss is the negative evidence lower bound for each datum, in "
        f"nats: {best['loss']:.4g} on the training data"
        + (f", {held_out:.4g} on held-out data" if np.isfinite(held_out) else "")
        + ". A held-out loss that rises while the other falls means overfitting."
    )


def of_draws(run: Run, vae: VAE, names: Sequence[str]) -> Iterator[Picture]:
    """The pictures of sets of draws, side by side where there are several.

    Args:
        run: that holds them.
        vae: that decodes them.
        names: of the sets.
    """
    sets = {name: run.draws(name) for name in names}
    if all(run.sets.has("metric", name) for name in names):
        yield _latent(run, sets)
    if run.examples().dim() == 4:
        yield _samples(run, vae, sets)
    for name, draws in sets.items():
        end = "" if len(sets) == 1 else f"-{name}"
        yield Picture(
            f"chains{end}",
            f"Chains: {name}",
            "Each bar plot shows where one chain's draws stand among all draws. Chains of one law have "
            "flat bars; a chain that is high on one side has seen another part of the density than the "
            "others.",
            f"Rank and trace plots of the {name} draws: the quantities whose chains agree least, and the "
            "log-density.",
            partial(plots.chains, draws),
        )
        if run.sets.has("metric", name):
            yield Picture(
                f"spectrum{end}",
                f"Spectrum of the metric: {name}",
                "Eigenvalues of the metric along the draws: directions in which a step is long.",
                f"Eigenvalues of the metric at the {name} draws.",
                partial(plots.spectrum, run.metric(name), draws),
            )


def _latent(run: Run, sets: dict[str, Any]) -> Picture:
    labels = run.embeddings()[1]
    if labels is not None and run.classes:
        labels = np.array(run.classes)[labels]
    k, n = run.metric(next(iter(sets))).n_centroids, len(run.embeddings()[0])

    def make() -> Any:
        size = (6.5 * len(sets), 6)
        figure, axes = plt.subplots(1, len(sets), figsize=size, layout="constrained", squeeze=False)
        for ax, (name, draws) in zip(axes[0], sets.items(), strict=True):
            plots.latent_space(run.metric(name), run.embeddings()[0], labels, draws, ax=ax)
            ax.set_title(plain(record_of(draws).title), fontsize=11)
        return figure

    return Picture(
        "latent",
        "The latent space",
        "Each dot is the code of a training datum, coloured by class where classes are known. Circles are "
        f"the {k} centroids that carry the metric, black marks are draws.",
        f"Scatter plot of {n} codes, {k} centroids and the draws ({', '.join(sets)}).",
        make,
    )


def _samples(run: Run, vae: VAE, sets: dict[str, Any]) -> Picture:
    training, total = run.training()
    among = f"{len(training)}" if len(training) == total else f"{len(training)} of {total}"
    return Picture(
        "samples",
        "Samples, and the training data nearest to them",
        "Decoded draws, evenly spaced along each chain, and below each the training image that is nearest "
        f"in pixels, among {among}. Rows that repeat themselves mean a chain that stays in one place; "
        "samples that equal their neighbours mean memorisation.",
        "Rows of decoded draws, each followed by a row of nearest training images.",
        partial(_images_beside_nearest, vae, training, sets),
    )


def _images_beside_nearest(vae: VAE, training: Tensor, sets: dict[str, Any]) -> Any:
    rows, words = [], []
    least = min(draws.posterior.sizes["draw"] for draws in sets.values())
    for name, draws in sets.items():
        z = torch.from_numpy(draws.posterior["z"].to_numpy())[:_ROWS]
        some = z[:, torch.linspace(0, z.shape[1] - 1, min(_COLUMNS, least)).long()]
        for number, chain in enumerate(some):
            samples = picture(vae.decode(chain)).cpu()
            near = torch.cdist(samples.flatten(1), training.flatten(1)).argmin(1)
            rows += [samples, training[near]]
            words += [f"{name}, {number}", "nearest"]
    return plots.images(torch.cat(rows), columns=len(rows[0]), row_labels=words)


def save(figure: Any, path: Path) -> None:
    """Writes a figure, or that of an Axes, to a path whose ending says the format, and closes it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(plt.figure(figsize=(1, 1)), Path(folder) / "empty.png")
    ...     [file.name for file in Path(folder).iterdir()]
    ['empty.png']
    """
    figure = getattr(figure, "figure", None) or figure
    buffer = io.BytesIO()
    with matplotlib.rc_context({"savefig.dpi": 150}):
        figure.savefig(buffer, format=Path(path).suffix[1:] or None, bbox_inches="tight")
    plt.close(figure)
    write_bytes(path, buffer.getbuffer())


def draw(
    folder: str | os.PathLike[str],
    vae: VAE | None = None,
    replace: bool = False,
    name: str | None = None,
) -> list[Path]:
    """Draws what a run holds into its `figures/`.

    Args:
        folder: the run.
        vae: of one's own parts; by default the folder's.
        replace: pictures that are there.
        name: of the set of draws, by default the last.

    Returns:
        the pictures' paths.

    Raises:
        ValueError: for a run with nothing to draw, or with other pictures, without `replace`. Those of the
            run as it is now are left as they are.
    """
    run = Run(folder)
    if not run.has("history"):
        raise ValueError(f"{run.folder} holds nothing to draw yet; fit first")
    vae = vae or run.vae()
    made = list(of_training(run, vae))
    asked = {"vae": digest_of(vae.state_dict())}
    inputs = ["vae/weights.safetensors", "history.json", "posterior.safetensors"]
    if run.has("draws"):
        asked["draws"] = chosen = run.sets.chosen(name)
        run.warn_if_stale(chosen)
        made += of_draws(run, vae, [chosen])
        inputs += [run.sets.path(chosen, k) for k in ("draws", "metric") if run.sets.has(k, chosen)]
    files = [f"figures/{picture.name}.png" for picture in made]
    run.store.finish()
    if not replace and _are_there(run, asked, files):
        return [run.store.file(file) for file in files]
    with run.store.step("figures", tuple(inputs), asked) as new:
        for picture, file in zip(made, files, strict=True):
            save(picture.make(), new(file))
    return [run.store.file(file) for file in files]


def _are_there(run: Run, asked: dict[str, str], files: Sequence[str]) -> bool:
    """Whether the pictures are there already, as they are asked for.

    Raises:
        ValueError: for others, or files that no step of the run made.
    """
    store, other = run.store, ""
    if store.has("figures"):
        other = differing_step(store, "figures", asked)
        if not other and store.is_whole("figures"):
            return True
        other = other and f", made otherwise: {other}"
    ours = store.manifest.steps["figures"].files if store.has("figures") else ()
    there = [f for f in files if (run.folder / f).exists() and (other or f not in ours)]
    if there or other:
        names = ", ".join(Path(file).name for file in there or ours)
        raise ValueError(
            f"{run.folder / 'figures'} has {names} already{other}; replace them, or use another run"
        )
    return False

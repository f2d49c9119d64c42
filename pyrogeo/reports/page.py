"""A run as one HTML file that needs no network: what was trained, what was drawn, and how far to trust it."""

import base64
import html
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch

from pyrogeo import plots
from pyrogeo._files import replacing
from pyrogeo.run import Run
from pyrogeo.vae import VAE
from pyrogeo.verdict import Diagnosis
from pyrogeo.verdict.diagnosis import draws_method

__all__ = ["report"]

_COLUMNS = 12
_MEANING = {
    "pass": "The chains tell the same story, and there are enough draws to rely on their averages.",
    "too short": "Nothing speaks against the chains, but there is too little of them to tell. Averages over "
    "these draws are rough; the reasons below say how many more are needed.",
    "disagree": "The chains contradict each other, or exact draws. Averages over these draws depend on where "
    "the chains happened to start, and more draws of the same kind will hardly help.",
}
_METHOD = {
    "chains": "Markov chains: each draw follows from the one before it.",
    "smc": "independent runs of sequential Monte Carlo, whose draws follow the density exactly in the limit "
    "of large runs.",
    "mixture": "independent draws of the geometric mixture.",
    "protocol": "last states of short chains that start at training data, the procedure of the paper.",
}
_COLUMN_WORDS = {
    "mean": "average over all draws",
    "sd": "standard deviation",
    "mcse_mean": "error of the average that comes from having finitely many draws",
    "ess_bulk": "how many independent draws the middle of the distribution is worth; at least 400 are wanted",
    "ess_tail": "the same for the tails",
    "r_hat": "variation between chains against variation within them; at most 1.01 if they agree",
    "ess_between": "how many independent draws the runs together are worth",
}


def report(
    folder: str | os.PathLike,
    path: str | os.PathLike | None = None,
    vae: VAE | None = None,
    replace: bool = False,
) -> Path:
    """Writes the report of a run folder.

    Args:
        folder: the run, at least fitted.
        path: of the file, by default `report.html` in the folder.
        vae: of one's own parts; by default the folder's.
        replace: a file that is there.

    Returns:
        the file's path.

    Raises:
        ValueError: for a folder without a trained VAE, or a file that exists, without `replace`.
    """
    run = Run(folder)
    path = run.folder / "report.html" if path is None else Path(path)
    if not run.has("history"):
        raise ValueError(f"{run.folder} holds nothing to report yet; fit first")
    if path.exists() and not replace:
        raise ValueError(f"{path} exists already; --force replaces it")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is not a folder")
    vae = vae or run.vae()
    found = run.diagnose() if run.has("draws") else None
    with matplotlib.rc_context({"savefig.dpi": 110}):
        sections = [*_trained(run, vae), *_drawn(run, vae, found), *_settings(run)]
    page = _PAGE.format(
        title=html.escape(f"pyrogeo: {run.folder.resolve().name}"),
        lead=_lead(run, found),
        links="".join(f'<li><a href="#{name}">{title}</a></li>' for name, title, _ in sections),
        sections="".join(
            f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{title}</h2>'
            f"{body}</section>"
            for name, title, body in sections
        ),
    )
    replacing(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def _lead(run: Run, found: Diagnosis | None) -> str:
    data = html.escape(str(run.words["data"]["name"]))
    d = run.embeddings()[0].shape[1]
    lines = [f"A variational autoencoder of {data} with {d} latent dimensions."]
    if found is not None:
        kind = found.verdict.replace(" ", "-")
        lines.append(
            f'<span class="verdict {kind}">Verdict on the draws: {found.verdict}.</span> '
            f"{_MEANING[found.verdict]}"
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def _trained(run: Run, vae: VAE) -> Iterator[tuple[str, str, str]]:
    history = run.history()
    table = history.table
    best = table.loc[history.best_epoch] if history.best_epoch else table.iloc[-1]
    words = (
        f"<p>Training took {len(table)} epochs ({history.stopped}); the weights of epoch "
        f"{history.best_epoch} are kept. The loss is the negative evidence lower bound for each datum, in "
        f"nats: {best['loss']:.4g} on the training data"
    )
    held_out = best["validation_loss"]
    words += f", {held_out:.4g} on held-out data" if np.isfinite(held_out) else ""
    words += ". A held-out loss that rises while the other falls means overfitting.</p>"
    alt = f"Line plot of the losses over {len(table)} epochs; best at epoch {history.best_epoch}."
    yield "training", "What was trained", words + _picture(plots.history(history), alt)
    picture = plots.reconstructions(vae, run.examples())
    yield (
        "reconstructions",
        "What the autoencoder keeps",
        "<p>Held-out data above, what the decoder makes of their codes below. What is lost here, no draw can "
        "show.</p>"
        + _picture(picture, "Held-out data in one row and their reconstructions below."),
    )


def _drawn(run: Run, vae: VAE, found: Diagnosis | None) -> Iterator[tuple[str, str, str]]:
    if found is None:
        return
    draws, metric = run.draws(), run.metric()
    embeddings, labels = run.embeddings()
    classes = run.words["data"]["classes"]
    if classes and labels is not None:
        labels = np.array(classes)[labels]
    picture = plots.latent_space(metric, embeddings, labels, draws)
    words = (
        "<p>Each dot is the code of a training datum, coloured by class where classes are known. Circles are "
        f"the {metric.n_centroids} centroids that carry the metric, black marks are draws.</p>"
    )
    alt = f"Scatter plot of {len(embeddings)} codes, {metric.n_centroids} centroids and the draws."
    yield "latent", "The latent space", words + _picture(picture, alt)
    if run.examples().dim() == 4:
        yield "samples", "Samples, and the training data nearest to them", _samples(run, vae, draws)
    yield "verdict", "The verdict", _verdict(draws, found)


def _samples(run: Run, vae: VAE, draws: Any) -> str:
    z = torch.from_numpy(draws.posterior["z"].to_numpy())
    some = z[:4, torch.linspace(0, z.shape[1] - 1, min(_COLUMNS, z.shape[1])).long()]
    samples = vae.decode(some.flatten(0, 1)).mean.cpu()
    training, total = run.training()
    nearest = training[torch.cdist(samples.flatten(1), training.flatten(1)).argmin(1)]
    rows, words = [], []
    columns = some.shape[1]
    for i, chain in enumerate(samples.split(columns)):
        rows += [chain, nearest[i * columns : (i + 1) * columns]]
        words += [f"chain {i}", "nearest"]
    picture = plots.images(torch.cat(rows), columns=columns, row_labels=words)
    among = f"{len(training)}" if len(training) == total else f"{len(training)} of {total}"
    return (
        "<p>Decoded draws, evenly spaced along each chain, and below each the training image that is nearest "
        f"in pixels, among {among}. Rows that repeat themselves mean a chain that stays in one place; samples "
        "that equal their neighbours mean memorisation.</p>"
        + _picture(
            picture, "Rows of decoded draws, each followed by a row of nearest training images."
        )
    )


def _verdict(draws: Any, found: Diagnosis) -> str:
    sizes = draws.posterior.sizes
    reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in found.reasons)
    text = (
        f"<p><strong>{found.verdict}</strong>: {_MEANING[found.verdict]}</p>"
        f"<p>The draws: {sizes['chain']} times {sizes['draw']}, "
        f"{_METHOD.get(draws_method(draws), '')}</p><ul>{reasons}</ul>"
        "<p>Each bar plot below shows where one chain's draws stand among all draws. Chains of one law have "
        "flat bars; a chain that is high on one side has seen another part of the density than the others.</p>"
    )
    alt = "Rank and trace plots of the quantities whose chains agree least, and of the log-density."
    return text + _picture(plots.chains(draws), alt) + _table(found)


def _table(found: Diagnosis) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in found.table.columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th>'
        + "".join(f"<td>{_number(column, value)}</td>" for column, value in row.items())
        + "</tr>"
        for name, row in found.table.iterrows()
    )
    terms = "".join(
        f"<dt>{name}</dt><dd>{_COLUMN_WORDS.get(name, '')}</dd>" for name in found.table.columns
    )
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of diagnostics"><table>'
        "<caption>Diagnostics of each latent coordinate and of the log-density (lp)</caption>"
        f'<thead><tr><th scope="col">quantity</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"<details><summary>What the columns mean</summary><dl>{terms}</dl></details>"
    )


def _number(column: str, value: float) -> str:
    return (
        f"{value:.0f}"
        if column.startswith("ess")
        else f"{value:.3f}"
        if column == "r_hat"
        else f"{value:.3g}"
    )


def _settings(run: Run) -> Iterator[tuple[str, str, str]]:
    yield "settings", "Settings and versions", f"<pre>{html.escape(run.summary())}</pre>"


def _picture(made: Any, alt: str) -> str:
    """A figure, or the one of an Axes, as an image within the page."""
    figure = getattr(made, "figure", None) or made
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<figure><img src="data:image/png;base64,{data}" alt="{html.escape(alt)}"></figure>'


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --ink: #1b1f24; --paper: #ffffff; --line: #c8ccd1; --link: #0b57a4; }}
@media (prefers-color-scheme: dark) {{
  :root {{ --ink: #e8eaed; --paper: #16191d; --line: #4a5058; --link: #8ab8f0; }}
}}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 60rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, sans-serif; }}
h1 {{ font-size: 1.7rem; }} h2 {{ font-size: 1.3rem; margin-top: 2.2rem; }}
a {{ color: var(--link); }} a:focus-visible, summary:focus-visible, .scroll:focus-visible {{ outline: 3px solid var(--link); }}
.skip {{ position: absolute; left: -99rem; }} .skip:focus {{ position: static; }}
nav ul {{ display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; padding: 0; list-style: none; }}
figure {{ margin: 1rem 0; }} img {{ max-width: 100%; height: auto; background: white; border-radius: 4px; }}
.scroll {{ overflow-x: auto; }} table {{ border-collapse: collapse; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; padding-bottom: .4rem; }}
th, td {{ padding: .2rem .7rem; border-bottom: 1px solid var(--line); text-align: right; }}
th[scope=row], thead th:first-child {{ text-align: left; }}
.verdict {{ font-weight: 700; padding: .15rem .5rem; border-radius: 4px; color: #ffffff; }}
.pass {{ background: #1a6b35; }} .too-short {{ background: #7a5200; }} .disagree {{ background: #a3202a; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font-size: .9rem; }}
dt {{ font-weight: 600; }} dd {{ margin: 0 0 .4rem 1.2rem; }}
</style>
</head>
<body>
<a class="skip" href="#main">To the content</a>
<header><h1>{title}</h1>{lead}<nav aria-label="Contents"><ul>{links}</ul></nav></header>
<main id="main">{sections}</main>
</body>
</html>
"""

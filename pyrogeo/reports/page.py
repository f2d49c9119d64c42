"""A run as one HTML file that needs no network: what was trained, what was drawn, and how far to trust it."""

import base64
import html
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Template
from typing import NamedTuple

import matplotlib
import matplotlib.pyplot as plt

from pyrogeo._files import replacing
from pyrogeo.reports.pictures import Picture, of_draws, of_training
from pyrogeo.reports.summary import summary
from pyrogeo.run import Run
from pyrogeo.sampling.methods import record_of
from pyrogeo.vae import VAE
from pyrogeo.verdict import Diagnosis

__all__ = ["report"]

_TEMPLATE = Path(__file__).with_name("page.html")
_MEANING = {
    "pass": "The chains tell the same story, and there are enough draws to rely on their averages.",
    "too short": "Nothing speaks against the chains, but there is too little of them to tell. Averages over "
    "these draws are rough; the reasons below say how many more are needed.",
    "disagree": "The chains contradict each other, or exact draws. Averages over these draws depend on where "
    "the chains happened to start, and more draws of the same kind will hardly help.",
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


class _Section(NamedTuple):
    anchor: str
    title: str
    body: str


def report(
    folder: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    vae: VAE | None = None,
    replace: bool = False,
    name: str | None = None,
) -> Path:
    """Writes the report of a run folder, which it leaves as it is.

    The verdicts are those that `Run.diagnose` kept; where it was not asked, the page says so.

    Args:
        folder: the run, at least fitted.
        path: of the file, by default `report.html` in the folder.
        vae: of one's own parts; by default the folder's.
        replace: a file that is there.
        name: of a set of draws, with which exact ones are shown if there are any; by default all are.

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
        raise ValueError(f"{path} exists already; replace it, or write to another file")
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is not a folder")
    vae = vae or run.vae()
    found = {each: run.diagnosis(each) for each in _shown(run, name)}
    with matplotlib.rc_context({"savefig.dpi": 110}):
        sections = [*_trained(run, vae), *_drawn(run, vae, found), _settings(run)]
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(f"pyrogeo: {run.folder.resolve().name}"),
        lead=_lead(run, found),
        links="".join(f'<li><a href="#{s.anchor}">{s.title}</a></li>' for s in sections),
        sections="".join(_in_html(section) for section in sections),
    )
    replacing(path, lambda temporary: temporary.write_text(page, encoding="utf-8"))
    return path


def _shown(run: Run, name: str | None) -> list[str]:
    if name is None:
        return list(run.sets.names)
    beside = [other for other in run.sets.names if other == "exact" and other != name]
    return [run.sets.chosen(name), *beside]


def _in_html(section: _Section) -> str:
    anchor = section.anchor
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{section.title}</h2>{section.body}</section>'
    )


def _lead(run: Run, found: dict[str, Diagnosis | None]) -> str:
    d = run.embeddings()[0].shape[1]
    lines = [
        f"A variational autoencoder of {html.escape(run.data_name)} with {d} latent dimensions."
    ]
    for name, diagnosis in found.items():
        which = "the draws" if len(found) == 1 else f"the {html.escape(name)} draws"
        if diagnosis is None:
            lines.append(f"The verdict on {which} was not asked for.")
            continue
        kind = diagnosis.verdict.replace(" ", "-")
        lines.append(
            f'<span class="verdict {kind}">Verdict on {which}: {diagnosis.verdict}.</span> '
            f"{_MEANING[diagnosis.verdict]}"
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def _trained(run: Run, vae: VAE) -> Iterator[_Section]:
    for picture in of_training(run, vae):
        yield _with_words(picture)


def _drawn(run: Run, vae: VAE, found: dict[str, Diagnosis | None]) -> Iterator[_Section]:
    if not found:
        return
    pictures = {picture.name: picture for picture in of_draws(run, vae, list(found))}
    for name in ("latent", "samples"):
        if name in pictures:
            yield _with_words(pictures[name])
    for name, diagnosis in found.items():
        chains = pictures["chains" if len(found) == 1 else f"chains-{name}"]
        yield _verdict(run, name, diagnosis, chains, alone=len(found) == 1)


def _verdict(
    run: Run, name: str, found: Diagnosis | None, chains: Picture, alone: bool
) -> _Section:
    draws = run.draws(name)
    sizes = draws.posterior.sizes
    if found is None:
        text = "<p>The verdict was not asked for.</p>"
    else:
        reasons = "".join(f"<li>{html.escape(reason)}</li>" for reason in found.reasons)
        text = (
            f"<p><strong>{found.verdict}</strong>: {_MEANING[found.verdict]}</p><ul>{reasons}</ul>"
        )
    text += (
        f"<p>The draws: {sizes['chain']} times {sizes['draw']}, "
        f"{html.escape(record_of(draws).words)}</p><p>{chains.words}</p>"
    )
    text += _image(chains) + ("" if found is None else _table(found))
    title = "The verdict" if alone else f"The verdict on {html.escape(name)}"
    return _Section("verdict" if alone else f"verdict-{name}", title, text)


def _table(found: Diagnosis) -> str:
    columns: Sequence[str] = list(found.table.columns)
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row">{html.escape(str(name))}</th>'
        + "".join(f"<td>{_number(column, value)}</td>" for column, value in row.items())
        + "</tr>"
        for name, row in found.table.iterrows()
    )
    terms = "".join(f"<dt>{name}</dt><dd>{_COLUMN_WORDS.get(name, '')}</dd>" for name in columns)
    return (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of diagnostics"><table>'
        "<caption>Diagnostics of each latent coordinate and of the log-density (lp)</caption>"
        f'<thead><tr><th scope="col">quantity</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        f"<details><summary>What the columns mean</summary><dl>{terms}</dl></details>"
    )


def _number(column: str, value: float) -> str:
    if column.startswith("ess"):
        return f"{value:.0f}"
    return f"{value:.3f}" if column == "r_hat" else f"{value:.3g}"


def _settings(run: Run) -> _Section:
    return _Section("settings", "Settings and versions", f"<pre>{html.escape(summary(run))}</pre>")


def _with_words(picture: Picture) -> _Section:
    return _Section(
        picture.name, picture.title, f"<p>{html.escape(picture.words)}</p>{_image(picture)}"
    )


def _image(picture: Picture) -> str:
    """A picture within the page."""
    made = picture.make()
    figure = getattr(made, "figure", None) or made
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    alternative = html.escape(picture.alternative)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{alternative}"></figure>'

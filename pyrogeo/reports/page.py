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

from pyrogeo._files import write_bytes
from pyrogeo._words import printable
from pyrogeo.reports.made_from import made_from, written_in
from pyrogeo.reports.pictures import Picture, of_draws, of_training
from pyrogeo.reports.summary import summary
from pyrogeo.run import Run
from pyrogeo.sampling.methods import record_of
from pyrogeo.vae import VAE
from pyrogeo.verdict import Diagnosis
from pyrogeo.verdict.groups import group_ids
from pyrogeo.verdict.length import could_speak

__all__ = ["report"]

_TEMPLATE = Path(__file__).with_name("page.html")
_MEANING = {
    "pass": "The chains tell the same story, and there are enough draws to rely on their averages.",
    "too short": "Nothing speaks against the chains, but there is too little of them to tell. Averages over "
    "these draws are rough; the reasons below say how many more are needed.",
    "cannot tell": "There is too little to tell whether the chains agree: the test could not speak, or what it "
    "would compare is missing. The reasons below say which, and what to do.",
    "disagree": "The chains contradict each other, or exact draws. Averages over these draws depend on where "
    "the chains happened to start; the reasons below say what would help.",
}
_RUNS_DIFFER = "The independent runs differ by more than is wanted of averages over them; the reasons below say by how much."
_OF_EARLIER = (
    "There is too little of the chains to tell whether they agree. The verdict is of an earlier version, which "
    "had no other word for that; the reasons below say how many more draws are needed."
)
_COLUMN_WORDS = {
    "mean": "average over all draws",
    "sd": "standard deviation",
    "mcse_mean": "error of the average that comes from having finitely many draws",
    "ess_bulk": "how many independent draws the middle of the distribution is worth; at least 400 are wanted",
    "ess_tail": "the same for the tails",
    "r_hat": "variation between chains against variation within them; at most 1.01 if they agree",
    "median": "middle of all draws",
    "mcse_median": "error of the middle that comes from having finitely many draws",
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
        ValueError: for a folder without a trained VAE, or a file that exists and is another report, or none,
            without `replace`. One of the same run as it is now is left as it is.
    """
    run = Run(folder)
    path = run.folder / "report.html" if path is None else Path(path)
    if not run.has("history"):
        raise ValueError(f"{run.folder} holds nothing to report yet; fit first")
    mark = made_from(run, name, vae)
    if path.exists() and not replace:
        if written_in(path) == mark:
            return path
        raise ValueError(
            f"{path} exists already{_kind(path)}; replace it, or write to another file"
        )
    if not path.parent.is_dir():
        raise ValueError(f"{path.parent} is not a folder")
    run.warn_if_stale(*_shown(run, name))
    vae = vae or run.vae()
    found = {each: run.diagnosis(each) for each in _shown(run, name)}
    with matplotlib.rc_context({"savefig.dpi": 110}):
        sections = [*_trained(run, vae), *_drawn(run, vae, found), _settings(run)]
    page = Template(_TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=_text(f"pyrogeo: {run.folder.resolve().name}"),
        mark=_text(mark),
        lead=_lead(run, found),
        links="".join(map(_link, sections)),
        sections="".join(_in_html(section) for section in sections),
    )
    write_bytes(path, page.encode())
    return path


def _kind(path: Path) -> str:
    return "" if written_in(path) is None else ", and reports other draws or an earlier state"


def _shown(run: Run, name: str | None) -> list[str]:
    if name is None:
        return list(run.sets.names)
    beside = [other for other in run.sets.names if other == "exact" and other != name]
    return [run.sets.chosen(name), *beside]


def _text(words: object) -> str:
    """Words as text of the page or a value of an attribute: no markup, no control characters.

    All that is not written in this file goes through here.
    """
    return html.escape("\n".join(map(printable, str(words).split("\n"))))


def _in_html(section: _Section) -> str:
    anchor = _text(section.anchor)
    return (
        f'<section id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title">{_text(section.title)}</h2>{section.body}</section>'
    )


def _link(section: _Section) -> str:
    return f'<li><a href="#{_text(section.anchor)}">{_text(section.title)}</a></li>'


def _lead(run: Run, found: dict[str, Diagnosis | None]) -> str:
    d = run.embeddings()[0].shape[1]
    lines = [f"A variational autoencoder of {_text(run.data_name)} with {d} latent dimensions."]
    for name, diagnosis in found.items():
        which = "the draws" if len(found) == 1 else f"the {_text(name)} draws"
        if run.is_stale(name):
            lines.append(f"{which.capitalize()} are stale: they are of an earlier training.")
        if diagnosis is None:
            lines.append(f"The verdict on {which} {_missing(run, name)}.")
            continue
        kind = diagnosis.verdict.replace(" ", "-")
        lines.append(
            f'<span class="verdict {_text(kind)}">Verdict on {which}: {_text(diagnosis.verdict)}.</span> '
            f"{_meaning(run, name, diagnosis)}"
        )
    return "".join(f"<p>{line}</p>" for line in lines)


def _meaning(run: Run, name: str, found: Diagnosis) -> str:
    """What a verdict means; "too short" of an earlier version may have to be "cannot tell"."""
    if found.verdict != "too short":
        return _MEANING[found.verdict]
    if "ess_between" in found.table:
        return _RUNS_DIFFER
    draws = run.draws(name)
    ids = group_ids(draws, None, draws.posterior.sizes["chain"])
    return _MEANING["too short"] if could_speak(found.table, ids) else _OF_EARLIER


def _missing(run: Run, name: str) -> str:
    return "is stale, of earlier draws" if run.has_stale_verdict(name) else "was not asked for"


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
        text = f"<p>The verdict {_missing(run, name)}.</p>"
    else:
        reasons = "".join(f"<li>{_text(reason)}</li>" for reason in found.reasons)
        text = f"<p><strong>{_text(found.verdict)}</strong>: {_meaning(run, name, found)}</p><ul>{reasons}</ul>"
    text += (
        f"<p>The draws: {sizes['chain']} times {sizes['draw']}, "
        f"{_text(record_of(draws).words)}</p><p>{_text(chains.words)}</p>"
    )
    text += _image(chains) + ("" if found is None else _table(found))
    title = "The verdict" if alone else f"The verdict on {name}"
    return _Section("verdict" if alone else f"verdict-{name}", title, text)


def _table(found: Diagnosis) -> str:
    columns: Sequence[str] = list(found.table.columns)
    head = "".join(f'<th scope="col">{_text(name)}</th>' for name in columns)
    rows = "".join(
        f'<tr><th scope="row">{_text(name)}</th>'
        + "".join(f"<td>{_number(column, value)}</td>" for column, value in row.items())
        + "</tr>"
        for name, row in found.table.iterrows()
    )
    terms = "".join(
        f"<dt>{_text(name)}</dt><dd>{_COLUMN_WORDS.get(name, '')}</dd>" for name in columns
    )
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
    return _Section(
        "settings", "Settings and versions", f"<pre>{_text(summary(run, shown=False))}</pre>"
    )


def _with_words(picture: Picture) -> _Section:
    return _Section(picture.name, picture.title, f"<p>{_text(picture.words)}</p>{_image(picture)}")


def _image(picture: Picture) -> str:
    """A picture within the page."""
    made = picture.make()
    figure = getattr(made, "figure", None) or made
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", facecolor="white")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    alternative = _text(picture.alternative)
    return f'<figure><img src="data:image/png;base64,{data}" alt="{alternative}"></figure>'

"""What a run holds, in lines of text. Loads nothing but the manifest and the small files it reads."""

import json
from collections.abc import Iterator

from pyrogeo._words import printable
from pyrogeo.reports.made_from import is_of_now, written_in
from pyrogeo.run import Run
from pyrogeo.run.manifest import Step
from pyrogeo.sampling.draws import is_incomplete

__all__ = ["summary"]


def summary(run: Run, shown: bool = True) -> str:
    """What the folder holds, in lines.

    Args:
        run: the folder.
        shown: also what was made to be looked at: decoded draws, figures, the report.

    Returns:
        its state, what was asked for, training, each set of draws with its verdict, and versions; of each
        whether it is stale, because what it was made from was made anew.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     print(summary(Run.create(folder, purpose="an example")).splitlines()[1])
      purpose: an example
    """
    # what a file says stays within its line
    return "\n".join(map(printable, _lines(run, shown)))


def _lines(run: Run, shown: bool) -> Iterator[str]:
    manifest = run.store.manifest
    yield f"{run.folder}: {run.state}, created {manifest.created}"
    for name, value in run.statement.items():
        yield f"  {name}: {json.dumps(value) if isinstance(value, dict) else value}"
    if run.is_interrupted:
        which = "training" if run.state == "interrupted" else "a later training"
        yield f"{which} was interrupted: the same fit on this folder continues it"
    if run.has("history"):
        yield from _training(run)
    for name in run.sets.names:
        yield from _draws(run, name, manifest.steps[f"draws/{name}"])
    if shown:
        yield from _shown(run)
    yield "made with " + ", ".join(f"{k} {v}" for k, v in manifest.versions.items())


def _training(run: Run) -> Iterator[str]:
    history = run.history()
    yield f"training: {len(history.table)} epochs, {history.stopped}; kept {history.best_epoch}"
    if history.best_epoch:
        best = history.table.loc[history.best_epoch]
        held_out = best["validation_loss"]
        yield f"  loss {best['loss']:.4g}, validation {held_out:.4g} nats per datum"


def _draws(run: Run, name: str, step: Step) -> Iterator[str]:
    draws = run.draws(name)
    sizes = draws.posterior.sizes
    incomplete = ", interrupted" if is_incomplete(draws) else ""
    took = f", {step.seconds:.0f} s" if step.seconds >= 1 else ""
    old = "; stale, of an earlier training" if run.is_stale(name) else ""
    yield f"draws {name}: {sizes['chain']} chains of {sizes['draw']}{incomplete}{took}{old}"
    if run.sets.has("metric", name):
        yield f"  metric: {run.metric(name)}"
    found = run.diagnosis(name)
    missing = "stale, of earlier draws" if run.has_stale_verdict(name) else "not asked for yet"
    yield f"  verdict: {missing if found is None else found.verdict}"


def _shown(run: Run) -> Iterator[str]:
    manifest = run.store.manifest
    for name in manifest.steps:
        if name.startswith("decoded/") or name == "figures":
            said = "stale, of earlier draws or training" if manifest.is_stale(name) else "there"
            yield f"{name.replace('/', ' ')}: {said}"
    mark = written_in(run.folder / "report.html")
    if mark is not None:
        yield f"report: {'there' if is_of_now(run, mark) else 'stale, of an earlier state'}"

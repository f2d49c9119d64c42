"""What the user can mend, in one line: the library says what is wrong, the command line which option mends it."""

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import typer

from pyrogeo._words import printable

__all__ = ["one_line", "run_folder"]

#: what the library advises, in the words of the options
_OPTIONS = {
    "pass initial_params=...": "take fewer --chains, or --method exact",
    "or pass initial_params": "or --method exact",
    "broken='skip' passes over them": "--skip-broken passes over them",
    "choose a new folder, or train anew": "choose a new folder, or --force trains anew",
    "pages='each' reads them one by one": "--pages each reads them one by one",
    "a larger max_pixels takes it": "a larger --max-pixels takes it",
    "max_pixels=": "--max-pixels ",
    "pass value_range=(LOW, HIGH)": "pass --range LOW HIGH",
    "without value_range=(LOW, HIGH)": "without --range LOW HIGH",
    "value_range: expected": "--range: expected",
    "value_range": "--range",
    "missing='keep' takes": "--missing keep takes",
    "dense=True makes it dense": "--dense makes it dense",
    "(standardize=True)": "(--standardize)",
    "(label_column=": "(--label-column ",
    "label_column": "--label-column",
    "pages: ": "--pages: ",
    "missing: ": "--missing: ",
    "replace them, or give these another name": "--force replaces them, --name gives these another name",
    "replace them, or use another run": "--force replaces them",
    "replace it, or use another folder": "--force replaces it",
    "replace it, or write to another file": "--force replaces it",
    "options are of a recipe; choose one": "--option is of a recipe; choose one with --recipe",
    "pass bandwidth=...": "pass --bandwidth",
    "pass decay=...": "pass --decay",
}


@contextlib.contextmanager
def one_line(program: bool = True) -> Iterator[None]:
    """Errors and warnings in one line each; exit code 1, or 130 after Ctrl-C."""
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {message}")
        try:
            yield
        except (ValueError, ArithmeticError, OSError, NotImplementedError) as error:
            _say(f"error: {_in_options(' '.join(_said(error).split()))}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("interrupted before there was anything to keep", err=True)
            raise typer.Exit(130) from None


def _said(error: Exception) -> str:
    """An error of the system as the file and what is wrong with it."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say(line: str) -> None:
    """On standard error; names and words in it come from files, and may hold what moves a terminal's cursor."""
    typer.echo(printable(line), err=True)


def _in_options(message: str) -> str:
    for phrase, option in _OPTIONS.items():
        message = message.replace(phrase, option)
    return message


def run_folder(path: Path) -> Path:
    """The path of a run, looked at before anything heavy is loaded.

    Raises:
        ValueError: for a folder that holds none.
    """
    from pyrogeo.run.manifest import Manifest

    Manifest.read(path)
    return path

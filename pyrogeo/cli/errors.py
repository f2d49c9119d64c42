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
            _say(f"error: {_in_options(' '.join(str(error).split()))}")
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("interrupted before there was anything to keep", err=True)
            raise typer.Exit(130) from None


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

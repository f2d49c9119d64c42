"""The command line: `pyrogeo demo`."""

import contextlib
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="The geometry of a variational autoencoder's latent space, and samples from it.",
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"pyrogeo {version('pyrogeo')}")
        raise typer.Exit


@app.callback()
def _main(
    show_version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@contextlib.contextmanager
def _one_line_errors() -> Iterator[None]:
    """What the user can mend is said in one line, with exit code 1."""
    warnings.showwarning = lambda message, *_: typer.echo(f"warning: {message}", err=True)
    try:
        yield
    except (ValueError, ArithmeticError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demo writes.")] = Path(
        "pyrogeo-demo"
    ),
    latent_dim: Annotated[int, typer.Option(help="Dimension of the latent space.", min=1)] = 2,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    progress: Annotated[bool, typer.Option(help="Show progress bars.")] = True,
) -> None:
    """From images to latent samples with a verdict, on scikit-learn's digits.

    Trains a VAE, builds the metric from its posteriors, runs Pyro's NUTS on the Riemannian uniform
    density, and judges the chains.

    Example: pyrogeo demo --latent-dim 16 --out digits-16
    """
    with _one_line_errors():
        from pyrogeo.demo import FILES, WEIGHTS, run

        diagnosis = run(out, latent_dim, seed, progress=progress)
    typer.echo(f"{diagnosis}\n\nwritten to {out}: {', '.join([*FILES, str(WEIGHTS)])}")

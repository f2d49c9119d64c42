"""The commands: each parses its words, calls a job and prints what came of it."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pyrogeo.cli import options as o
from pyrogeo.cli.errors import one_line, run_folder

__all__ = ["app"]

Words = dict[str, Any]  # for a job

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""The geometry of a variational autoencoder's latent space, and samples from it.

\b
pyrogeo fit images/ -o run --latent-dim 16     train on a folder of images
pyrogeo sample run -n 1000 --method exact      draw from the uniform density
pyrogeo diagnose run                           judge them
pyrogeo decode run && pyrogeo report run       see what they are
""",
)


def _print_version(value: bool) -> None:
    if value:
        from importlib.metadata import version

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


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demo writes.")] = Path(
        "pyrogeo-demo"
    ),
    latent_dim: o.LatentDim = 2,
    method: o.Method = "nuts",
    seed: o.Seed = 0,
    progress: o.Progress = True,
) -> None:
    """From images to latent samples with a verdict, on scikit-learn's digits.

    Trains a VAE, builds the metric from its posteriors, draws from the Riemannian uniform density with
    the method and then exactly, and judges both. Leaves a run folder that the other commands read.

    Example: pyrogeo demo --latent-dim 16 --out digits-16
    """
    with one_line():
        _without_windows()
        from pyrogeo.jobs import demo

        found = demo.run(out, latent_dim, seed, method=method, progress=progress)
        for name, diagnosis in found.items():
            typer.echo(f"{name}\n{'=' * len(name)}\n{diagnosis}\n")
        typer.echo(f"written to {out}: {', '.join(demo.FILES)}")


@app.command()
@o.takes("reading", o.READING)
def fit(
    data: o.Data,
    out: o.NewRun,
    reading: dict[str, Any],
    latent_dim: o.LatentDim = 16,
    network: o.Network = "mlp",
    hidden: o.Hidden = "256,256",
    recipe: o.Recipe = None,
    option: o.RecipeOption = None,
    guide: o.Guide = None,
    likelihood: o.Likelihood = None,
    beta: o.Beta = None,
    epochs: o.Epochs = 100,
    batch_size: o.BatchSize = None,
    learning_rate: o.LearningRate = 1e-3,
    patience: o.Patience = None,
    seed: o.Seed = 0,
    device: o.Device = None,
    force: o.Anew = False,
    progress: o.Progress = True,
) -> None:
    """Train a VAE and keep it in a run folder.

    After Ctrl-C or a kill, the same command continues where it stopped, and with more --epochs a run that is
    done goes on.

    \b
    Examples:
      pyrogeo fit digits -o digits-run --latent-dim 2
      pyrogeo fit photos/ -o photos-run --network conv --hidden 32,64,128 --size 32
      pyrogeo fit table.csv -o table-run --latent-dim 3 --label-column kind
      pyrogeo fit digits -o iwae-run --recipe iwae -O num_particles=10
    """
    reading |= {"broken": "skip" if reading.pop("skip_broken") else "refuse", "seed": seed}
    parts: Words = {"network": network, "guide": guide, "likelihood": likelihood, "beta": beta}
    training: Words = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
    training |= {"patience": patience, "seed": seed, "device": device, "progress": progress}
    training["force"] = force
    with one_line():
        parts["hidden"] = _numbers(hidden)
        said = {"recipe": recipe, "options": option or (), "seed": seed, **parts}
        _fit(data, out, latent_dim, reading, said, training)


def _fit(
    source: str, out: Path, latent_dim: int, reading: Words, said: Words, training: Words
) -> None:
    from pyrogeo.datasets import load
    from pyrogeo.jobs.fit import program, train

    data = load(source, **reading)
    vae, objective = program(data, latent_dim, **said)
    if (out / "checkpoint.safetensors").is_file():
        typer.echo(f"continuing {out}")
    _, history = train(out, data, vae, source=source, objective=objective, **training)
    done = f"{len(history.table)} epochs"
    if history.stopped == "interrupted":
        typer.echo(f"interrupted after {done}; the same command continues", err=True)
        raise typer.Exit(130)
    loss = ""
    if history.best_epoch:
        held_out = history.table.loc[history.best_epoch, "validation_loss"]
        loss = f", validation loss {held_out:.4g} nats per datum"
    typer.echo(f"{done}, best is {history.best_epoch}{loss}\nwritten to {out}")


def _numbers(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise ValueError(
            f"--hidden: expected numbers with commas, such as 256,256, got {words!r}"
        ) from None


@app.command()
def recipes() -> None:
    """List the published systems that fit --recipe knows.

    Example: pyrogeo recipes
    """
    from pyrogeo.recipes import CATALOGUE

    for name, entry in CATALOGUE.items():
        typer.echo(f"{name:14} {entry.summary} {entry.source}")


@app.command()
def sample(
    run: o.RunFolder,
    num_samples: o.NumSamples = 500,
    method: o.Method = "nuts",
    name: o.DrawsName = None,
    chains: o.Chains = None,
    warmup: o.Warmup = None,
    num_steps: o.NumSteps = None,
    centroids: o.Centroids = None,
    bandwidth: o.Bandwidth = None,
    regularization: o.Regularization = None,
    decay: o.Decay = None,
    workers: o.Workers = None,
    seed: o.Seed = 0,
    force: o.Force = False,
    progress: o.Progress = True,
) -> None:
    """Draw latent points: from the Riemannian uniform density of a run, or from another law.

    Builds the metric from the run's posteriors, and keeps it beside the draws. Ctrl-C keeps the draws so
    far; the same command then draws all of them. A run holds several sets of draws, each under its name.

    \b
    Examples:
      pyrogeo sample digits-run -n 1000 --method exact
      pyrogeo sample digits-run --method hmc --num-steps 20 --regularization 0.1 --name wide
    """
    settings = {"num_chains": chains, "warmup_steps": warmup, "num_steps": num_steps}
    settings |= {"num_workers": workers}
    asked = {"bandwidth": bandwidth, "regularization": regularization, "decay": decay}
    with one_line():
        given = {setting: value for setting, value in settings.items() if value is not None}
        shape = {setting: value for setting, value in asked.items() if value is not None}
        run_folder(run)
        from pyrogeo.jobs.sample import sample_run
        from pyrogeo.sampling.draws import is_incomplete

        metric, draws, name = sample_run(
            run, num_samples, method, name=name, replace=force, seed=seed,
            progress=progress, n_centroids=centroids, shape=shape, settings=given,
        )  # fmt: skip
        sizes = draws.posterior.sizes
        written = f"{sizes['chain']} chains of {sizes['draw']} draws written to {run} as {name}"
        typer.echo(written if metric is None else f"{metric}\n{written}")
        if is_incomplete(draws):
            typer.echo("interrupted: the same command draws all of them", err=True)
            raise typer.Exit(130)
        typer.echo(f"judge them with: pyrogeo diagnose {run}")


@app.command()
def diagnose(
    run: o.RunFolder,
    name: o.Name = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 unless the verdict is pass.")
    ] = False,
) -> None:
    """Judge the chains of a run: R-hat, effective sample sizes, E-BFMI, divergences.

    Example: pyrogeo diagnose digits-run --strict && pyrogeo decode digits-run
    """
    with one_line():
        found = _run(run).diagnose(name)
    typer.echo(str(found))
    if strict and not found.passed:
        raise typer.Exit(2)


@app.command()
def decode(run: o.RunFolder, name: o.Name = None, force: o.Force = False) -> None:
    """Decode draws of a run into decoded/NAME.npz (z and data, by chain and draw).

    Of a table whose columns have names, also into decoded/NAME.csv, chain after chain.

    Example: pyrogeo decode digits-run
    """
    with one_line():
        typer.echo(f"written to {_run(run).decode(name, replace=force)}")


@app.command()
def plot(run: o.RunFolder, name: o.Name = None, force: o.Force = False) -> None:
    """Draw what a run holds into RUN/figures: history, reconstructions, latent space, samples,
    chains and the spectrum of the metric.

    Example: pyrogeo plot digits-run
    """
    with one_line():
        run_folder(run)
        _without_windows()
        from pyrogeo.reports.pictures import draw

        for path in draw(run, replace=force, name=name):
            typer.echo(f"written to {path}")


@app.command()
def report(
    run: o.RunFolder,
    name: o.Beside = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write [default: RUN/report.html].", metavar="FILE"
        ),
    ] = None,
    force: o.Force = False,
) -> None:
    """Write a run as one HTML file: training, latent space, samples, the verdicts in plain words.

    Example: pyrogeo report digits-run -o report.html
    """
    with one_line():
        run_folder(run)
        _without_windows()
        from pyrogeo.reports import report

        typer.echo(f"written to {report(run, out, replace=force, name=name)}")


@app.command()
def info(run: o.RunFolder) -> None:
    """Say what a run holds.

    Example: pyrogeo info digits-run
    """
    with one_line():
        found = _run(run)
        from pyrogeo.reports import summary

        typer.echo(summary(found))


def _run(path: Path) -> Any:
    run_folder(path)
    from pyrogeo.run import Run

    return Run(path)


def _without_windows() -> None:
    import matplotlib

    matplotlib.use("Agg")

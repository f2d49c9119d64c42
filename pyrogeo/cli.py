"""The command line.

pyrogeo fit DATA -o RUN, sample RUN, diagnose RUN, decode RUN, plot RUN, info RUN; recipes, demo
"""

import contextlib
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["app"]

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

RunFolder = Annotated[
    Path, typer.Argument(help="A run folder, made by fit or demo.", metavar="RUN")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]
Method = Annotated[
    str,
    typer.Option(
        metavar="nuts|hmc|batch|exact|mixture|protocol",
        help="Pyro's kernels; 128 HMC chains as one tensor, with jumps between modes; exact draws by "
        "sequential Monte Carlo; the geometric mixture; the paper's short chains from embeddings.",
    ),
]
Progress = Annotated[bool, typer.Option(help="Show progress bars.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps.")]


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
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        warnings.showwarning = lambda message, *_, **__: typer.echo(f"warning: {message}", err=True)
        try:
            yield
        except (ValueError, ArithmeticError, OSError, NotImplementedError) as error:
            typer.echo(f"error: {' '.join(str(error).split())}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            typer.echo("interrupted before there was anything to keep", err=True)
            raise typer.Exit(130) from None


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for what the demo writes.")] = Path(
        "pyrogeo-demo"
    ),
    latent_dim: Annotated[int, typer.Option(help="Dimension of the latent space.", min=1)] = 2,
    method: Method = "nuts",
    seed: Seed = 0,
    progress: Progress = True,
) -> None:
    """From images to latent samples with a verdict, on scikit-learn's digits.

    Trains a VAE, builds the metric from its posteriors, draws from the Riemannian uniform density with
    the method and then exactly, and judges both. Leaves a run folder that the other commands read.

    Example: pyrogeo demo --latent-dim 16 --out digits-16
    """
    with _one_line_errors():
        from pyrogeo.jobs import demo

        found = demo.run(out, latent_dim, seed, method=method, progress=progress)
        for name, diagnosis in found.items():
            typer.echo(f"{name}\n{'=' * len(name)}\n{diagnosis}\n")
        typer.echo(f"written to {out}: {', '.join(demo.FILES)}")


@app.command()
def fit(
    data: Annotated[
        str,
        typer.Argument(
            metavar="DATA",
            help="A folder of images (sub-folders are classes), a .npy or .npz file with images or a "
            "table, or one of the data sets that ship: digits, patches.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.", metavar="RUN")],
    labels: Annotated[Path | None, typer.Option(help="A .npy file of labels, for a file.")] = None,
    size: Annotated[
        int, typer.Option(help="Pixels that a folder's images, or patches, get.", min=1)
    ] = 32,
    grey: Annotated[bool, typer.Option("--grey", help="Read a folder's images as grey.")] = False,
    skip_broken: Annotated[
        bool, typer.Option("--skip-broken", help="Pass over images that cannot be read.")
    ] = False,
    standardize: Annotated[
        bool, typer.Option(help="Standardise the columns of a table; decode puts their units back.")
    ] = True,
    latent_dim: Annotated[int, typer.Option(help="Dimension of the latent space.", min=1)] = 16,
    network: Annotated[str, typer.Option(metavar="mlp|conv", help="conv is for images.")] = "mlp",
    hidden: Annotated[
        str, typer.Option(help="Units or channels of the encoder's layers.")
    ] = "256,256",
    recipe: Annotated[
        str | None, typer.Option(help="A published system, as pyrogeo recipes lists them.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", "-O", help="Of the recipe: NAME=VALUE.", metavar="NAME=VALUE"),
    ] = None,
    guide: Annotated[
        str | None,
        typer.Option(
            metavar="diagonal|full", help="Covariance of the posterior [default: diagonal]."
        ),
    ] = None,
    likelihood: Annotated[
        str | None,
        typer.Option(
            help="bernoulli, continuous-bernoulli, normal, squared-error (the paper's loss) or "
            "learned-normal. By default bernoulli for images and learned-normal for tables.",
        ),
    ] = None,
    beta: Annotated[
        float | None, typer.Option(help="Factor β of the latent terms [default: 1].", min=0)
    ] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the data, at most.", min=1)] = 100,
    batch_size: Annotated[
        int | None, typer.Option(help="Data of one step [default: 100, or fewer of few].", min=1)
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Adam's learning rate.")] = 1e-3,
    patience: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without improvement.", min=1)
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    progress: Progress = True,
) -> None:
    """Train a VAE and keep it in a run folder.

    After Ctrl-C, the same command continues where it stopped.

    \b
    Examples:
      pyrogeo fit digits -o digits-run --latent-dim 2
      pyrogeo fit photos/ -o photos-run --network conv --hidden 32,64,128 --size 32
      pyrogeo fit table.npy -o table-run --latent-dim 3 --epochs 300
      pyrogeo fit digits -o iwae-run --recipe iwae -O num_particles=10
    """
    with _one_line_errors():
        from pyrogeo._random import forked
        from pyrogeo.run import Run

        dataset = _dataset(data, labels, size, grey, skip_broken, standardize, seed)
        few = min(100, max(16, len(dataset.train) // 10))  # at least some ten steps an epoch
        likelihood = likelihood or (
            "bernoulli" if len(dataset.event_shape) == 3 else "learned-normal"
        )
        parts = {"network": network, "hidden": _numbers(hidden), "likelihood": likelihood}
        with forked(seed):
            vae, objective = _program(dataset, latent_dim, recipe, option, guide, beta, parts)
        options = {
            "epochs": epochs,
            "batch_size": batch_size or few,
            "learning_rate": learning_rate,
            "patience": patience,
        }
        where = data if data in ("digits", "patches") else str(Path(data).resolve().name)
        statement = {"command": "fit", "data": where, "vae": vae.statement, **options, "seed": seed}
        run = _continued(out, statement)
        if run is not None:
            typer.echo(f"continuing {out}")
        run = run or Run.create(out, **statement)
        history = run.fit(
            vae,
            dataset,
            **options,
            objective=objective,
            seed=seed,
            device=device,
            progress=progress,
        )
        done = f"{len(history.table)} epochs"
        if history.stopped == "interrupted":
            typer.echo(f"interrupted after {done}; the same command continues", err=True)
            raise typer.Exit(130)
        best = history.table.loc[history.best_epoch] if history.best_epoch else None
        loss = (
            ""
            if best is None
            else f", validation loss {best['validation_loss']:.4g} nats per datum"
        )
        typer.echo(f"{done}, best is {history.best_epoch}{loss}\nwritten to {out}")


def _program(
    dataset: Any,
    latent_dim: int,
    recipe: str | None,
    option: list[str] | None,
    guide: str | None,
    beta: float | None,
    parts: dict[str, Any],
) -> tuple[Any, Any]:
    """The VAE and its objective, None for the usual one."""
    from pyrogeo.recipes import from_words
    from pyrogeo.recipes.standard import standard_vae

    words = {
        name: value for name, value in {"guide": guide, "beta": beta}.items() if value is not None
    }
    if recipe is None:
        if option:
            raise ValueError("--option is of a recipe; choose one with --recipe")
        return standard_vae(dataset.event_shape, latent_dim, **words, **parts), None
    own = [*(f"{name}={value}" for name, value in words.items()), *(option or [])]
    return from_words(recipe, dataset.event_shape, latent_dim, own, dataset.train, **parts)


@app.command()
def recipes() -> None:
    """List the published systems that fit --recipe knows.

    Example: pyrogeo recipes
    """
    from pyrogeo.recipes import CATALOGUE

    for name, entry in CATALOGUE.items():
        typer.echo(f"{name:14} {entry.summary} {entry.source}")


def _dataset(
    data: str,
    labels: Path | None,
    size: int,
    grey: bool,
    skip_broken: bool,
    standardize: bool,
    seed: int,
) -> Any:
    from pyrogeo import datasets

    if data == "digits":
        return datasets.digits(seed=seed)
    if data == "patches":
        return datasets.patches(size, seed=seed)
    if Path(data).is_dir():
        broken = "skip" if skip_broken else "refuse"
        mode = "L" if grey else "RGB"
        return datasets.from_folder(data, (size, size), mode, broken=broken, seed=seed)
    if not Path(data).exists():
        raise ValueError(f"{data} is no file or folder, and not digits or patches")
    dataset = datasets.from_array(data, labels, seed=seed)
    if standardize and dataset.train.dim() == 2:
        dataset = datasets.standardized(dataset)
    return dataset


def _numbers(words: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in words.split(","))
    except ValueError:
        raise ValueError(
            f"--hidden: expected numbers with commas, such as 256,256, got {words!r}"
        ) from None


def _continued(out: Path, statement: dict[str, Any]) -> Any:
    """The run that the same command began and did not finish, if there is one."""
    from pyrogeo.run import Run

    if not (out / "run.json").is_file():
        return None
    run = Run(out)
    if run.words["state"] == "trained":
        raise ValueError(f"{out} holds a trained VAE already; choose a new folder")
    differing = [k for k, v in statement.items() if run.words["statement"].get(k) != v]
    if differing:
        raise ValueError(
            f"{out} was begun with another {', '.join(differing)}; choose a new folder"
        )
    return run


@app.command()
def sample(
    run: RunFolder,
    num_samples: Annotated[
        int, typer.Option("-n", "--num-samples", help="Draws of each chain.", min=1)
    ] = 500,
    method: Method = "nuts",
    chains: Annotated[
        int | None,
        typer.Option(help="Chains, or runs of exact [default: 4; batch 128, exact 8].", min=1),
    ] = None,
    warmup: Annotated[int, typer.Option(help="Adaptation steps, thrown away.", min=0)] = 500,
    num_steps: Annotated[int, typer.Option(help="Leapfrog steps of hmc and batch.", min=1)] = 10,
    centroids: Annotated[
        int | None, typer.Option(help="K [default: 100, or all if fewer].", min=1)
    ] = None,
    bandwidth: Annotated[float | None, typer.Option(help="ρ [default: the paper's].")] = None,
    regularization: Annotated[float | None, typer.Option(help="λ [default: 0.01].")] = None,
    decay: Annotated[
        float | None, typer.Option(help="τ [default: 1% of the volume is vacuum].")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes to spread the chains over.", min=1)] = 1,
    seed: Seed = 0,
    force: Force = False,
    progress: Progress = True,
) -> None:
    """Draw from the Riemannian uniform density of a run.

    Builds the metric from the run's posteriors, and keeps it. Ctrl-C keeps the draws so far.

    \b
    Examples:
      pyrogeo sample digits-run -n 1000 --method exact
      pyrogeo sample digits-run --method hmc --num-steps 20 --regularization 0.1 --force
    """
    with _one_line_errors():
        from pyrogeo.methods import chosen
        from pyrogeo.run import Run

        folder = Run(run)
        if folder.has("draws") and not force:
            raise ValueError(f"{run} has draws already; --force replaces them")
        settings = {"bandwidth": bandwidth, "regularization": regularization, "decay": decay}
        given = {name: value for name, value in settings.items() if value is not None}
        draw = chosen(
            method,
            folder.embeddings()[0],
            chains=chains,
            warmup=warmup,
            num_steps=num_steps,
            workers=workers,
            seed=seed,
            progress=progress,
        )
        metric = folder.make_metric(centroids, **given, seed=seed)
        draws = folder.sample(num_samples, metric=metric, replace=force, draw=draw)
        sizes = draws.posterior.sizes
        typer.echo(f"{metric}\n{sizes['chain']} chains of {sizes['draw']} draws written to {run}")
        typer.echo(f"judge them with: pyrogeo diagnose {run}")


@app.command()
def diagnose(
    run: RunFolder,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit with 2 unless the verdict is pass.")
    ] = False,
) -> None:
    """Judge the chains of a run: R-hat, effective sample sizes, E-BFMI, divergences.

    Example: pyrogeo diagnose digits-run --strict && pyrogeo decode digits-run
    """
    with _one_line_errors():
        from pyrogeo.run import Run

        found = Run(run).diagnose()
    typer.echo(str(found))
    if strict and not found.passed:
        raise typer.Exit(2)


@app.command()
def decode(run: RunFolder, force: Force = False) -> None:
    """Decode the draws of a run into decoded.npz (z and data, by chain and draw).

    Example: pyrogeo decode digits-run
    """
    with _one_line_errors():
        from pyrogeo.run import Run

        typer.echo(f"written to {Run(run).decode(replace=force)}")


@app.command()
def plot(run: RunFolder, force: Force = False) -> None:
    """Draw what a run holds into RUN/figures: history, reconstructions, latent space, samples,
    chains and the spectrum of the metric.

    Example: pyrogeo plot digits-run
    """
    with _one_line_errors():
        import matplotlib

        matplotlib.use("Agg")
        from pyrogeo.reports.pictures import draw

        for path in draw(run, replace=force):
            typer.echo(f"written to {path}")


@app.command()
def report(
    run: RunFolder,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write [default: RUN/report.html].", metavar="FILE"
        ),
    ] = None,
    force: Force = False,
) -> None:
    """Write a run as one HTML file: training, latent space, samples, the verdict in plain words.

    Example: pyrogeo report digits-run -o report.html
    """
    with _one_line_errors():
        import matplotlib

        matplotlib.use("Agg")
        from pyrogeo.reports import report

        typer.echo(f"written to {report(run, out, replace=force)}")


@app.command()
def info(run: RunFolder) -> None:
    """Say what a run holds.

    Example: pyrogeo info digits-run
    """
    with _one_line_errors():
        from pyrogeo.run import Run

        typer.echo(Run(run).summary())

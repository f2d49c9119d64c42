"""What the commands take: one name for each option that several have or that needs many words."""

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from pyrogeo.sampling.methods import METHODS

__all__: list[str] = []

Command = Callable[..., None]

_WAYS = "; ".join(f"{name}: {record.summary}" for name, record in METHODS.items())

RunFolder = Annotated[
    Path, typer.Argument(help="A run folder, made by fit or demo.", metavar="RUN")
]
Seed = Annotated[int, typer.Option(help="Seed of everything random.", min=0, max=2**32 - 1)]
Method = Annotated[str, typer.Option(metavar="|".join(METHODS), help=f"{_WAYS}.")]
Progress = Annotated[bool, typer.Option(help="Show progress bars.")]
Force = Annotated[bool, typer.Option("--force", help="Replace what is there.")]
Anew = Annotated[
    bool, typer.Option("--force", help="Train anew, and replace another run once that is done.")
]
Name = Annotated[str | None, typer.Option(help="Set of draws [default: the last].", metavar="NAME")]
Beside = Annotated[
    str | None,
    typer.Option(help="Set of draws to show, beside exact ones [default: all].", metavar="NAME"),
]

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A folder of images (sub-folders are classes, or train, val, test), a table (.csv, .tsv, .txt, "
        ".parquet), a .npy or .npz file with images or a table, or one of the data sets that ship: "
        "digits, patches.",
    ),
]
NewRun = Annotated[Path, typer.Option("--out", "-o", help="Run folder to make.", metavar="RUN")]
Labels = Annotated[Path | None, typer.Option(help="A file of labels, for a file: .npy or .csv.")]
LabelColumn = Annotated[
    str | None, typer.Option(help="Column of a table that holds labels.", metavar="NAME")
]
Header = Annotated[
    bool | None,
    typer.Option(help="First row of a text table names the columns [default: found out]."),
]
Size = Annotated[int, typer.Option(help="Pixels that a folder's images, or patches, get.", min=1)]
Grey = Annotated[bool, typer.Option("--grey", help="Read a folder's images as grey.")]
Range = Annotated[
    tuple[float, float] | None,
    typer.Option("--range", metavar="LOW HIGH", help="Numbers of images that are black and white."),
]
Pages = Annotated[
    str,
    typer.Option(metavar="refuse|each", help="What to do with image files of several pages."),
]
MaxPixels = Annotated[
    int | None, typer.Option(help="Pixels of an image file, at most [default: 64000000].", min=1)
]
SkipBroken = Annotated[
    bool, typer.Option("--skip-broken", help="Pass over images that cannot be read.")
]
Missing = Annotated[
    str,
    typer.Option(
        metavar="refuse|keep", help="Missing values; keep needs a program that takes NaN."
    ),
]
Dense = Annotated[bool, typer.Option("--dense", help="Make a sparse matrix dense.")]
Standardize = Annotated[
    bool, typer.Option(help="Standardise the columns of a table; decode puts their units back.")
]
#: how DATA are read: what each option is called in `datasets.load`, its type and its default
READING: dict[str, tuple[Any, Any]] = {
    "labels": (Labels, None),
    "label_column": (LabelColumn, None),
    "header": (Header, None),
    "size": (Size, 32),
    "grey": (Grey, False),
    "value_range": (Range, None),
    "pages": (Pages, "refuse"),
    "max_pixels": (MaxPixels, None),
    "skip_broken": (SkipBroken, False),
    "missing": (Missing, "refuse"),
    "dense": (Dense, False),
    "standardize": (Standardize, True),
}
LatentDim = Annotated[int, typer.Option(help="Dimension of the latent space.", min=1)]
Network = Annotated[str, typer.Option(metavar="mlp|conv", help="conv is for images.")]
Hidden = Annotated[str, typer.Option(help="Units or channels of the encoder's layers.")]
Recipe = Annotated[
    str | None, typer.Option(help="A published system, as pyrogeo recipes lists them.")
]
RecipeOption = Annotated[
    list[str] | None,
    typer.Option("--option", "-O", help="Of the recipe: NAME=VALUE.", metavar="NAME=VALUE"),
]
Guide = Annotated[
    str | None,
    typer.Option(metavar="diagonal|full", help="Covariance of the posterior [default: diagonal]."),
]
Likelihood = Annotated[
    str | None,
    typer.Option(
        help="bernoulli, continuous-bernoulli, normal, squared-error (the paper's loss) or "
        "learned-normal. By default bernoulli for images and learned-normal for tables.",
    ),
]
Beta = Annotated[
    float | None, typer.Option(help="Factor β of the latent terms [default: 1].", min=0)
]
Epochs = Annotated[int, typer.Option(help="Passes over the data, at most.", min=1)]
BatchSize = Annotated[
    int | None, typer.Option(help="Data of one step [default: 100, or fewer of few].", min=1)
]
LearningRate = Annotated[float, typer.Option(help="Adam's learning rate.")]
Patience = Annotated[
    int | None, typer.Option(help="Stop after so many epochs without improvement.", min=1)
]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps.")]

NumSamples = Annotated[int, typer.Option("-n", "--num-samples", help="Draws of each chain.", min=1)]
Chains = Annotated[
    int | None,
    typer.Option(help="Chains, or runs of exact [default: 4; batch 128, exact 8].", min=1),
]
Warmup = Annotated[
    int | None, typer.Option(help="Adaptation steps, thrown away [default: 500].", min=0)
]
NumSteps = Annotated[
    int | None, typer.Option(help="Leapfrog steps of hmc and batch [default: 10].", min=1)
]
Centroids = Annotated[int | None, typer.Option(help="K [default: 100, or all if fewer].", min=1)]
Bandwidth = Annotated[float | None, typer.Option(help="ρ [default: the paper's].")]
Regularization = Annotated[float | None, typer.Option(help="λ [default: 0.01].")]
Decay = Annotated[float | None, typer.Option(help="τ [default: 1% of the volume is vacuum].")]
Workers = Annotated[
    int | None, typer.Option(help="Processes to spread the chains over [default: 1].", min=1)
]
DrawsName = Annotated[
    str | None,
    typer.Option(help="Name of the set of draws [default: the method's].", metavar="NAME"),
]


def takes(name: str, group: dict[str, tuple[Any, Any]]) -> Callable[[Command], Command]:
    """A command whose parameter of that name is a dictionary of a group's options.

    Args:
        name: of the parameter.
        group: type and default of each option.
    """

    def with_options(command: Command) -> Command:
        @functools.wraps(command)
        def called(**given: Any) -> None:
            command(**{name: {option: given.pop(option) for option in group}}, **given)

        kind = inspect.Parameter.KEYWORD_ONLY
        mine = []
        for parameter in inspect.signature(command).parameters.values():
            if parameter.name == name:
                mine += [
                    inspect.Parameter(o, kind, default=d, annotation=t)
                    for o, (t, d) in group.items()
                ]
            else:
                mine.append(parameter.replace(kind=kind))
        taken: Any = called  # functions declare no signature of their own
        taken.__signature__ = inspect.Signature(mine)
        taken.__annotations__ = {parameter.name: parameter.annotation for parameter in mine}
        return called

    return with_options

"""From data by name to a trained run: what `pyrogeo fit` decides, callable from Python."""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pyro.infer import ELBO

from pyrogeo._asked import differing
from pyrogeo._random import forked
from pyrogeo.datasets import Dataset
from pyrogeo.datasets.named import SHIPPED
from pyrogeo.recipes import from_words
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.run import Run
from pyrogeo.vae import VAE, History

__all__ = ["begun", "program", "train", "usual_batch_size", "usual_likelihood"]

_MAY_CHANGE = ("epochs", "patience")


def usual_batch_size(n: int) -> int:
    """100, or of few data fewer, so that an epoch has at least some ten steps.

    Args:
        n: number of training data.

    >>> usual_batch_size(5000), usual_batch_size(300)
    (100, 30)
    """
    return min(100, max(16, n // 10))


def usual_likelihood(event_shape: Sequence[int]) -> str:
    """`"bernoulli"` for images `(C, H, W)`, `"learned-normal"` for tables.

    Args:
        event_shape: of one datum.

    >>> usual_likelihood((1, 8, 8)), usual_likelihood((5,))
    ('bernoulli', 'learned-normal')
    """
    return "bernoulli" if len(event_shape) == 3 else "learned-normal"


def program(
    data: Dataset,
    latent_dim: int,
    *,
    recipe: str | None = None,
    options: Sequence[str] = (),
    seed: int = 0,
    **words: Any,
) -> tuple[VAE, ELBO | None]:
    """The VAE for data, and its objective, None for the usual one.

    Args:
        data: whose shape it is for.
        latent_dim: d, the number of latent dimensions.
        recipe: name of a published system; None for a `standard_vae`.
        options: of the recipe, such as `"num_particles=5"`.
        seed: of the initial weights.
        words: of `standard_vae`; those that are None are left to their defaults. A recipe takes
            `guide` and `beta` only if they are options of its own.

    Raises:
        ValueError: for words and options that are not known or do not fit.

    >>> from pyrogeo.datasets import digits
    >>> program(digits(), 2, hidden=(16,))[0].statement["likelihood"]
    'bernoulli'
    """
    words = {name: word for name, word in words.items() if word is not None}
    words.setdefault("likelihood", usual_likelihood(data.event_shape))
    with forked(seed):
        if recipe is None:
            if options:
                raise ValueError("options are of a recipe; choose one")
            return standard_vae(data.event_shape, latent_dim, **words), None
        own = [f"{name}={words.pop(name)}" for name in ("guide", "beta") if name in words]
        said = [*own, *options]
        return from_words(recipe, data.event_shape, latent_dim, said, data.train, **words)


def train(
    out: str | os.PathLike[str],
    data: Dataset,
    vae: VAE,
    *,
    source: str = "",
    objective: ELBO | None = None,
    batch_size: int | None = None,
    seed: int = 0,
    device: str | None = None,
    progress: bool = True,
    force: bool = False,
    **options: Any,
) -> tuple[Run, History]:
    """Trains in a run folder; the same call continues what was interrupted, and returns what is there.

    Args:
        out: the folder.
        data: to train on.
        vae: the program.
        source: what the data were asked for as, kept in the run's statement.
        objective: by default `Trace_ELBO`.
        batch_size: by default `usual_batch_size`.
        seed: of shuffles and noise.
        device: where to compute.
        progress: show a bar.
        force: train anew where the folder holds another run, which it keeps until that is done.
        options: of `pyrogeo.fit`, in JSON's words; the number of epochs may grow.

    Returns:
        the run, and the history; its `stopped` is `"interrupted"` after Ctrl-C.

    Raises:
        ValueError: for a folder that holds another run, and as `Run.fit` does.

    >>> import tempfile
    >>> from pyrogeo.datasets import digits
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     vae = program(digits(), 2, hidden=(16,))[0]
    ...     train(f"{folder}/run", digits(), vae, epochs=1, progress=False)[0].state
    'trained'
    """
    if batch_size is None:
        batch_size = usual_batch_size(len(data.train))
    options = {**options, "batch_size": batch_size}
    where = source if source in SHIPPED else Path(source).resolve().name
    statement = {"command": "fit", "data": where, "vae": vae.statement, **options, "seed": seed}
    run = begun(out, statement, force=force) or Run.create(out, **statement)
    parts = {"objective": objective, "seed": seed, "device": device, "progress": progress}
    return run, run.fit(vae, data, force=force, statement=statement, **options, **parts)


def begun(
    out: str | os.PathLike[str], statement: dict[str, Any], *, force: bool = False
) -> Run | None:
    """The run that the same statement began, if there is one.

    Args:
        out: the folder.
        statement: what is asked for.
        force: take a run that was begun with another statement. One that is not trained has this one then.

    Raises:
        ValueError: for a run that was begun with another, of which only the number of epochs may differ.

    >>> begun("nowhere", {}) is None
    True
    """
    if not (Path(out) / "run.json").is_file():
        return None
    run = Run(out)
    other = differing(*(_without_epochs(words) for words in (run.statement, statement)))
    if other and not force:
        raise ValueError(
            f"{out} was begun with another {other}; choose a new folder, or train anew"
        )
    if other and run.state != "trained":
        run.store.restart(statement)
    return run


def _without_epochs(statement: dict[str, Any]) -> dict[str, Any]:
    """What may not change, as JSON holds it."""
    return {k: v for k, v in json.loads(json.dumps(statement)).items() if k not in _MAY_CHANGE}

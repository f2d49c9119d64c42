"""What makes a function a recipe: its arguments are kept, and it is listed."""

import functools
import inspect
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar

import torch
from pyro.infer import ELBO

from pyrogeo._files import broken
from pyrogeo.recipes.reading import Within, checked
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.recipes.statement import stated
from pyrogeo.vae import VAE
from pyrogeo.vae.folder import WORDS, read_statement, size_of_weights

__all__ = [
    "CATALOGUE",
    "Entry",
    "Made",
    "Parts",
    "Recipe",
    "build",
    "from_words",
    "load",
    "named",
    "recipe",
]

Made = tuple[VAE, ELBO]
Recipe = Callable[..., Made]
F = TypeVar("F", bound=Recipe)

#: numbers that a VAE may need to be built beside those of its weights: a discriminator's, say
_SPARE = 2**25


class Parts(TypedDict, total=False):
    """What every recipe passes to `standard_parts`."""

    network: str
    hidden: Sequence[int]
    likelihood: str


class Entry(NamedTuple):
    """A recipe, as `CATALOGUE` lists it.

    Attributes:
        make: the function.
        summary: the first line of its docstring.
        source: the reference in it.

    >>> CATALOGUE["iwae"].source
    'Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, 2016.'
    """

    make: Recipe
    summary: str
    source: str


#: all recipes by name, file by file: autoencoders, richer posteriors, learned priors, other objectives
CATALOGUE: dict[str, Entry] = {}


def recipe(function: F) -> F:
    """Keeps the arguments of a call in `vae.statement`, and lists the function."""
    name = function.__name__

    @functools.wraps(function)
    def made(event_shape: Sequence[int], latent_dim: int, **options: Any) -> Made:
        vae, objective = function(event_shape, latent_dim, **options)
        arguments = _arguments(function, (event_shape, latent_dim), options)
        return stated(vae, {"recipe": name, **arguments}), objective

    CATALOGUE[name] = Entry(made, *_read(function.__doc__ or ""))
    return made  # type: ignore[return-value]  # `made` has the signature of what it wraps


def _arguments(function: Recipe, sizes: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
    """Everything said or left at its default, without the data."""
    bound = inspect.signature(function).bind(*sizes, **options)
    bound.apply_defaults()
    parts = inspect.signature(standard_vae).parameters
    said = {name: parts[name].default for name in Parts.__annotations__}
    said |= {k: v for k, v in bound.arguments.items() if k not in ("parts", "data")}
    said |= bound.arguments["parts"]
    # Shapes and layers may come as any sequence, an array say.
    return said | {k: tuple(said[k]) for k in ("event_shape", "hidden")}


def _read(docstring: str) -> tuple[str, str]:
    """The first line, and the reference without its line breaks."""
    paragraphs = inspect.cleandoc(docstring).split("\n\n")
    sources = [p.removeprefix("Source: ") for p in paragraphs if p.startswith("Source: ")]
    return paragraphs[0].split("\n")[0], " ".join(sources[0].split()) if sources else ""


def named(name: str) -> Recipe:
    """The recipe of a name.

    Raises:
        ValueError: for another name.

    >>> named("iwae").__name__
    'iwae'
    """
    if name not in CATALOGUE:
        raise ValueError(f"recipe: expected one of {', '.join(CATALOGUE)}, got {name!r}")
    return CATALOGUE[name].make


def build(recipe: str | None = None, **arguments: Any) -> VAE:
    """The VAE of a `vae.statement`, with new weights.

    Args:
        recipe: its name; None for a `standard_vae`.
        arguments: what it was called with. Pseudo-inputs start at zero, as their values are weights.

    Raises:
        ValueError: for an unknown name.

    >>> vae, _ = named("iwae")((5,), 2)
    >>> build(**vae.statement).statement == vae.statement
    True
    """
    if recipe is None:
        return standard_vae(**arguments)
    if "pseudo_inputs" in arguments:  # whose values are among the weights
        arguments["data"] = torch.zeros(arguments["pseudo_inputs"], *arguments["event_shape"])
    return named(recipe)(**arguments)[0]


def from_words(
    name: str,
    event_shape: Sequence[int],
    latent_dim: int,
    words: Sequence[str],
    data: Any,
    **parts: Any,
) -> Made:
    """A recipe from the command line's words.

    Args:
        name: of the recipe.
        event_shape, latent_dim, parts: as every recipe takes them.
        words: its own options, such as `"num_particles=5"`; values are JSON's or a plain word.
        data: training data, for a recipe that starts from some.

    Raises:
        ValueError: for an unknown name, and an option that the recipe has not or cannot take.

    >>> from_words("iwae", (5,), 2, ["num_particles=3"], None)[1].num_particles
    3
    """
    make = named(name)
    own = set(inspect.signature(make).parameters) - {"event_shape", "latent_dim", "parts"}
    options = dict(_option(word) for word in words)
    unknown = sorted(options.keys() - (own - {"data"}))
    if unknown:
        known = ", ".join(sorted(own - {"data"})) or "none"
        raise ValueError(f"the recipe {name} has no option {', '.join(unknown)}; it has: {known}")
    if "data" in own:
        options["data"] = data
    try:
        return make(event_shape, latent_dim, **options, **parts)
    except TypeError as error:
        raise ValueError(f"the recipe {name} cannot take {' '.join(words)}: {error}") from error


def _option(word: str) -> tuple[str, Any]:
    name, equals, value = word.partition("=")
    if not (name and equals):
        raise ValueError(f"expected an option such as num_particles=5, got {word!r}")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:  # a plain word
        return name, value


def load(folder: str | os.PathLike[str], weights: str | os.PathLike[str] | None = None) -> VAE:
    """The VAE that `VAE.save` wrote, made by a recipe or by `standard_vae`.

    One of its author's own parts is built by its author, and then takes `vae.load_weights(folder)`.

    Args:
        folder: that `save` wrote.
        weights: the folder that its weights lie in, where it is another.

    Raises:
        BrokenFileError: for a folder without a VAE, or with broken files.
        ValueError: for a VAE of other parts.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     named("ae")((5,), 2)[0].save(folder)
    ...     load(folder).statement["recipe"]
    'ae'
    """
    statement, path = read_statement(folder), Path(folder) / WORDS
    weights = folder if weights is None else weights
    name = statement.get("recipe")
    try:
        if name is None:
            checked(standard_vae, (), statement)
        else:
            own = {k: v for k, v in statement.items() if k != "recipe"}
            checked(inspect.unwrap(named(name)), Parts.__annotations__, own)
        with Within(_SPARE + 2 * size_of_weights(weights)):
            vae = build(**statement)
    except Exception as error:  # a recipe of one's own raises what it likes
        raise broken(path, "a pyrogeo VAE", error) from error
    vae.load_weights(weights)
    return vae

"""A way of drawing as a record: what it is called, how it draws, and what may be said of its draws.

Imports nothing but the standard library, so that a command line can list the ways without torch.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

__all__ = ["Method", "attributes", "own", "own_record", "signed"]

#: that are given to a way of drawing by who calls it, and are no settings of it
_GIVEN = ("embeddings", "prior")
#: what draws of the user's own carry of their record
_FACTS = ("independent", "uniform", "words", "note", "title")


@dataclass(frozen=True)
class Method:
    """A way of drawing latent points.

    Args:
        name: by which it is chosen, and which its draws carry as the attribute `method`.
        summary: one line, for a command line's help.
        draw: called as `draw(metric, num_samples, **settings)`, returns ArviZ data with `num_samples`
            draws in each of its chains.
        independent: whether draws are independent of each other, so that chains are mere parts of them.
        uniform: whether √det G is the target, so that exact draws of it are what to compare with.
        words: how the draws were made, the end of a sentence, for a report.
        note: what a verdict must add about the aim; empty if nothing.
        title: of a picture of the draws; by default the name.
        needs_metric: whether the draws themselves need the metric. Where they do not, `metric` may be
            None, and then no log-density is kept.
        order: among the ways that a list shows.

    >>> def zeros(metric, num_samples, *, num_chains=2, seed=None): ...
    >>> method = Method("zeros", "the origin, again and again", zeros)
    >>> method.settings, method.needs, method.title
    (('num_chains', 'seed'), ('metric',), 'zeros')
    """

    name: str
    summary: str
    draw: Callable[..., Any]
    independent: bool = False
    uniform: bool = True
    words: str = "draws of the user's own making."
    note: str = ""
    title: str = ""
    needs_metric: bool = True
    order: int = 100

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)

    @property
    def settings(self) -> tuple[str, ...]:
        """Names of the keyword settings of `draw`, other than what it needs."""
        return tuple(name for name in self._keywords() if name not in _GIVEN)

    @property
    def defaults(self) -> dict[str, Any]:
        """The settings that have a value where none is given, with that value."""
        found = {k: v for k, v in self._keywords().items() if k not in _GIVEN}
        return {k: v for k, v in found.items() if v is not inspect.Parameter.empty}

    @property
    def needs(self) -> tuple[str, ...]:
        """Which of `metric`, `embeddings` and `prior` it cannot draw without."""
        keywords = self._keywords()
        given = [name for name in _GIVEN if keywords.get(name) is inspect.Parameter.empty]
        return (*(["metric"] if self.needs_metric else []), *given)

    def _keywords(self) -> dict[str, Any]:
        """The keyword parameters of `draw`, after metric and number, with their defaults."""
        try:
            parameters = list(inspect.signature(self.draw).parameters.values())
        except (TypeError, ValueError):  # of a function written in C
            return {}
        named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return {p.name: p.default for p in parameters[2:] if p.kind in named}


def signed(draws: Any, method: str, **more: Any) -> Any:
    """The same draws, which say by which method they were made.

    Args:
        draws: ArviZ data, changed in place.
        method: a name.
        more: other attributes, of the kinds that NetCDF holds.
    """
    for group in ("posterior", "sample_stats"):
        try:
            draws[group].attrs.update(method=method, **more)
        except KeyError:  # without statistics
            continue
        if group == "sample_stats" and "seed" in more and "seed" in draws[group].data_vars:
            draws[group]["seed"][:] = more["seed"]
    return draws


def own(method: Method | Callable[..., Any]) -> Method:
    """A way of the user's own, whose draws carry what is to be said of them.

    A verdict that is asked for later, of a file, then needs no record.

    Args:
        method: a record, or a function `(metric, num_samples, **settings)` that returns ArviZ data with
            draws of the uniform density.
    """
    if not isinstance(method, Method):
        name = getattr(method, "__name__", type(method).__name__).strip("<>")
        method = Method(name, "the user's own", method)

    @wraps(method.draw)
    def draw(*args: Any, **settings: Any) -> Any:
        draws = method.draw(*args, **settings)
        said = attributes(draws)
        if not _has_posterior(draws):
            raise ValueError(
                f"{method.name}: expected ArviZ data with a posterior, got {type(draws)}"
            )
        return draws if "method" in said else signed(draws, method.name, **_facts(method))

    return replace(method, draw=draw)


def own_record(draws: Any) -> Method | None:
    """The record that draws of the user's own carry; None of draws that carry none."""
    said = attributes(draws)
    if not {"method", *_FACTS} <= said.keys():
        return None
    facts = {name: type(getattr(Method, name))(said[name]) for name in _FACTS}
    return Method(str(said["method"]), "the user's own", own, **facts)


def _has_posterior(draws: Any) -> bool:
    try:
        return draws["posterior"] is not None
    except (KeyError, TypeError, IndexError):
        return False


def _facts(method: Method) -> dict[str, Any]:
    """What is kept of a record beside draws; NetCDF knows no booleans."""
    found = {name: getattr(method, name) for name in _FACTS}
    return {name: int(v) if isinstance(v, bool) else v for name, v in found.items()}


def attributes(draws: Any) -> dict[str, Any]:
    """The attributes of the posterior group; none of what is no ArviZ data."""
    try:
        return dict(draws["posterior"].attrs)
    except (KeyError, TypeError, IndexError, AttributeError):
        return {}

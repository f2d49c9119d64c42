"""What is left of an earlier list of ways of drawing, until its users read `pyrogeo.sampling.methods`."""

from collections.abc import Callable
from functools import partial
from typing import Any

from pyrogeo.sampling.methods import METHODS as RECORDS

__all__ = ["METHODS", "chosen"]

METHODS = {
    name: RECORDS[name].summary for name in ("nuts", "hmc", "batch", "exact", "mixture", "protocol")
}
_EARLIER = {"chains": "num_chains", "warmup": "warmup_steps", "workers": "num_workers"}


def chosen(method: str, embeddings: Any, **settings: Any) -> Callable[[Any, int], Any]:
    """The function `(metric, num_samples) -> ArviZ data` of a name in `METHODS`.

    Args:
        method: the name.
        embeddings: of the training data, for those that need them.
        settings: by earlier names.

    Raises:
        ValueError: for another name.

    >>> chosen("mixture", None, seed=0).func.__name__
    'draw'
    """
    if method not in METHODS:
        raise ValueError(f"--method: expected one of {', '.join(METHODS)}, got {method!r}")
    record = RECORDS[method]
    named = {_EARLIER.get(name, name): v for name, v in settings.items() if v is not None}
    given = {name: value for name, value in named.items() if name in record.settings}
    if method == "protocol":
        given = {"embeddings": embeddings} | {k: v for k, v in given.items() if k != "num_steps"}
    return partial(record.draw, **given)

"""Ways of drawing latent points: one file each, which a new one adds to this folder.

A record says how a way is called, how it draws, and what verdict and report may say of its draws. The
files import nothing heavy at their tops; `draw` imports what it needs when it is called.

>>> list(METHODS)[:3]
['exact', 'nuts', 'hmc']
>>> METHODS["mixture"].independent, METHODS["mixture"].uniform
(True, False)
"""

import pkgutil
from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType
from typing import Any

from pyrogeo.sampling.methods.record import Method, attributes, own, own_record

__all__ = ["METHODS", "Method", "chosen", "methods", "record_of"]


def _in_this_folder() -> dict[str, Method]:
    modules = [
        import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)
    ]
    records = [module.METHOD for module in modules if hasattr(module, "METHOD")]
    return {record.name: record for record in sorted(records, key=lambda record: record.order)}


#: every way of drawing of this folder, by its name
METHODS: Mapping[str, Method] = MappingProxyType(_in_this_folder())
methods = METHODS  # as `pyrogeo.methods`

_CHAINS = Method(
    "chains",
    "Markov chains on the uniform density",
    own,
    words="Markov chains: each draw follows from the one before it.",
    title="Markov chains",
)
_EARLIER = {"smc": "exact"}  # names that files of earlier versions hold


def chosen(method: str | Method | Callable[..., Any]) -> Method:
    """The record of a way of drawing.

    Args:
        method: a name in `METHODS`, a record, or a function of the user's own, which is called as
            `(metric, num_samples, **settings)` and returns ArviZ data.

    Raises:
        ValueError: for another name, or for what is neither.

    >>> chosen("exact").title
    'Exact draws'
    >>> chosen("gibbs")
    Traceback (most recent call last):
    ValueError: method: expected one of exact, nuts, hmc, batch, mixture, protocol, prior, ...
    """
    if isinstance(method, str) and method in METHODS:
        return METHODS[method]
    if isinstance(method, Method):
        return method if METHODS.get(method.name) is method else own(method)
    if callable(method):
        return own(method)
    raise ValueError(f"method: expected one of {', '.join(METHODS)}, or a function, got {method!r}")


def record_of(draws: Any) -> Method:
    """The record by which draws say that they were made; that of Markov chains where they say nothing.

    Args:
        draws: ArviZ data with the attribute `method`, as every way of drawing leaves it.
    """
    name = attributes(draws).get("method", "chains")
    known = METHODS.get(_EARLIER.get(name, name))
    return known or own_record(draws) or _CHAINS

"""What a recipe was called with, kept in the VAE that it made."""

from collections.abc import Mapping
from typing import Any

from pyrogeo.vae import VAE

__all__ = ["stated"]


def stated(vae: VAE, statement: Mapping[str, Any]) -> VAE:
    """The same VAE, with `vae.statement` set to a statement in plain Python, which `VAE.save` keeps.

    Args:
        vae: just made.
        statement: the arguments with which it can be made again, by name.

    >>> from pyrogeo.recipes import standard_vae
    >>> stated(standard_vae((5,), 2), {"recipe": "mine", "hidden": (8, 8)}).statement
    {'recipe': 'mine', 'hidden': [8, 8]}
    """
    vae.statement = {name: _plain(value) for name, value in statement.items()}
    return vae


def _plain(value: Any) -> Any:
    """Python's own numbers for NumPy's and torch's, and lists for sequences."""
    if isinstance(value, (tuple, list)):
        return [_plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value

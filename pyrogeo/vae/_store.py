"""Pyro's param store and the parameters of a part, which are to be the same tensors.

`pyro.module` registers a part's parameters under names. If the store knows a name already, with another tensor,
that one is stepped, and the part keeps its own: SVI then trains nothing, and says nothing. A store that was
loaded from a file is of that kind, as its names, numbers in the order in which VAEs were made, do not say of
which VAE they are.
"""

import pyro
from torch import nn

__all__ = ["check_own"]


def check_own(name: str, part: nn.Module) -> None:
    """Refuses a param store that holds other tensors under the names of a part.

    Args:
        name: under which the part is registered.
        part: whose parameters they are to be.

    Raises:
        ValueError: with what to do.

    >>> linear = nn.Linear(2, 2)
    >>> with pyro.get_param_store().scope():
    ...     pyro.module("vae0.prior", nn.Linear(2, 2))
    ...     check_own("vae0.prior", linear)
    Traceback (most recent call last):
    ValueError: Pyro's param store holds other parameters named vae0.prior than this VAE's, as one does that was ...
    """
    store = pyro.get_param_store()
    for key, parameter in part.named_parameters():
        kept = store._params.get(f"{name}$$${key}")
        if kept is not None and kept is not parameter:
            raise ValueError(
                f"Pyro's param store holds other parameters named {name} than this VAE's, as one does that was "
                f"loaded from a file: training would not reach the VAE. To take the store's, "
                f"pyro.module({name!r}, vae.{name.split('.')[-1]}, update_module_params=True); to keep the VAE's, "
                "pyro.clear_param_store(). vae.save and vae.load_weights keep a VAE between sessions"
            )

"""The geometry of a variational autoencoder's latent space, in Pyro.

A VAE is a Pyro program. Its posteriors define a Riemannian metric on the latent space, the metric a
uniform density, and the density gives samples, whose chains ArviZ judges.

Where no other is named, "the paper" is Chadebec, Allassonnière, *A geometric perspective on
variational autoencoders*, NeurIPS 2022, and "slides" are the authors' talk on it.
"""

from typing import Any

import lazy_loader

# What is here stands in `__init__.pyi`, and is imported when it is first used.
_attached, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("pyrogeo")
    return _attached(name)

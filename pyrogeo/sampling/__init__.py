"""Chains: kernels on our densities, and what else draws latent points, as ArviZ data."""

import lazy_loader

# So that the records of `methods`, which the command line reads, need no torch.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

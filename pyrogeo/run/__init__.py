"""Run folders: what was asked for, what was trained, what was drawn."""

import lazy_loader

# So that a folder that is none is refused before torch is loaded.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

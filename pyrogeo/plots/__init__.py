"""Pictures: `f(data, ax=None) -> Axes`, or a figure where several axes are needed.

Colour maps are perceptually even and read in grey; classes carry their number as well as a colour.
"""

from pyrogeo.plots.calibration import calibration
from pyrogeo.plots.chains import bandwidth, chains, history
from pyrogeo.plots.images import images, reconstructions
from pyrogeo.plots.latent import latent_space, spectrum
from pyrogeo.plots.paths import distance_map, indicatrices, paths, strips

__all__ = [
    "bandwidth",
    "calibration",
    "chains",
    "distance_map",
    "history",
    "images",
    "indicatrices",
    "latent_space",
    "paths",
    "reconstructions",
    "spectrum",
    "strips",
]

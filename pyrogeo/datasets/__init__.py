"""Tensors, labels and splits: data that ships, and data of one's own.

Images are float tensors of shape `(N, channels, height, width)` with values in [0, 1], tables float
tensors of shape `(N, columns)`.
"""

from pyrogeo.datasets.arrays import from_array
from pyrogeo.datasets.dataset import Dataset, standardized
from pyrogeo.datasets.folders import from_folder
from pyrogeo.datasets.named import load
from pyrogeo.datasets.shipped import digits, patches

__all__ = ["Dataset", "digits", "from_array", "from_folder", "load", "patches", "standardized"]

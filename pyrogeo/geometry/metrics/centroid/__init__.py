"""The metric of a VAE's posteriors, of diagonal and of full covariances."""

from pyrogeo.geometry.metrics.centroid.base import CentroidMetric
from pyrogeo.geometry.metrics.centroid.diagonal import DiagonalCentroidMetric
from pyrogeo.geometry.metrics.centroid.full import FullCentroidMetric

__all__ = ["CentroidMetric", "DiagonalCentroidMetric", "FullCentroidMetric"]

"""The manifold: metrics on the latent space, and what follows from them. No Pyro, no VAE."""

from pyrogeo.geometry.centroid_metric import CentroidMetric
from pyrogeo.geometry.centroids import KMedoids
from pyrogeo.geometry.diagonal import DiagonalCentroidMetric
from pyrogeo.geometry.full import FullCentroidMetric
from pyrogeo.geometry.metric import Metric

__all__ = ["CentroidMetric", "DiagonalCentroidMetric", "FullCentroidMetric", "KMedoids", "Metric"]

"""The manifold: metrics on the latent space, and what follows from them. No Pyro, no VAE."""

from pyrogeo.geometry.centroid_metric import (
    CentroidMetric,
    DiagonalCentroidMetric,
    FullCentroidMetric,
)
from pyrogeo.geometry.centroids import KMedoids
from pyrogeo.geometry.metric import Metric

__all__ = ["CentroidMetric", "DiagonalCentroidMetric", "FullCentroidMetric", "KMedoids", "Metric"]

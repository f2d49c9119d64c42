"""The manifold: metrics on the latent space, and curves on it, without Pyro and without a VAE."""

from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.distance_maps import DistanceMap, distance_map
from pyrogeo.geometry.curves.distances import distance, distance_matrix, frechet_mean, log_map
from pyrogeo.geometry.curves.exponential import exp_map, parallel_transport
from pyrogeo.geometry.curves.geodesic import Geodesic, geodesic
from pyrogeo.geometry.kmedoids import KMedoids
from pyrogeo.geometry.laplace import laplace_covariances
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.centroid.base import CentroidMetric
from pyrogeo.geometry.metrics.centroid.diagonal import DiagonalCentroidMetric
from pyrogeo.geometry.metrics.centroid.full import FullCentroidMetric
from pyrogeo.geometry.metrics.conformal import Conformal, volume_seeking
from pyrogeo.geometry.metrics.constant import Constant, Euclidean
from pyrogeo.geometry.metrics.learned import LearnedMetric
from pyrogeo.geometry.metrics.pullback import Pullback

__all__ = [
    "CentroidMetric",
    "Conformal",
    "Constant",
    "Curve",
    "DiagonalCentroidMetric",
    "DistanceMap",
    "Euclidean",
    "FullCentroidMetric",
    "Geodesic",
    "KMedoids",
    "LearnedMetric",
    "Metric",
    "Pullback",
    "distance",
    "distance_map",
    "distance_matrix",
    "exp_map",
    "frechet_mean",
    "geodesic",
    "laplace_covariances",
    "log_map",
    "parallel_transport",
    "volume_seeking",
]

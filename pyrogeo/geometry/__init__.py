"""The manifold: metrics on the latent space, and curves on it, without Pyro and without a VAE."""

from pyrogeo.geometry.centroid_metric import CentroidMetric
from pyrogeo.geometry.centroids import KMedoids
from pyrogeo.geometry.conformal import Conformal, volume_seeking
from pyrogeo.geometry.constant import Constant, Euclidean
from pyrogeo.geometry.curves import Curve
from pyrogeo.geometry.diagonal import DiagonalCentroidMetric
from pyrogeo.geometry.distance_maps import DistanceMap, distance_map
from pyrogeo.geometry.distances import distance, distance_matrix, frechet_mean, log_map
from pyrogeo.geometry.flow import exp_map, parallel_transport
from pyrogeo.geometry.full import FullCentroidMetric
from pyrogeo.geometry.geodesics import Geodesic, geodesic
from pyrogeo.geometry.laplace import laplace_covariances
from pyrogeo.geometry.learned import LearnedMetric
from pyrogeo.geometry.metric import Metric
from pyrogeo.geometry.pullback import Pullback

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

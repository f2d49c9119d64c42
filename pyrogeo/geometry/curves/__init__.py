"""Curves: shortest paths between points, paths of a given velocity, and what distances make of them."""

from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.curves.distance_maps import DistanceMap, distance_map
from pyrogeo.geometry.curves.distances import distance, distance_matrix, frechet_mean, log_map
from pyrogeo.geometry.curves.exponential import exp_map, parallel_transport
from pyrogeo.geometry.curves.geodesic import Geodesic, geodesic
from pyrogeo.geometry.curves.newton import Newton
from pyrogeo.geometry.curves.solver import Solver
from pyrogeo.geometry.curves.splines import Spline

__all__ = [
    "Curve",
    "DistanceMap",
    "Geodesic",
    "Newton",
    "Solver",
    "Spline",
    "distance",
    "distance_map",
    "distance_matrix",
    "exp_map",
    "frechet_mean",
    "geodesic",
    "log_map",
    "parallel_transport",
]

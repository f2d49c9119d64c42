"""Densities on the manifold."""

from pyrogeo.distributions.bandwidth import BandwidthChoice, choose_bandwidth
from pyrogeo.distributions.mixture import GeometricMixture
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.uniform import RiemannianUniform

__all__ = [
    "BandwidthChoice",
    "GeometricMixture",
    "Potential",
    "RiemannianUniform",
    "choose_bandwidth",
]

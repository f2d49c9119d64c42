"""Densities on the manifold."""

from pyrogeo.distributions.bandwidth import BandwidthChoice, choose_bandwidth
from pyrogeo.distributions.mixture import GeometricMixture
from pyrogeo.distributions.normal import RiemannianNormal
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.uniform import RiemannianUniform

__all__ = [
    "BandwidthChoice",
    "GeometricMixture",
    "Potential",
    "RiemannianNormal",
    "RiemannianUniform",
    "choose_bandwidth",
]

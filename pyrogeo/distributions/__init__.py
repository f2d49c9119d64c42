"""Densities on the manifold."""

from pyrogeo.distributions.mixture import GeometricMixture
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.uniform import RiemannianUniform

__all__ = ["GeometricMixture", "Potential", "RiemannianUniform"]

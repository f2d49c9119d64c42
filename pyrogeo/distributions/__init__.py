"""Densities on the manifold."""

from pyrogeo.distributions.autoregressive import AutoregressiveFlow
from pyrogeo.distributions.bandwidth import BandwidthChoice, choose_bandwidth
from pyrogeo.distributions.fitted import fit_flow, fit_gaussian_mixture, fit_two_stage
from pyrogeo.distributions.mixture import GeometricMixture
from pyrogeo.distributions.normal import RiemannianNormal
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.two_stage import TwoStage
from pyrogeo.distributions.uniform import RiemannianUniform

__all__ = [
    "AutoregressiveFlow",
    "BandwidthChoice",
    "GeometricMixture",
    "Potential",
    "RiemannianNormal",
    "RiemannianUniform",
    "TwoStage",
    "choose_bandwidth",
    "fit_flow",
    "fit_gaussian_mixture",
    "fit_two_stage",
]

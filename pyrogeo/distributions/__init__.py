"""Densities on the manifold."""

from pyrogeo.distributions.bandwidth import BandwidthChoice, choose_bandwidth
from pyrogeo.distributions.crossing import crossing_law
from pyrogeo.distributions.entropy import EntropyBounds
from pyrogeo.distributions.mixture import GeometricMixture, StartingLaw
from pyrogeo.distributions.normal import NormalizerEstimate, RiemannianNormal
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.proposal import FromDistribution, Proposal, as_proposal, proposal_of
from pyrogeo.distributions.survey import Overlap
from pyrogeo.distributions.uniform import RiemannianUniform, VolumeEstimate

__all__ = [
    "BandwidthChoice",
    "EntropyBounds",
    "FromDistribution",
    "GeometricMixture",
    "NormalizerEstimate",
    "Overlap",
    "Potential",
    "Proposal",
    "RiemannianNormal",
    "RiemannianUniform",
    "StartingLaw",
    "VolumeEstimate",
    "as_proposal",
    "choose_bandwidth",
    "crossing_law",
    "proposal_of",
]

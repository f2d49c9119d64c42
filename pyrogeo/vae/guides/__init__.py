"""Guides: an `nn.Module` whose `forward(x)` returns the Pyro distribution q(z|x).

Batch shape `(*lead,)` for data of shape `(*lead, *event)`, event shape `(d,)`. A guide that has no such
density, because it needs log p(x, z), overrides what enters the trace instead: `program(x, name, joint=)`.
`posterior_moments(x)` gives a mean and covariance where there is no closed form.
"""

from pyrogeo.vae.guides.flow import Flow
from pyrogeo.vae.guides.hamiltonian import Hamiltonian
from pyrogeo.vae.guides.normal import Deterministic, DiagonalNormal, FullNormal
from pyrogeo.vae.guides.riemannian import Riemannian

__all__ = [
    "Deterministic",
    "DiagonalNormal",
    "Flow",
    "FullNormal",
    "Hamiltonian",
    "Riemannian",
]

"""Chains and the verdict: Pyro's kernels on our densities, as ArviZ data."""

from pyrogeo.sampling.diagnostics import Diagnosis, diagnose
from pyrogeo.sampling.mcmc import sample

__all__ = ["Diagnosis", "diagnose", "sample"]

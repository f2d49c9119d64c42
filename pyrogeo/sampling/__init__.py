"""Chains and the verdict: kernels on our densities, as ArviZ data."""

from pyrogeo.sampling.batch_hmc import BatchHMC
from pyrogeo.sampling.diagnostics import Diagnosis, diagnose
from pyrogeo.sampling.mcmc import sample
from pyrogeo.sampling.protocol import paper_protocol
from pyrogeo.sampling.smc_runs import sample_smc

__all__ = ["BatchHMC", "Diagnosis", "diagnose", "paper_protocol", "sample", "sample_smc"]

"""The geometry of a variational autoencoder's latent space, in Pyro.

A VAE is a Pyro program. Its posteriors define a Riemannian metric on the latent space, the metric a
uniform density, and the density gives samples, whose chains ArviZ judges.

Where no other is named, "the paper" is Chadebec, Allassonnière, *A geometric perspective on
variational autoencoders*, NeurIPS 2022, and "slides" are the authors' talk on it.
"""

from pyrogeo import datasets, errors, plots, recipes
from pyrogeo.distributions import GeometricMixture, RiemannianUniform
from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.sampling import BatchHMC, diagnose, sample, sample_smc
from pyrogeo.vae import VAE, fit, guides, likelihoods, networks, objectives, priors

__all__ = [
    "VAE",
    "BatchHMC",
    "CentroidMetric",
    "GeometricMixture",
    "Metric",
    "RiemannianUniform",
    "datasets",
    "diagnose",
    "errors",
    "fit",
    "guides",
    "likelihoods",
    "networks",
    "objectives",
    "plots",
    "priors",
    "recipes",
    "sample",
    "sample_smc",
]

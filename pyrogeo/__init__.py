from pyrogeo.vae import VAE, fit, guides, likelihoods, networks, priors
from pyrogeo.geometry import CentroidMetric
from pyrogeo import datasets

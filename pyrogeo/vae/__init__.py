"""The program: a VAE as a Pyro model and guide, its parts, and how it is trained."""

from pyrogeo.vae import guides, likelihoods, networks, objectives, priors
from pyrogeo.vae.model import VAE
from pyrogeo.vae.training.fit import History, fit

__all__ = ["VAE", "History", "fit", "guides", "likelihoods", "networks", "objectives", "priors"]

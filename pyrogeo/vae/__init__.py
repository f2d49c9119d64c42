"""The program: a VAE as a Pyro model and guide, its parts, and how it is trained."""

from pyrogeo.vae import guides, likelihoods, networks, objectives, priors
from pyrogeo.vae.fit import History, fit
from pyrogeo.vae.model import VAE

__all__ = ["VAE", "History", "fit", "guides", "likelihoods", "networks", "objectives", "priors"]

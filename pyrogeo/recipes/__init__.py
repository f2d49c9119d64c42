"""The published systems, each said in parts.

A recipe is a function that returns `(vae, objective)` for `fit`::

    vae, objective = pg.recipes.iwae((1, 8, 8), 16, num_particles=10)
    pg.fit(vae, digits.train, objective=objective)

All take the shape of a datum, the latent dimension and, beside options of their own, the words of
`standard_vae` for the rest: `network` (`"mlp"`, `"conv"`), `hidden`, `likelihood`. A recipe keeps
its words in `vae.statement`, with which `recipes.load` builds a saved VAE again.
"""

from pyrogeo.recipes.book import CATALOGUE, Entry, build, from_words, load, named
from pyrogeo.recipes.deterministic import aae, ae, rae, rae_gp, rae_l2, rae_sn, wae_mmd
from pyrogeo.recipes.posteriors import hvae, iaf, planar, radial, rhvae
from pyrogeo.recipes.priors import flow_prior, mixture_prior, vamp
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.recipes.variational import beta_vae, iwae, vae, vae_gan

__all__ = [
    "CATALOGUE",
    "Entry",
    "aae",
    "ae",
    "beta_vae",
    "build",
    "flow_prior",
    "from_words",
    "hvae",
    "iaf",
    "iwae",
    "load",
    "mixture_prior",
    "named",
    "planar",
    "radial",
    "rae",
    "rae_gp",
    "rae_l2",
    "rae_sn",
    "rhvae",
    "standard_vae",
    "vae",
    "vae_gan",
    "vamp",
    "wae_mmd",
]

"""Objectives: what training minimises, beside Pyro's own ELBOs.

Each is a Pyro `ELBO`, so `pyrogeo.fit` and `pyro.infer.SVI` both take it, and has three methods:
`differentiable_loss(model, guide, x)`, `loss` (its value; steps nothing) and `loss_and_grads` (its
value, and its gradients by `backward`). Values are sums over the batch in nats. One that holds something
which training changes, a discriminator or a counter, has `state_dict` and `load_state_dict`.

To write one, subclass `Objective`, give it `differentiable_loss` and say its `Traits`. What it needs of the
programs it reads from their traces: `latent_site`, `observed_site`, `weighted_count`, `decoded`, `mean_of`.
`IWAE` and `WassersteinMMD` are examples of a dozen lines.
"""

from pyrogeo.vae.objectives.adversarial import DataAdversarial, LatentAdversarial
from pyrogeo.vae.objectives.base import (
    Objective,
    Traits,
    decoded,
    is_deterministic,
    latent_site,
    mean_of,
    observed_site,
    traits_of,
    weighted_count,
)
from pyrogeo.vae.objectives.importance import IWAE
from pyrogeo.vae.objectives.reconstruction import Reconstruction, squared_jacobian
from pyrogeo.vae.objectives.warmup import Warmup
from pyrogeo.vae.objectives.wasserstein import WassersteinMMD, imq, mmd, rbf

__all__ = [
    "IWAE",
    "DataAdversarial",
    "LatentAdversarial",
    "Objective",
    "Reconstruction",
    "Traits",
    "Warmup",
    "WassersteinMMD",
    "decoded",
    "imq",
    "is_deterministic",
    "latent_site",
    "mean_of",
    "mmd",
    "observed_site",
    "rbf",
    "squared_jacobian",
    "traits_of",
    "weighted_count",
]

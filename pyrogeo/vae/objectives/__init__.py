"""Objectives: what training minimises, beside Pyro's own ELBOs.

Each is a Pyro `ELBO`, so `pyrogeo.fit` and `pyro.infer.SVI` both take it, and has three methods:
`differentiable_loss(model, guide, x)`, `loss` (its value; steps nothing) and `loss_and_grads` (its
value, and its gradients by `backward`). Values are sums over the batch in nats. One that holds something
which training changes, a discriminator or a counter, has `state_dict` and `load_state_dict`.
"""

from pyrogeo.vae.objectives.adversarial import DataAdversarial, LatentAdversarial
from pyrogeo.vae.objectives.base import Objective
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
    "Warmup",
    "WassersteinMMD",
    "imq",
    "mmd",
    "rbf",
    "squared_jacobian",
]

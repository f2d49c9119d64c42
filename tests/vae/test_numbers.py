"""Numbers at the door of every part: NumPy's and torch's scalars are taken, True is not, Python's own are kept."""

import json

import numpy as np
import pytest
import torch
from pyro.distributions.transforms import planar
from torch import nn

import pyrogeo as pg
from pyrogeo import datasets, guides, latents, likelihoods, networks, objectives, priors, recipes
from pyrogeo.geometry import LearnedMetric
from tests.conftest import small_vae

X = torch.rand(12, 5)
Z = torch.randn(30, 2)
IMAGE = (1, 8, 8)


def encoder(outputs=4):
    return networks.mlp(5, outputs)


def hamiltonian(num_steps=1, **options):
    return guides.Hamiltonian(encoder(), num_steps, **options)


def discriminator():
    return nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))


QUICK = {"epochs": 1, "progress": False}
#: by what is tried, a call and a number that it takes
WHOLE = {
    "StandardNormal": (priors.StandardNormal, 2),
    "Mixture, d": (lambda n: priors.Mixture(n, 2), 2),
    "Mixture, components": (lambda n: priors.Mixture(2, n), 2),
    "prior Flow": (lambda n: priors.Flow(n, [pg.vae.priors.Transform()]), None),
    "mlp": (lambda n: networks.mlp(5, n, 2)(X), 3),
    "mlp, shape": (lambda n: networks.mlp((1, n), 2)(X[:, None]), 5),
    "conv, channels": (lambda n: networks.conv_encoder(IMAGE, n, 2), 3),
    "conv, kernel": (lambda n: networks.conv_encoder(IMAGE, 4, 2, kernel_size=n), 3),
    "conv, strides": (lambda n: networks.conv_encoder(IMAGE, 4, 2, strides=n), 2),
    "conv decoder": (lambda n: networks.conv_decoder(2, n, IMAGE), 4),
    "Hamiltonian, steps": (hamiltonian, 2),
    "Riemannian, iterations": (
        lambda n: guides.Riemannian(
            encoder(), LearnedMetric.empty(3, 2), encoder(3), num_iterations=n
        ),
        2,
    ),
    "guide Flow, context": (lambda n: guides.Flow(encoder(4), [planar(2)], n), 0),
    "moments": (
        lambda n: guides.Flow(encoder(), [planar(2)]).posterior_moments(X, num_samples=n),
        9,
    ),
    "IWAE": (objectives.IWAE, 3),
    "Warmup": (lambda n: objectives.Warmup(steps=n), 3),
    "Reconstruction": (lambda n: objectives.Reconstruction(directions=n), 3),
    "log_likelihood": (lambda n: small_vae(2, (5,)).log_likelihood(X, n), 3),
    "batch_size": (lambda n: small_vae(2, (5,)).embed(X, n), 3),
    "standard_vae": (lambda n: recipes.standard_vae((5,), n), 2),
    "standard_vae, hidden": (lambda n: recipes.standard_vae((5,), 2, hidden=(n,)), 2),
    "standard_vae, shape": (lambda n: recipes.standard_vae((n,), 2), 5),
    "iwae": (lambda n: recipes.iwae((5,), 2, num_particles=n), 2),
    "beta_vae": (lambda n: recipes.beta_vae((5,), 2, warmup=n), 2),
    "vamp": (lambda n: recipes.vamp((5,), 2, data=X, pseudo_inputs=n), 2),
    "mixture_prior": (lambda n: recipes.mixture_prior((5,), 2, components=n), 2),
    "flow_prior": (lambda n: recipes.flow_prior((5,), 2, flows=n), 2),
    "flow_prior, units": (lambda n: recipes.flow_prior((5,), 2, units=n), 8),
    "planar": (lambda n: recipes.planar((5,), 2, flows=n), 2),
    "iaf": (lambda n: recipes.iaf((5,), 2, units=n, context=n), 8),
    "rhvae": (lambda n: recipes.rhvae((5,), 2, centroids=n), 8),
    "fit, epochs": (lambda n: pg.fit(small_vae(2, (5,)), X, epochs=n, progress=False), 2),
    "fit, batch_size": (lambda n: pg.fit(small_vae(2, (5,)), X, batch_size=n, **QUICK), 4),
    "fit, patience": (lambda n: pg.fit(small_vae(2, (5,)), X, patience=n, **QUICK), 4),
    "fit_flow": (lambda n: latents.fit_flow(Z, num_blocks=n, **QUICK), 2),
    "fit_flow, hidden": (lambda n: latents.fit_flow(Z, hidden=(n,), **QUICK), 4),
    "fit_gaussian_mixture": (lambda n: latents.fit_gaussian_mixture(Z, n), 2),
    "fit_two_stage": (lambda n: latents.fit_two_stage(Z, num_particles=n, **QUICK), 4),
    "fit_two_stage, d": (lambda n: latents.fit_two_stage(Z, latent_dim=n, **QUICK), 4),
    "patches": (lambda n: datasets.patches(n, 2, 2, 2), 8),
    "patches, train": (lambda n: datasets.patches(8, n, 2, 2), 3),
}
del WHOLE["prior Flow"]
REAL = {
    "VAE": lambda x: small_vae(beta=x),
    "Normal": lambda x: likelihoods.Normal(networks.mlp(2, 5), scale=x),
    "Hamiltonian, step": lambda x: hamiltonian(step_size=x),
    "Hamiltonian, tempering": lambda x: hamiltonian(tempering=x),
    "Warmup": lambda x: objectives.Warmup(start=x),
    "Reconstruction, decay": lambda x: objectives.Reconstruction(weight_decay=x),
    "Reconstruction, penalty": lambda x: objectives.Reconstruction(gradient_penalty=x),
    "WassersteinMMD": lambda x: objectives.WassersteinMMD(weight=x),
    "WassersteinMMD, scale": lambda x: objectives.WassersteinMMD(scale=(x, 1.0)),
    "LatentAdversarial": lambda x: objectives.LatentAdversarial(discriminator(), weight=x),
    "its rate": lambda x: objectives.LatentAdversarial(discriminator(), learning_rate=x),
    "fit": lambda x: pg.fit(small_vae(2, (5,)), X, learning_rate=x, **QUICK),
    "fit_flow": lambda x: latents.fit_flow(Z, validation=x, **QUICK),
    "fit_two_stage": lambda x: latents.fit_two_stage(Z, validation=x, **QUICK),
    "from_array": lambda x: datasets.from_array(np.zeros((20, 2)), validation=x),
    "standard_vae": lambda x: recipes.standard_vae((5,), 2, beta=x),
    "rae_l2": lambda x: recipes.rae_l2((5,), 2, weight_decay=x),
}
NOTHING = {"fit": ()}  # where None is a word for the usual


@pytest.mark.parametrize("name", WHOLE)
def test_whole_numbers(name):
    call, n = WHOLE[name]
    for kind in (int, np.int64, np.int32, np.array, torch.tensor):
        call(kind(n))
    for bad in (True, np.True_, n + 0.5, "2"):
        with pytest.raises(ValueError):  # noqa: PT011, as each part has its words
            call(bad)


@pytest.mark.parametrize("name", REAL)
def test_real_numbers(name):
    for kind in (float, np.float32, np.float64, torch.tensor):
        REAL[name](kind(0.25))
    for bad in (True, np.True_, np.nan, "0.25", *NOTHING.get(name, (None,))):
        with pytest.raises(ValueError):  # noqa: PT011
            REAL[name](bad)


def test_what_is_kept_is_python_s_own():
    vae, _ = recipes.beta_vae(
        np.array([1, 8, 8]),
        np.int64(2),
        beta=np.float32(0.5),
        warmup=torch.tensor(3),
        hidden=(np.int32(8),),
    )
    assert json.loads(json.dumps(vae.statement)) == vae.statement
    assert vae.statement["event_shape"] == [1, 8, 8]
    kept = [
        vae.beta,
        objectives.IWAE(np.int64(3)).num_particles,
        objectives.Warmup(steps=np.int64(3)).steps,
        objectives.Reconstruction(weight_decay=np.float32(0.5)).weight_decay,
        hamiltonian(np.int64(1), tempering=np.float32(0.5)).num_steps,
        hamiltonian(tempering=torch.tensor(0.5)).tempering,
    ]
    assert {type(value) for value in kept} <= {int, float}

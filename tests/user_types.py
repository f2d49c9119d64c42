"""What a type checker sees of the package in a user's own code: `mypy` reads this file, nothing runs it.

A line that must be an error says so by an ignore, as `warn_unused_ignores` refuses one without an error.
"""

from typing import assert_type

import numpy as np
import torch
from pyro.infer import NUTS, Trace_ELBO
from torch import Tensor
from torch.distributions import Normal

import pyrogeo as pg
from pyrogeo.annealing import Population, Proposal
from pyrogeo.distributions.mixture import StartingLaw
from pyrogeo.distributions.proposal import FromDistribution
from pyrogeo.geometry import Curve, KMedoids, Newton, distance_matrix, geodesic
from pyrogeo.sampling.kernels.protocol import BatchedKernel
from pyrogeo.vae.training.batches import Batches, DatasetBatches, LoaderBatches, TensorBatches


class Polar(pg.Metric):
    def forward(self, z: Tensor) -> Tensor:
        return torch.diag_embed(torch.stack([torch.ones_like(z[..., 0]), z[..., 0] ** 2], -1))


class Law:
    """A `Proposal`, whose scale is of one of the two kinds that there may be."""

    scale = 1.0

    def sample(self, n: int) -> Tensor:
        return torch.randn(n, 2)

    def log_prob(self, z: Tensor) -> Tensor:
        return -0.5 * (z * z).sum(-1)

    def log_prob_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        return self.log_prob(z), -z


def geometry(z: Tensor) -> None:
    metric = Polar()
    assert_type(metric(z), Tensor)
    metric(z, z)  # type: ignore[call-arg]
    metric("z")  # type: ignore[arg-type]
    assert_type(metric.norm(z, z), Tensor)
    metric.norm(z)  # type: ignore[call-arg]
    assert_type(metric.copy(), Polar)
    assert_type(metric.log_volume_element_and_grad(z), tuple[Tensor, Tensor])
    assert_type(geodesic(metric, z, z, solver=Newton()).length, Tensor)
    assert_type(geodesic(metric=metric, start=z, end=z).curve, Curve)
    geodesic(metric, z, z, solver="newton")  # type: ignore[arg-type]
    assert_type(distance_matrix(metric, z, progress=False), Tensor)
    assert_type(KMedoids(3).fit([[0.0], [1.0]]), KMedoids)
    centroid = pg.CentroidMetric.from_posterior(Normal(z, 1.0), 2, estimator=KMedoids(2))
    assert_type(centroid, pg.CentroidMetric)
    assert_type(centroid.with_bandwidth(1.0), pg.CentroidMetric)


def densities(metric: pg.CentroidMetric) -> None:
    density = pg.RiemannianUniform(metric, proposal=Law())
    assert_type(density.sample((3,)), Tensor)
    assert_type(density.sample(torch.Size([3])), Tensor)
    assert_type(density.log_volume, float)
    assert_type(density.population(3), Population)
    laws: list[Proposal] = [StartingLaw(metric), FromDistribution(Normal(0.0, 1.0)), Law()]
    laws.append(metric)  # type: ignore[arg-type]
    kernel: BatchedKernel = pg.BatchHMC(density.potential)
    kernel.initial_params = {"z": density.initial(4)}
    assert_type(pg.diagnose(pg.sample(density, 10, kernel=NUTS), density=density).verdict, str)
    pg.plots.latent_space(metric, density.sample((3,)), labels=["a", "b", "c"])


def programs(x: Tensor, metric: pg.Metric) -> None:
    encoder, decoder = pg.networks.mlp(5, 4), pg.networks.mlp(2, 5)
    prior = pg.priors.StandardNormal(2)
    vae = pg.VAE(prior, pg.guides.DiagonalNormal(encoder), pg.likelihoods.Normal(decoder))
    assert_type(vae.log_likelihood(x), Tensor)
    history = pg.fit(vae, np.zeros((3, 5)), x, objective=Trace_ELBO(), epochs=1)
    assert_type(history.best_epoch, int)
    pg.fit(vae, [1.0, 2.0])  # type: ignore[arg-type]
    pg.guides.Riemannian(encoder, metric)
    pg.guides.Riemannian(encoder, decoder)  # type: ignore[arg-type]
    made, _ = pg.recipes.iwae((5,), 2, num_particles=3)
    assert_type(made, pg.VAE)
    pg.recipes.iwae((5,), 2, particles=3)  # type: ignore[call-arg]
    kinds: list[type[Batches]] = [TensorBatches, DatasetBatches, LoaderBatches]
    assert_type(kinds[0], type[Batches])

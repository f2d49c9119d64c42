"""An encoder of any library is enough: its means and log-variances make the posterior."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.distributions import Normal

import pyrogeo as pg


def geometry(means, log_variances):
    """The five lines of the README."""
    posterior = Normal(means, (0.5 * log_variances).exp())
    metric = pg.CentroidMetric.from_posterior(posterior, n_centroids=50)
    density = pg.RiemannianUniform(metric)
    return metric, density


def check(means, log_variances, decode, train):
    """Draws exist, lie where data lie, and their images resemble the training images."""
    metric, density = geometry(means, log_variances)
    assert metric.n_centroids == 50
    chains = pg.sample(density, 20, num_chains=2, warmup_steps=20, seed=0, progress=False)
    assert pg.diagnose(chains).verdict in ("pass", "too short", "cannot tell", "disagree")
    z = density.sample((500,))
    images = decode(z.float()).reshape(500, -1)
    assert torch.isfinite(images).all()
    # Nearer to the training images than the images of scattered points are.
    scattered = decode(6 * torch.randn(500, means.shape[1])).reshape(500, -1)
    near, far = (torch.cdist(x, train.flatten(1)).amin(1).median() for x in (images, scattered))
    assert near < far


class HandWritten(nn.Module):
    """A VAE as one finds them in tutorials."""

    def __init__(self, d=4):
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU())
        self.mean, self.log_variance = nn.Linear(128, d), nn.Linear(128, d)
        self.decoder = nn.Sequential(nn.Linear(d, 128), nn.ReLU(), nn.Linear(128, 64), nn.Sigmoid())

    def encode(self, x):
        h = self.body(x)
        return self.mean(h), self.log_variance(h)

    def loss(self, x):
        mean, log_variance = self.encode(x)
        z = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        error = ((self.decoder(z) - x.flatten(1)) ** 2).sum(1)
        kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance).sum(1)
        return (error + 0.05 * kl).mean()


def test_a_hand_written_vae(digits):
    vae = HandWritten()
    optimizer = torch.optim.Adam(vae.parameters(), lr=3e-3)
    for _ in range(15):
        for index in torch.randperm(len(digits.train)).split(100):
            optimizer.zero_grad()
            vae.loss(digits.train[index]).backward()
            optimizer.step()
    with torch.no_grad():
        check(*vae.encode(digits.train), vae.decoder, digits.train)


def test_a_pythae_model(digits, tmp_path):
    models = pytest.importorskip("pythae.models", reason="pythae is not installed (extra: bench)")
    from pythae.pipelines import TrainingPipeline
    from pythae.trainers import BaseTrainerConfig

    settings = {"input_dim": (1, 8, 8), "latent_dim": 4, "reconstruction_loss": "mse", "beta": 0.05}
    model = models.BetaVAE(models.BetaVAEConfig(**settings))
    config = partial(BaseTrainerConfig, num_epochs=20, per_device_train_batch_size=100)
    trainer = config(output_dir=str(tmp_path), learning_rate=3e-3, no_cuda=True)
    TrainingPipeline(model=model, training_config=trainer)(train_data=digits.train)
    with torch.no_grad():
        code = model.encoder(digits.train)
        check(
            code.embedding,
            code.log_covariance,
            lambda z: model.decoder(z).reconstruction,
            digits.train,
        )

"""Every metric by name, for the laws; `(metric, points)`."""

import torch
from torch import nn
from torch.distributions import Independent, Normal

from pyrogeo.geometry import (
    Conformal,
    Constant,
    DiagonalCentroidMetric,
    Euclidean,
    FullCentroidMetric,
    LearnedMetric,
    Metric,
    Pullback,
    volume_seeking,
)


def diagonal(k=12, d=3, dtype=torch.float64, spread=1.0, **options):
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator, dtype=torch.float64) * spread
    variances = 0.05 + 0.3 * torch.rand(k, d, generator=generator, dtype=torch.float64)
    return DiagonalCentroidMetric(centroids.to(dtype), variances.to(dtype), **options)


def full(k=12, d=3, dtype=torch.float64, spread=1.0, **options):
    generator = torch.Generator().manual_seed(k + d)
    centroids = torch.randn(k, d, generator=generator, dtype=torch.float64) * spread
    root = 0.4 * torch.randn(k, d, d, generator=generator, dtype=torch.float64)
    covariances = root @ root.mT + 0.05 * torch.eye(d, dtype=torch.float64)
    return FullCentroidMetric(centroids.to(dtype), covariances.to(dtype), **options)


def learned(n=30, d=3, temperature=0.8, regularization=0.05):
    generator = torch.Generator().manual_seed(n + d)
    centroids = torch.randn(n, d, generator=generator, dtype=torch.float64)
    factors = 0.5 * torch.randn(n, d, d, generator=generator, dtype=torch.float64).tril()
    return LearnedMetric(centroids, factors, temperature, regularization)


class HalfPlane(Metric):
    """A user's own: Poincaré's half-plane, G = I / z₁²."""

    def forward(self, z):
        identity = torch.eye(2, dtype=z.dtype, device=z.device)
        return identity / z[..., 1, None, None] ** 2

    def contains(self, z):
        return super().contains(z) & (z[..., 1] > 0)


class Disk(Conformal):
    """Poincaré's disk, G = 4 I / (1 − ‖z‖²)²."""

    def __init__(self):
        super().__init__(Euclidean(), log_of_disk)

    def contains(self, z):
        return super().contains(z) & ((z * z).sum(-1) < 1)


def log_of_disk(z):
    return (2 / (1 - (z * z).sum(-1))).log()


class Decoder(nn.Module):
    """A small tanh network, whose output is the location and the scale of a normal distribution."""

    def __init__(self, d=2, m=4):
        super().__init__()
        self.network = nn.Sequential(nn.Linear(d, 8), nn.Tanh(), nn.Linear(8, 2 * m)).double()
        generator = torch.Generator().manual_seed(d)
        for parameter in self.parameters():
            parameter.data.normal_(generator=generator).div_(2)

    def forward(self, z):
        loc, log_scale = self.network(z).chunk(2, -1)
        return Independent(Normal(loc, (0.3 * log_scale).exp()), 1)


def _near(metric, n=40):
    generator = torch.Generator().manual_seed(1)
    d = metric.dimension
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return torch.cat([metric.centroids, noise.to(metric.centroids.dtype)])


def uniform(low, high, d=2, n=40):
    generator = torch.Generator().manual_seed(1)
    return low + (high - low) * torch.rand(n, d, generator=generator, dtype=torch.float64)


METRICS = {
    "diagonal": lambda: (m := diagonal(), _near(m)),
    "diagonal, one dimension": lambda: (m := diagonal(d=1), _near(m)),
    "diagonal, d=16": lambda: (m := diagonal(30, 16), _near(m)),
    "diagonal, one centroid": lambda: (m := diagonal(1, bandwidth=1.0), _near(m)),
    "diagonal, no λ": lambda: (m := diagonal(regularization=0.0), _near(m)),
    "diagonal, λ = 1": lambda: (m := diagonal(regularization=1.0, decay=0.3), _near(m)),
    "full": lambda: (m := full(), _near(m)),
    "full, d=8": lambda: (m := full(30, 8), _near(m)),
    "full, λ = 1": lambda: (m := full(regularization=1.0, decay=0.3), _near(m)),
    "half-plane": lambda: (HalfPlane(), uniform(0.1, 1.1)),
    "disk": lambda: (Disk(), uniform(-0.6, 0.6)),
    "Euclidean": lambda: (Euclidean(), uniform(-1, 1, 3)),
    "constant": lambda: (Constant(diagonal()(torch.zeros(1, 3).double())[0]), uniform(-1, 1, 3)),
    "volume-seeking": lambda: (volume_seeking(m := diagonal(d=2), 1.0), _near(m)),
    "pullback": lambda: (Pullback(Decoder(3)), uniform(-1, 1, 3)),
    "pullback, Fisher": lambda: (Pullback(Decoder(), fisher=True), uniform(-1, 1)),
    "learned": lambda: (m := learned(), _near(m)),
    "inverse": lambda: ((m := full(d=2)).inverse, _near(m)),
    "inverse, half-plane": lambda: (HalfPlane().inverse, uniform(0.1, 1.1)),
}

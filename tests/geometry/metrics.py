"""Every metric by name, for the laws; `(metric, points)`."""

import torch

from pyrogeo.geometry import DiagonalCentroidMetric, FullCentroidMetric, Metric


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


class HalfPlane(Metric):
    """A user's own: Poincaré's half-plane, G = I / z₁²."""

    def forward(self, z):
        identity = torch.eye(2, dtype=z.dtype, device=z.device)
        return identity / z[..., 1, None, None] ** 2


def _near(metric, n=40):
    generator = torch.Generator().manual_seed(1)
    d = metric.dimension
    noise = torch.randn(n, d, generator=generator, dtype=torch.float64)
    return torch.cat([metric.centroids, noise.to(metric.centroids.dtype)])


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
    "half-plane": lambda: (
        HalfPlane(),
        torch.rand(40, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) + 0.1,
    ),
}

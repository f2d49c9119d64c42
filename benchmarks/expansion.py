"""√det G as a finite Gaussian mixture: an exact oracle with crossing directions and a vacuum.

If the precisions of diagonal covariances come in equal pairs, s_{i,2m−1} = s_{i,2m}, then
√det G = Πₘ (Σᵢ s_{im} ωᵢ + λ e^{−τ‖z‖²}) is a product of d/2 sums. Expanded, it is a sum of products of d/2 of the
K + 1 exponentials, each a Gaussian: C(K + d/2, d/2) of them, with volumes in closed form and independent draws.
"""

from collections import Counter

import torch
from torch import Tensor

from pyrogeo.geometry import DiagonalCentroidMetric

__all__ = ["Expansion"]


class Expansion:
    """The mixture that √det G is.

    Args:
        metric: variances in equal pairs, of even dimension.
    """

    def __init__(self, metric: DiagonalCentroidMetric):
        s, c = 1 / metric.variances.double(), metric.centroids.double()
        if metric.dimension % 2 or not torch.equal(s[:, ::2], s[:, 1::2]):
            raise ValueError("expected variances in equal pairs")
        rates, heights = s / metric.bandwidth.double() ** 2, s[:, ::2].log()
        if metric.regularization > 0:
            zero = torch.zeros_like(c[:1])
            rates = torch.cat([rates, zero + metric.decay])
            heights = torch.cat([heights, zero[:, ::2] + metric.regularization.log()])
            c = torch.cat([c, zero])
        powers, log_coefficients = _expanded(heights.exp())
        self.precisions = 2 * powers @ rates
        self.means = 2 * powers @ (rates * c) / self.precisions
        away = c[None] - self.means[:, None]
        fall = (powers[..., None] * rates * away**2).sum((1, 2))
        self.log_heights = log_coefficients - fall
        log_norms = 0.5 * (2 * torch.pi / self.precisions).log().sum(-1)
        self.log_masses = self.log_heights + log_norms
        self.log_volume = self.log_masses.logsumexp(0).item()

    def log_density(self, z: Tensor) -> Tensor:
        """½ log det G at points `(n, d)`, shape `(n,)`, by the expansion."""
        square = ((z[:, None] - self.means) ** 2 * self.precisions).sum(-1)
        return (self.log_heights - 0.5 * square).logsumexp(-1)

    def sample(self, n: int) -> Tensor:
        """`n` independent draws `(n, d)`, from torch's global generator."""
        index = torch.multinomial(self.log_masses.softmax(0), n, replacement=True)
        noise = torch.randn(n, self.means.shape[1], dtype=self.means.dtype)
        return self.means[index] + noise / self.precisions[index].sqrt()


def _expanded(heights: Tensor) -> tuple[Tensor, Tensor]:
    """Powers `(T, A)` and log-coefficients `(T,)` of Πₘ Σᵢ heights[i, m] xᵢ."""
    sums: Counter[tuple[int, ...]] = Counter({(): 1.0})
    for column in heights.T.tolist():
        grown: Counter[tuple[int, ...]] = Counter()
        for factors, coefficient in sums.items():
            for atom, height in enumerate(column):
                grown[tuple(sorted((*factors, atom)))] += coefficient * height
        sums = grown
    powers = torch.zeros(len(sums), len(heights), dtype=heights.dtype)
    for row, factors in enumerate(sums):
        for atom in factors:
            powers[row, atom] += 1
    return powers, torch.tensor(list(sums.values()), dtype=heights.dtype).log()

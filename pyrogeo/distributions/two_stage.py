"""A VAE's embeddings under a second VAE."""

import math
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.quasirandom import SobolEngine

from pyrogeo.vae import VAE

__all__ = ["TwoStage"]

_ROWS = 2**13  # points times particles in one pass


class TwoStage(TorchDistribution):
    """z = m + s ∘ z̃ with z̃ drawn from a second VAE, the noise of its likelihood included.

    It is what `fit_two_stage` returns.

    `log_prob` is an estimate, log (1/P) Σₚ p(z̃, uₚ)/q(uₚ|z̃) − Σ log s with uₚ = μ(z̃) + σ(z̃) ∘ εₚ. The
    εₚ are drawn once and serve every point, so that the estimate is a smooth function of z, can be
    differentiated, and repeats; and so that its error does not shrink in a mean over points. They come from a
    scrambled Sobol sequence, which makes it smaller than that of independent ones. Over the εₚ its
    expectation is at most the log-density, and that of its exponential is the density.

    Args:
        vae: trained on (z − m)/s; is frozen.
        loc, scale: m and s, shape `(d,)`.
        num_particles: P, best a power of two.
        seed: of the εₚ.
    """

    arg_constraints: ClassVar[dict] = {}
    support = constraints.real_vector

    def __init__(
        self,
        vae: VAE,
        loc: Tensor,
        scale: Tensor,
        num_particles: int = 128,
        seed: int = 0,
        validate_args: bool | None = None,
    ):
        self.vae = vae.eval().requires_grad_(False)
        self.loc, self.scale = loc, scale
        d = vae.prior().event_shape[0]
        self.noise = _normal_points(num_particles, d, seed).to(loc)[:, None]
        super().__init__(event_shape=loc.shape, validate_args=validate_args)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        flat = value.reshape(-1, len(self.loc))
        rows = max(1, _ROWS // len(self.noise))
        values = [self._estimate(part) for part in flat.split(rows)]
        return torch.cat(values).reshape(value.shape[:-1])

    def _estimate(self, z: Tensor) -> Tensor:
        z = (z - self.loc) / self.scale
        q = self.vae.posterior(z).base_dist  # one normal law for each coordinate
        u = q.loc + q.scale * self.noise
        log_weights = (
            self.vae.likelihood(u).log_prob(z)
            + self.vae.prior().log_prob(u)
            - q.log_prob(u).sum(-1)
        )
        return log_weights.logsumexp(0) - math.log(len(u)) - self.scale.log().sum()

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            u = self.vae.prior().sample((shape.numel(),))
            z = self.vae.likelihood(u).sample()
        return (self.loc + self.scale * z).reshape(self._extended_shape(shape))


def _normal_points(n: int, d: int, seed: int) -> Tensor:
    """Each of law N(0, I), together spread more evenly than independent ones, shape `(n, d)`."""
    uniform = SobolEngine(d, scramble=True, seed=seed).draw(n, dtype=torch.float64)
    tiny = 2.0**-32  # of the sequence's cells; 0 itself has no quantile
    return torch.special.ndtri(uniform.clamp(tiny, 1 - tiny))

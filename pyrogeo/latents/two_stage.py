"""A VAE's embeddings under a second VAE."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints
from torch.quasirandom import SobolEngine

from pyrogeo._checks import whole
from pyrogeo._numbers import log_sum_exp
from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.latents.embeddings import check_embeddings, split, standardisation
from pyrogeo.vae import VAE, fit, guides, likelihoods, networks, priors

__all__ = ["TwoStage", "fit_two_stage"]

_ROWS = 2**13  # points times particles in one pass
_FARTHEST = 30.0  # standard deviations, of what the encoder is shown


class TwoStage(TorchDistribution):
    """z = m + s ∘ z̃ with z̃ drawn from a second VAE, the noise of its likelihood included.

    It is what `fit_two_stage` returns.

    `log_prob` is an estimate, log (1/P) Σₚ p(z̃, uₚ)/q(uₚ|z̃) − Σ log s with uₚ = μ(z̃) + σ(z̃) ∘ εₚ,
    μ and σ read at z̃ held within 30 standard deviations. The
    εₚ are drawn once and serve every point, so that the estimate is a smooth function of z, can be
    differentiated, and repeats; and so that its error does not shrink in a mean over points. They come from a
    scrambled Sobol sequence, which makes it smaller than that of independent ones. Over the εₚ its
    expectation is at most the log-density, and that of its exponential is the density.

    Args:
        vae: trained on (z − m)/s, with a `DiagonalNormal` guide, as εₚ stand for its coordinates; is frozen.
        loc, scale: m and s, shape `(d,)`.
        num_particles: P, best a power of two.
        seed: of the εₚ.

    Raises:
        ValueError: for another guide, or no particles.
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
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
        if not isinstance(vae.posterior, guides.DiagonalNormal):
            raise ValueError(
                f"expected a VAE with a DiagonalNormal guide, got {type(vae.posterior).__name__}"
            )
        self.vae = vae.eval().requires_grad_(False)
        self.loc, self.scale = loc, scale
        d = vae.prior().event_shape[0]
        self.noise = _normal_points(whole("num_particles", num_particles), d, seed).to(loc)[:, None]
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
        # Any q with mass everywhere is right; far out the encoder's may have none that numbers can tell.
        near = z.clamp(-_FARTHEST, _FARTHEST)
        q = self.vae.posterior(near).base_dist  # one normal law for each coordinate
        u = q.loc + q.scale * self.noise
        log_weights = (
            self.vae.likelihood(u).log_prob(z)
            + self.vae.prior().log_prob(u)
            - q.log_prob(u).sum(-1)
        )
        return log_sum_exp(log_weights.mT) - math.log(len(u)) - self.scale.log().sum()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        shape = torch.Size(sample_shape)
        with torch.no_grad():
            u = self.vae.prior().sample((shape.numel(),))
            z = self.vae.likelihood(u).sample()
        drawn: Tensor = (self.loc + self.scale * z).reshape(self._extended_shape(shape))
        return drawn


def _normal_points(n: int, d: int, seed: int) -> Tensor:
    """Each of law N(0, I), together spread more evenly than independent ones, shape `(n, d)`."""
    uniform = SobolEngine(d, scramble=True, seed=seed).draw(n, dtype=torch.float64)
    tiny = 2.0**-32  # of the sequence's cells; 0 itself has no quantile
    points: Tensor = torch.special.ndtri(uniform.clamp(tiny, 1 - tiny))
    return points


def fit_two_stage(
    z: Tensor,
    *,
    hidden: Sequence[int] = (128, 128),
    latent_dim: int | None = None,
    num_particles: int = 128,
    epochs: int = 200,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    validation: float = 0.1,
    patience: int = 20,
    seed: int | None = 0,
    progress: bool = True,
) -> TwoStage:
    """A second VAE of the embeddings, with standard normal prior and learned noise.

    It is trained by `fit` on standardised embeddings. Draws are those of its program: from its prior,
    through its decoder, plus its noise.

    Args:
        z: embeddings of shape `(N, d)`, of which no coordinate is constant.
        hidden: units of its networks' hidden layers.
        latent_dim: of the second VAE, by default d as in the paper.
        num_particles: P with which `log_prob` is estimated, in expectation from below.
        epochs, batch_size, learning_rate: of `fit`.
        validation: share of the embeddings held out for early stopping.
        patience: epochs without improvement after which training stops.
        seed: of split, weights, training and particles; None draws one from torch's global generator.
        progress: show a bar.

    Raises:
        ValueError: for embeddings of another shape, not finite or constant, and settings out of range.
        NonFiniteLossError: when the loss becomes NaN or infinite.

    Source: Dai, Wipf, *Diagnosing and enhancing VAE models*, 2019.

    >>> second = fit_two_stage(torch.randn(100, 2), epochs=2, progress=False)
    >>> second.sample((5,)).shape, second.log_prob(torch.zeros(7, 2)).shape
    (torch.Size([5, 2]), torch.Size([7]))
    """
    check_embeddings(z, at_least=10)
    d = z.shape[1]
    latent_dim = whole("latent_dim", d if latent_dim is None else latent_dim)
    num_particles = whole("num_particles", num_particles)
    seed, z = fresh_seed(seed), z.detach()
    train, held_out = split(z, validation, seed)
    loc, scale = standardisation(train)
    with forked(seed, z.device):
        vae = _second_vae(d, latent_dim, hidden).to(z)
    fit(
        vae,
        (train - loc) / scale,
        (held_out - loc) / scale,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        seed=derived_seed(seed, 1) % 2**32,  # what `fit` takes
        progress=progress,
    )
    return TwoStage(vae, loc, scale, num_particles, derived_seed(seed, 2))


def _second_vae(d: int, latent_dim: int, hidden: Sequence[int]) -> VAE:
    encoder = networks.mlp(d, *hidden, 2 * latent_dim)
    decoder = networks.mlp(latent_dim, *reversed(hidden), d)
    # From a scale of 1, that of the data, training stays where the second VAE codes nothing.
    likelihood = likelihoods.Normal(decoder, scale=0.3, learn_scale=True)
    return VAE(priors.StandardNormal(latent_dim), guides.DiagonalNormal(encoder), likelihood)

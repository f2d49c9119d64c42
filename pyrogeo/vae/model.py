"""The VAE as a Pyro program: `model` draws z from the prior and x from the likelihood, `guide` draws
z from q(z|x).

Both run unchanged under `pyro.infer.SVI`, `Predictive` and every Pyro ELBO.
"""

import contextlib
import itertools
from collections.abc import Iterator

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn

from pyrogeo._random import forked
from pyrogeo.vae._batches import batched, joined

__all__ = ["VAE"]

_numbers = itertools.count(1)


class VAE(nn.Module):
    """A variational autoencoder made of three interchangeable parts.

    p(x, z) = p(z) p(x|z) and q(z|x); the objective is E_q[log p(x|z)] − β KL(q(z|x) ‖ p(z)).

    Args:
        prior: module with `forward() -> Distribution`, event shape `(d,)`; kept as `vae.prior`.
        guide: module with `forward(x) -> Distribution`, batch shape `(*,)` for x of shape
            `(*, *event)`, event shape `(d,)`; kept as `vae.posterior`.
        likelihood: module with `forward(z) -> Distribution`, event shape that of one datum; kept as
            `vae.likelihood`.
        beta: factor β ≥ 0 of the latent terms. `log_likelihood` ignores it.

    Raises:
        ValueError: for a part that is not a module, or a negative or infinite β.

    Source: Kingma, Welling, *Auto-encoding variational Bayes*, 2014; Higgins et al., *β-VAE*, 2017.

    >>> from pyrogeo.vae import guides, likelihoods, networks, priors
    >>> vae = VAE(priors.StandardNormal(2), guides.DiagonalNormal(networks.mlp(5, 16, 2 * 2)),
    ...           likelihoods.Normal(networks.mlp(2, 16, 5)))
    >>> x = torch.zeros(10, 5)
    >>> vae.embed(x).batch_shape, vae.decode(vae.embed(x).mean).mean.shape
    (torch.Size([10]), torch.Size([10, 5]))
    """

    def __init__(
        self, prior: nn.Module, guide: nn.Module, likelihood: nn.Module, beta: float = 1.0
    ):
        super().__init__()
        for name, part in [("prior", prior), ("guide", guide), ("likelihood", likelihood)]:
            if not isinstance(part, nn.Module):
                raise ValueError(f"the {name} must be a torch.nn.Module, got {type(part)}")
        if not 0 <= beta < float("inf"):
            raise ValueError(f"beta must be finite and not negative, got {beta}")
        self.prior, self.posterior, self.likelihood = prior, guide, likelihood
        self.beta = beta
        self._name = f"vae{next(_numbers)}"

    def __setstate__(self, state: dict) -> None:
        # A copy is another VAE: under the same name, SVI would step the parameters of the original.
        super().__setstate__(state)
        self._name = f"vae{next(_numbers)}"

    @property
    def dtype(self) -> torch.dtype:
        """Of the parameters; `embed` and `decode` cast to it."""
        return self._first_tensor().dtype

    @property
    def device(self) -> torch.device:
        """Of the parameters; `embed` and `decode` move to it."""
        return self._first_tensor().device

    def _first_tensor(self) -> Tensor:
        tensors = itertools.chain(self.parameters(), self.buffers())
        return next((t for t in tensors if t.is_floating_point()), torch.empty(0))

    def model(self, x: Tensor | None = None, size: int | None = None) -> Tensor:
        """The generative program, with latent site `"z"` and observed site `"x"`.

        Args:
            x: data of shape `(B, *event)`; without it the program draws data.
            size: number of draws without x (default 1); with x, the size of the data set of which
                x is a minibatch, to which the log-probabilities are scaled (default B).

        Returns:
            x, or draws of shape `(size, *event)`.
        """
        pyro.module(f"{self._name}.prior", self.prior)
        pyro.module(f"{self._name}.likelihood", self.likelihood)
        with self._plate(x, size):
            with _tempered(self.beta):
                z = pyro.sample("z", self.prior())
            return pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor, size: int | None = None) -> Tensor:
        """The variational program, with the site `"z"`; arguments as in `model`.

        Returns:
            z, of shape `(B, d)`.
        """
        pyro.module(f"{self._name}.posterior", self.posterior)
        with self._plate(x, size), _tempered(self.beta):
            return pyro.sample("z", self.posterior(x))

    @contextlib.contextmanager
    def _plate(self, x: Tensor | None, size: int | None) -> Iterator[None]:
        n = (1 if size is None else size) if x is None else len(x)
        with pyro.plate("data", n, dim=-1):
            if x is None or size is None:
                yield
            else:
                with poutine.scale(scale=size / n):
                    yield

    def embed(self, x: Tensor, batch_size: int = 1024) -> dist.TorchDistribution:
        """q(z|x), in evaluation mode and without gradients.

        Args:
            x: data of shape `(N, *event)`, cast to the VAE's dtype and device.
            batch_size: data per pass.

        Returns:
            the guide's distribution, batch shape `(N,)`, event shape `(d,)`.
        """
        x = torch.as_tensor(x)
        with self.evaluating():
            return self._call_batched(self.posterior, x, batch_size)

    def decode(self, z: Tensor, batch_size: int = 1024) -> dist.TorchDistribution:
        """p(x|z), in evaluation mode and without gradients; `.mean` is the picture.

        Args:
            z: latent points of shape `(*, d)`, cast to the VAE's dtype and device.
            batch_size: entries of the first dimension per pass.

        Returns:
            the likelihood's distribution, batch shape `(*,)`, event shape that of one datum.
        """
        z = torch.as_tensor(z)
        with self.evaluating():
            if z.dim() < 2:
                return self.likelihood(self._cast(z))
            return self._call_batched(self.likelihood, z, batch_size)

    def _call_batched(self, part: nn.Module, x: Tensor, batch_size: int) -> dist.TorchDistribution:
        whole = joined([part(self._cast(batch)) for batch in batched(x, batch_size)])
        return part(self._cast(x)) if whole is None else whole

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def log_likelihood(
        self,
        x: Tensor,
        num_particles: int = 100,
        batch_size: int = 100,
        seed: int | None = None,
    ) -> Tensor:
        """log (1/P) Σₚ p(x, zₚ)/q(zₚ|x) with zₚ ~ q(z|x): a lower bound of log p(x) in expectation
        that tightens with P. β plays no part.

        Args:
            x: data of shape `(N, *event)`.
            num_particles: P, for each datum.
            batch_size: data per pass; particles are passed through in slices of similar size.
            seed: of the particles; without one, torch's global state is used.

        Returns:
            one value in nats for each datum, shape `(N,)`.

        Source: Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, 2016.
        """
        if num_particles < 1:
            raise ValueError(f"num_particles must be at least 1, got {num_particles}")
        x = torch.as_tensor(x)
        with self.evaluating(), forked(seed, self.device):
            values = [
                self._importance_weighted(self._cast(batch), num_particles)
                for batch in batched(x, batch_size)
            ]
        return torch.cat(values)

    def _importance_weighted(self, x: Tensor, num_particles: int) -> Tensor:
        q, prior = self.posterior(x), self.prior()
        total = x.new_full((len(x),), -torch.inf)
        for particles in torch.arange(num_particles).split(100):
            z = q.sample((len(particles),))
            log_joint = prior.log_prob(z) + self.likelihood(z).log_prob(x)
            total = torch.logaddexp(total, (log_joint - q.log_prob(z)).logsumexp(0))
        return total - torch.tensor(num_particles).log()

    @contextlib.contextmanager
    def evaluating(self) -> Iterator[None]:
        """Evaluation mode without gradients; each submodule gets its own mode back."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, training in modes:
                module.training = training


def _tempered(beta: float):
    if beta == 1:
        return contextlib.nullcontext()
    # poutine.scale refuses 0, whose meaning is that the latent sites do not count.
    return poutine.mask(mask=False) if beta == 0 else poutine.scale(scale=beta)

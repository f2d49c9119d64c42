"""The VAE as a Pyro program: `model` draws z from the prior and x from the likelihood, `guide` draws
z from q(z|x).

Both run unchanged under `pyro.infer.SVI`, `Predictive` and every Pyro ELBO.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from pyrogeo._checks import as_tensor, not_negative, whole
from pyrogeo._random import forked
from pyrogeo.vae import folder as saved
from pyrogeo.vae._batches import batched, joined
from pyrogeo.vae._store import check_own

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

    Attributes:
        statement: what `save` keeps beside the weights, in JSON's words, so that whoever wrote it can build
            the same parts again; None where nothing was said.

    Raises:
        ValueError: for a part that is not a module, a prior that shares another guide, or a negative or
            infinite β.

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
        if getattr(prior, "guide", guide) is not guide:
            raise ValueError(
                f"the {type(prior).__name__} prior has a guide of its own, which would not be trained; "
                "expected the VAE's"
            )
        self.prior, self.posterior, self.likelihood = prior, guide, likelihood
        self.beta = not_negative("beta", beta)
        self.statement: dict[str, Any] | None = None
        # set by `fit`, which steps the parameters itself: an ELBO only asks whether there are any
        self.stepped_elsewhere = False
        self._name = f"vae{next(_numbers)}"

    def __setstate__(self, state: dict[str, Any]) -> None:
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
        self._register("prior", self.prior)
        self._register("likelihood", self.likelihood)
        with self._plate(x, size):
            with _tempered(self.beta):
                z = pyro.sample("z", self.prior())
            drawn: Tensor = pyro.sample("x", self.likelihood(z), obs=x)
        return drawn

    def guide(self, x: Tensor, size: int | None = None) -> Tensor:
        """The variational program, with the site `"z"`; arguments as in `model`.

        Returns:
            z, of shape `(B, d)`.
        """
        self._register("posterior", self.posterior)
        with self._plate(x, size), _tempered(self.beta):
            return self._program(x)

    def _program(self, x: Tensor) -> Tensor:
        """The guide's sites: one named "z", and those that a guide's own program adds to it."""
        program = getattr(self.posterior, "program", None)
        z: Tensor = (
            pyro.sample("z", self.posterior(x))
            if program is None
            else program(x, name="z", joint=self._joint(x))
        )
        return z

    def _joint(self, x: Tensor) -> Callable[[Tensor], Tensor]:
        """From points `(*, B, d)` to log p(x, z) of shape `(*, B)`, without β."""

        def joint(z: Tensor) -> Tensor:
            value: Tensor = self.prior().log_prob(z) + self._log_likelihood(x, z)
            return value

        return joint

    def _log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) for data `(B, *event)` and points `(*, B, d)`, shape `(*, B)`."""
        lead = z.shape[:-1]
        # Folded, as networks with batch norm take one batch dimension only.
        repeated = x.expand(*lead, *x.shape[1:]).flatten(0, len(lead) - 1)
        value: Tensor = self.likelihood(z.flatten(0, -2)).log_prob(repeated).reshape(lead)
        return value

    def _register(self, name: str, part: nn.Module) -> None:
        name = f"{self._name}.{name}"
        if not self.stepped_elsewhere:
            check_own(name, part)
            pyro.module(name, part)
            return
        for parameter in itertools.islice(part.parameters(), 1):
            pyro.param(name, parameter)

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
            the guide's distribution, batch shape `(N,)`, event shape `(d,)`; for a guide with
            `posterior_moments`, a flow say, the normal distribution of the same mean and covariance,
            estimated with the same noise every time.
        """
        x = self._data(x)
        moments = getattr(self.posterior, "posterior_moments", None)
        with self.evaluating():
            if moments is None:
                return self._call_batched(self.posterior, x, batch_size)
            with forked(0, self.device):
                return self._call_batched(lambda b: moments(b, joint=self._joint(b)), x, batch_size)

    def decode(self, z: Tensor, batch_size: int = 1024) -> dist.TorchDistribution:
        """p(x|z), in evaluation mode and without gradients; `likelihoods.picture` shows it.

        Args:
            z: latent points of shape `(*, d)`, cast to the VAE's dtype and device.
            batch_size: entries of the first dimension per pass.

        Returns:
            the likelihood's distribution, batch shape `(*,)`, event shape that of one datum.

        Raises:
            ValueError: for points that are no floating-point numbers.
        """
        z = as_tensor("z", z)
        if not z.is_floating_point():
            raise ValueError(f"z: expected floating-point numbers, got {z.dtype}")
        with self.evaluating():
            if z.dim() < 2:
                one: dist.TorchDistribution = self.likelihood(self._cast(z))
                return one
            return self._call_batched(self.likelihood, z, batch_size)

    def _call_batched(
        self, part: Callable[[Tensor], dist.TorchDistribution], x: Tensor, batch_size: int
    ) -> dist.TorchDistribution:
        whole: Any = joined([part(self._cast(batch)) for batch in batched(x, batch_size)])
        return part(self._cast(x)) if whole is None else whole

    def _cast(self, x: Tensor) -> Tensor:
        return x.to(self.device, self.dtype)

    def _data(self, x: Any) -> Tensor:
        """Data in the VAE's dtype, where they are kept exactly."""
        x = as_tensor("x", x)
        return x if x.is_floating_point() else self.from_integers(x)

    def from_integers(self, x: Tensor) -> Tensor:
        """Integers as numbers of the VAE's dtype, if they are what the likelihood is of: counts, or classes.

        Yes and no are one and zero for any likelihood. Of other integers it cannot be known whether 255 or 16 is
        white.

        Raises:
            ValueError: for integers under a likelihood of real numbers, and for some that the dtype rounds.

        >>> from pyrogeo.recipes.standard import standard_vae
        >>> standard_vae((5,), 2).from_integers(torch.zeros(10, 5, dtype=torch.uint8))
        Traceback (most recent call last):
        ValueError: expected floating-point numbers, got torch.uint8; for images of bytes, x.float() / 255, ...
        """
        if x.dtype is not torch.bool and not self._is_of_integers():
            raise ValueError(
                f"expected floating-point numbers, got {x.dtype}; for images of bytes, x.float() / 255, for "
                "values as they are, x.float()"
            )
        cast = x.to(self.dtype)
        if not torch.equal(cast.to(x.dtype), x):
            raise ValueError(f"{self.dtype} rounds integers of this size; use vae.double()")
        return cast

    def _is_of_integers(self) -> bool:
        """Whether the likelihood's support is, at some latent point."""
        with self.evaluating(), forked(0, self.device):
            return bool(self.likelihood(self._cast(self.prior().sample((1,)))).support.is_discrete)

    def log_likelihood(
        self,
        x: Tensor,
        num_particles: int = 100,
        batch_size: int = 100,
        seed: int | None = None,
    ) -> Tensor:
        """log (1/P) Σₚ p(x, zₚ)/q(zₚ|x) with zₚ ~ q(z|x), the importance-weighted bound of log p(x).

        It lies below log p(x) in expectation, and tightens with P. β plays no part.

        Args:
            x: data of shape `(N, *event)`.
            num_particles: P, for each datum.
            batch_size: data per pass; of the particles, as many at a time as make about 1,000.
            seed: of the particles; without one, torch's global state is used.

        Returns:
            one value in nats for each datum, shape `(N,)`.

        Raises:
            ValueError: for no particles, or data that are no floating-point numbers.

        Source: Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, 2016.
        """
        num_particles = whole("num_particles", num_particles)
        x = self._data(x)
        with self.evaluating(), forked(seed, self.device):
            values = [
                self._importance_weighted(self._cast(batch), num_particles)
                for batch in batched(x, batch_size)
            ]
        return torch.cat(values)

    def _importance_weighted(self, x: Tensor, num_particles: int) -> Tensor:
        prior, total = self.prior(), x.new_full((len(x),), -torch.inf)
        for particles in torch.arange(num_particles).split(max(1, 1000 // len(x))):
            z, log_q = self._draw(x, len(particles))
            log_weight = self._log_likelihood(x, z) + prior.log_prob(z) - log_q
            total = torch.logaddexp(total, log_weight.logsumexp(0))
        return total - math.log(num_particles)

    def _draw(self, x: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """n points from the guide for each datum, and the log-density of all its sites: `(n, B, d)`
        and `(n, B)`."""
        plates = pyro.plate("draws", n, dim=-2), pyro.plate("data", len(x), dim=-1)
        with poutine.block(), poutine.trace() as traced, plates[0], plates[1]:
            z = self._program(x)
        # The types of a trace's words are left open by Pyro.
        sites: list[Any] = [s for s in traced.trace.nodes.values() if s["type"] == "sample"]
        log_probs = [
            site["fn"].log_prob(site["value"]) for site in sites if not site_is_subsample(site)
        ]
        return z, sum(log_probs, x.new_zeros(()))

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes `weights.safetensors` and `vae.json` into a folder, made if it is missing.

        Raises:
            ValueError: where a VAE is saved already.
        """
        saved.save(self, folder)

    def load_weights(self, folder: str | os.PathLike[str]) -> None:
        """Takes the weights that `save` wrote, into parts of the same shapes.

        Raises:
            ValueError: for a file that is missing, broken, or of other shapes.
        """
        saved.load_weights(self, folder)

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


def _tempered(beta: float) -> contextlib.AbstractContextManager[Any]:
    if beta == 1:
        return contextlib.nullcontext()
    # poutine.scale refuses 0, whose meaning is that the latent sites do not count.
    return poutine.mask(mask=False) if beta == 0 else poutine.scale(scale=beta)

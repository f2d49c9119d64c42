"""Guides that let a point move along Hamiltonian dynamics of log p(x, z) before it is the latent one.

The extended space. With z₀ ~ q(z₀|x), a momentum ρ₀ ~ N(0, M(z₀)/β₀) and a map (z₀, ρ₀) ↦ (z_K, ρ_K)
that multiplies volumes by J, the law of the end is q(z_K, ρ_K|x) = q(z₀|x) N(ρ₀; 0, M(z₀)/β₀) / J. The
target p(x, z) N(ρ; 0, M(z)) has the evidence p(x), so that

    ELBO = E[log p(x, z_K) + log N(ρ_K; 0, M(z_K)) − log q(z₀|x) − log N(ρ₀; 0, M(z₀)/β₀) + log J].

Leapfrog steps preserve volume. After step k the momentum is cooled, ρ ← √(βₖ₋₁/βₖ) ρ with
1/√βₖ = 1/√β₀ + (1 − 1/√β₀) k²/K², which makes log J = (d/2) log β₀.

In Pyro: z₀ and ρ₀ are auxiliary sites, and the latent site is a `Delta` at z_K of log-density
−log N(ρ_K; 0, M(z_K)) − log J. The sum of the guide's log-densities is then what the ELBO subtracts from
log p(x, z_K), for every objective that adds up all sites: `Trace_ELBO`, `RenyiELBO`.

The dynamics follow log p(x, z) whatever β is; β weighs all of the guide's terms, as in any guide.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, NoReturn, Protocol

import pyro
import pyro.distributions as dist
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import register_kl

from pyrogeo._checks import positive, real_or_nan, whole_or_none
from pyrogeo.errors import NonFiniteDensityError
from pyrogeo.moves import State, leapfrog
from pyrogeo.vae._moments import matched_normal
from pyrogeo.vae.guides.normal import DiagonalNormal

__all__ = ["Hamiltonian", "LeapfrogGuide", "value_and_grad"]

Joint = Callable[[Tensor], Tensor]
_AUXILIARY: Any = {"is_auxiliary": True}  # which Pyro's type of such words has not


class Dynamics(Protocol):
    """What moves a point: the law of its momentum, and a step of a volume-preserving map."""

    def momentum(self, z: Tensor, tempering: float) -> dist.TorchDistribution:
        """N(0, M(z)/tempering) at points `(*, d)`."""

    def target(self, joint: Joint) -> Joint:
        """The part of −H that depends on z alone."""

    def step(
        self, state: State, rho: Tensor, step_size: Tensor, target: Joint
    ) -> tuple[State, Tensor]:
        """The next state, with the target's value and gradient, and momentum."""


class _Euclidean:
    """M = I, with the leapfrog of `pyrogeo.moves`."""

    def momentum(self, z: Tensor, tempering: float) -> dist.TorchDistribution:
        normal: dist.TorchDistribution = dist.Normal(torch.zeros_like(z), tempering**-0.5).to_event(
            1
        )
        return normal

    def target(self, joint: Joint) -> Joint:
        return joint

    def step(
        self, state: State, rho: Tensor, step_size: Tensor, target: Joint
    ) -> tuple[State, Tensor]:
        return leapfrog(lambda z: value_and_grad(target, z), state, rho, step_size, 1)


class LeapfrogGuide(nn.Module, ABC):
    """Base of `Hamiltonian` and `Riemannian`, which differ in `dynamics`."""

    def __init__(
        self,
        network: nn.Module,
        num_steps: int,
        step_size: float,
        tempering: float,
        learn_step_size: bool,
    ):
        super().__init__()
        steps, beta0 = whole_or_none(num_steps), real_or_nan(tempering)
        if steps is None or steps < 0:
            raise ValueError(f"num_steps: expected an integer of at least 0, got {num_steps!r}")
        if not 0 < beta0 <= 1:
            raise ValueError(f"tempering: expected 0 < β₀ ≤ 1, got {tempering!r}")
        self.initial = DiagonalNormal(network)
        self.num_steps, self.tempering = steps, beta0
        log_step_size = torch.tensor(positive("step_size", step_size)).log()
        if learn_step_size and steps > 0:
            self.log_step_size = nn.Parameter(log_step_size)
        else:
            self.register_buffer("log_step_size", log_step_size)

    @abstractmethod
    def dynamics(self, x: Tensor, q: dist.TorchDistribution) -> Dynamics:
        """The dynamics for data x, with q their initial law."""

    def program(self, x: Tensor, name: str = "z", *, joint: Joint) -> Tensor:
        """The sites `{name}_initial`, `{name}_momentum` (both auxiliary) and `name`.

        Args:
            x: data of shape `(B, *event)`.
            name: of the latent site.
            joint: from points `(*, B, d)` to log p(x, z), shape `(*, B)`.

        Returns:
            z_K, of shape `(*, B, d)`.

        Raises:
            NonFiniteDensityError: when the steps are so large that they lead to no finite point.
        """
        q = self.initial(x)
        dynamics = self.dynamics(x, q)
        if self.num_steps == 0:
            return pyro.sample(name, q)
        z = pyro.sample(f"{name}_initial", q, infer=_AUXILIARY)
        momentum = dynamics.momentum(z, self.tempering)
        rho = pyro.sample(f"{name}_momentum", momentum, infer=_AUXILIARY)
        z, rho = self.travel(dynamics, z, rho, joint)
        _check_finite(rho)
        log_jacobian = 0.5 * z.shape[-1] * math.log(self.tempering)
        log_density = -dynamics.momentum(z, 1.0).log_prob(rho) - log_jacobian
        _check_finite(log_density)  # of a finite momentum, the square may overflow
        return pyro.sample(name, _Carried(z, log_density, event_dim=1))

    def travel(
        self, dynamics: Dynamics, z: Tensor, rho: Tensor, joint: Joint
    ) -> tuple[Tensor, Tensor]:
        """(z₀, ρ₀) ↦ (z_K, ρ_K), of shape `(*, d)` each."""
        target = dynamics.target(joint)
        state = State(z, *value_and_grad(target, z))
        hot = self.tempering**-0.5
        roots = [hot + (1 - hot) * (k / self.num_steps) ** 2 for k in range(self.num_steps + 1)]
        for before, after in pairwise(roots):
            state, rho = dynamics.step(state, rho, self.log_step_size.exp(), target)
            rho = after / before * rho
        return state.z, rho

    def posterior_moments(
        self, x: Tensor, num_samples: int = 200, *, joint: Joint
    ) -> dist.TorchDistribution:
        """The normal distribution with the mean and covariance of `num_samples` draws.

        Args:
            x: data of shape `(B, *event)`.
            num_samples: at least `d + 2`.
            joint: as in `program`.

        Returns:
            a `MultivariateNormal`, batch shape `(B,)`.
        """

        def draw(n: int) -> Tensor:
            with poutine.block(), pyro.plate("draws", n, dim=-2), torch.no_grad():
                return self.program(x, joint=joint)

        with torch.no_grad():
            q = self.initial(x)
        return matched_normal(draw, num_samples, q.batch_shape + q.event_shape)

    def extra_repr(self) -> str:
        return f"num_steps={self.num_steps}, tempering={self.tempering:g}"


class Hamiltonian(LeapfrogGuide):
    """z_K after K leapfrog steps of H(z, ρ) = −log p(x, z) + ½‖ρ‖² from z₀ ~ q(z₀|x).

    q(z₀|x) is a `DiagonalNormal`; with M = I, the module's docstring derives the bound. Without steps
    (K = 0) it is that `DiagonalNormal`. There is no density q(z|x) that could be evaluated;
    `posterior_moments` gives a mean and covariance.

    Args:
        network: from data to `2 d` numbers, the location and log-variance of q(z₀|x).
        num_steps: K ≥ 0.
        step_size: at the start, in units of latent space, or throughout.
        tempering: β₀ in (0, 1]. 1 is none: exact dynamics would then conserve log p(x, z) + log N(ρ), and
            the bound would be that of q(z₀|x).
        learn_step_size: whether the step size is a parameter.

    Raises:
        ValueError: for settings out of range.

    Source: Caterini, Doucet, Sejdinovic, *Hamiltonian variational auto-encoder*, NeurIPS 2018.

    >>> from pyrogeo.vae import VAE, guides, likelihoods, networks, priors
    >>> guide = guides.Hamiltonian(networks.mlp(5, 16, 2 * 2), num_steps=3, step_size=0.05)
    >>> vae = VAE(priors.StandardNormal(2), guide, likelihoods.Normal(networks.mlp(2, 16, 5)))
    >>> vae.embed(torch.zeros(10, 5)).covariance_matrix.shape
    torch.Size([10, 2, 2])
    """

    def __init__(
        self,
        network: nn.Module,
        num_steps: int = 3,
        step_size: float = 0.01,
        tempering: float = 0.3,
        learn_step_size: bool = True,
    ):
        super().__init__(network, num_steps, step_size, tempering, learn_step_size)

    def dynamics(self, x: Tensor, q: dist.TorchDistribution) -> Dynamics:
        return _Euclidean()


def value_and_grad(joint: Joint, z: Tensor) -> tuple[Tensor, Tensor]:
    """A function of points and its gradient, of shapes `(*,)` and `(*, d)`; differentiable where gradients are on."""
    keep = torch.is_grad_enabled()
    _check_finite(z)
    with torch.enable_grad():
        # A view of its own: what else the function holds may depend on z, a momentum say, and stays fixed.
        z = z.view_as(z) if z.requires_grad else z.detach().requires_grad_()
        value = joint(z)
        if (
            not value.requires_grad
        ):  # a constant, such as the kinetic energy under a constant metric
            return value, torch.zeros_like(z)
        (gradient,) = torch.autograd.grad(
            value.sum(), z, create_graph=keep, allow_unused=True, materialize_grads=True
        )
    return (value, gradient) if keep else (value.detach(), gradient)


def _check_finite(numbers: Tensor) -> None:
    if not torch.isfinite(numbers).all():
        raise NonFiniteDensityError(
            "leapfrog steps led to NaN or infinite numbers; a smaller step_size helps"
        )


class _Carried(dist.Delta):
    """The end of the map, of which no divergence from a prior is known."""


@register_kl(_Carried, dist.Distribution)  # type: ignore[untyped-decorator]  # torch's
def _no_divergence(p: dist.Delta, q: dist.Distribution) -> NoReturn:
    raise ValueError(
        "TraceMeanField_ELBO leaves out auxiliary sites, where a leapfrog guide has its entropy; use "
        "Trace_ELBO"
    )

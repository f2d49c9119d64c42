"""The leapfrog guide whose momentum has the covariance G(z) of a metric, which may be learned."""

from collections.abc import Callable
from typing import Any, Protocol, cast

import pyro.distributions as dist
import torch
from torch import Tensor, nn

from pyrogeo._checks import whole_or_none
from pyrogeo.moves import State
from pyrogeo.vae.guides.hamiltonian import Dynamics, Joint, LeapfrogGuide, value_and_grad
from pyrogeo.vae.guides.normal import lower_triangular

__all__ = ["Riemannian"]


class CurvedSpace(Protocol):
    """What the guide asks of a metric, as every `pyrogeo.Metric` has it."""

    def cholesky(self, z: Tensor) -> Tensor:
        """L with L Lᵀ = G(z), shape `(*, d, d)`."""

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        """G(z)⁻¹ p, shape `(*, d)`."""

    def log_volume_element(self, z: Tensor) -> Tensor:
        """½ log det G(z), shape `(*,)`."""


class Learnable(CurvedSpace, Protocol):
    """What it asks beside that with a `metric_network`, as `pyrogeo.geometry.LearnedMetric` has it."""

    centroids: Tensor
    factors: Tensor

    def replaced(self, centroids: Tensor, factors: Tensor) -> Any:
        """The same metric with others, through which gradients flow."""


class Riemannian(LeapfrogGuide):
    """z_K after K generalised leapfrog steps from z₀ ~ q(z₀|x), on the manifold of a metric.

    H(z, ρ) = −log p(x, z) + ½ log det G(z) + ½ ρᵀ G(z)⁻¹ ρ. The bound is that of the module `hamiltonian`
    with M = G. Its Jacobian is that of the implicit steps; as in the paper they are solved by a fixed
    number of fixed-point iterations, and what is left of their residual, of the order of
    `step_size ** (2 * num_iterations)`, is neglected.

    With a `metric_network` the metric is learned: it needs tensors `centroids` of shape `(N, d)` and
    `factors` of shape `(N, d, d)`, and `replaced(centroids, factors)`, as a
    `pyrogeo.geometry.LearnedMetric` has. In training each batch takes the place of the oldest entries,
    cᵢ = μ(xᵢ) and Lᵢ = L(xᵢ), gradients flowing through those of the batch; in evaluation mode the
    metric stays as it is. With N training points as N entries this is the paper's metric.

    Args:
        network: from data to `2 d` numbers, the location and log-variance of q(z₀|x).
        metric: a module with `cholesky(z)`, `sharp(z, p)` and `log_volume_element(z)`, any
            `pyrogeo.Metric` for one; kept as `guide.metric`, for geodesics and plots.
        metric_network: from data to the `d (d + 1) / 2` numbers of L(x): twice the logarithms of the
            diagonal, then the entries below it, row by row; None for a metric that stays.
        num_steps, step_size, tempering, learn_step_size: as in `Hamiltonian`.
        num_iterations: of each fixed point.

    Raises:
        ValueError: for settings out of range, or a metric that cannot be learned.
        NotPositiveDefiniteError, NonFiniteDensityError: in use, when a point reaches where G has no Cholesky
            factor, or the steps are so large that they lead to no finite point.

    Source: Chadebec, Thibeau-Sutre, Burgos, Allassonnière, *Data augmentation in high dimensional low
    sample size setting using a geometry-based variational autoencoder*, 2022.

    >>> from pyrogeo.geometry import Euclidean
    >>> from pyrogeo.vae import VAE, likelihoods, networks, priors
    >>> guide = Riemannian(networks.mlp(5, 16, 2 * 2), Euclidean(), num_steps=2)
    >>> vae = VAE(priors.StandardNormal(2), guide, likelihoods.Normal(networks.mlp(2, 16, 5)))
    >>> vae.embed(torch.zeros(10, 5)).mean.shape
    torch.Size([10, 2])
    """

    _oldest: Tensor

    def __init__(
        self,
        network: nn.Module,
        metric: CurvedSpace,
        metric_network: nn.Module | None = None,
        num_steps: int = 3,
        step_size: float = 0.01,
        tempering: float = 0.3,
        learn_step_size: bool = True,
        num_iterations: int = 3,
    ):
        super().__init__(network, num_steps, step_size, tempering, learn_step_size)
        iterations = whole_or_none(num_iterations)
        if iterations is None or iterations < 1:
            raise ValueError(
                f"num_iterations: expected an integer of at least 1, got {num_iterations!r}"
            )
        if metric_network is not None and not hasattr(metric, "replaced"):
            raise ValueError(
                f"a metric_network needs a metric that can be learned, such as a LearnedMetric, got "
                f"{type(metric)}"
            )
        self.metric, self.metric_network = metric, metric_network
        self.num_iterations = iterations
        self.register_buffer("_oldest", torch.tensor(0))

    def dynamics(self, x: Tensor, q: dist.TorchDistribution) -> Dynamics:
        if self.training and self.metric_network is not None:
            return _Curved(self._learned(self.metric_network(x), q.mean), self.num_iterations)
        return _Curved(self.metric, self.num_iterations)

    def _learned(self, parameters: Tensor, centroids: Tensor) -> CurvedSpace:
        """The metric with this batch in place of the oldest entries; what is kept has no gradient."""
        metric = cast("Learnable", self.metric)  # as the constructor has checked
        n, d = metric.centroids.shape
        if centroids.shape[-1] != d or parameters.shape[-1] != d * (d + 1) // 2:
            raise ValueError(
                f"for a metric in {d} dimensions the networks end in {2 * d} and "
                f"{d * (d + 1) // 2} numbers, got {2 * centroids.shape[-1]} and "
                f"{parameters.shape[-1]}"
            )
        new = centroids[-n:], lower_triangular(parameters[-n:], d)
        index = (self._oldest + torch.arange(len(new[0]), device=parameters.device)) % n
        live: Learnable = metric.replaced(
            metric.centroids.index_copy(0, index, new[0]),
            metric.factors.index_copy(0, index, new[1]),
        )
        metric.centroids, metric.factors = live.centroids.detach(), live.factors.detach()
        self._oldest = (self._oldest + len(index)) % n
        return live

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, num_iterations={self.num_iterations}"


class _Curved:
    """M = G, with the generalised leapfrog of Girolami and Calderhead (2011)."""

    def __init__(self, metric: CurvedSpace, num_iterations: int):
        self.metric, self.num_iterations = metric, num_iterations

    def momentum(self, z: Tensor, tempering: float) -> dist.TorchDistribution:
        factor = tempering**-0.5 * self.metric.cholesky(z)
        return dist.MultivariateNormal(torch.zeros_like(z), scale_tril=factor)

    def target(self, joint: Joint) -> Joint:
        return lambda z: joint(z) - self.metric.log_volume_element(z)

    def step(
        self, state: State, rho: Tensor, step_size: Tensor, target: Joint
    ) -> tuple[State, Tensor]:
        z, half = state.z, 0.5 * step_size
        rho = self._fixed_point(lambda r: rho + half * (state.gradient + self._pull(z, r)), rho)
        velocity = self.metric.sharp(z, rho)
        z = self._fixed_point(lambda y: state.z + half * (velocity + self.metric.sharp(y, rho)), z)
        after = State(z, *value_and_grad(target, z))
        return after, rho + half * (after.gradient + self._pull(z, rho))

    def _fixed_point(self, function: Callable[[Tensor], Tensor], start: Tensor) -> Tensor:
        for _ in range(self.num_iterations):
            start = function(start)
        return start

    def _pull(self, z: Tensor, rho: Tensor) -> Tensor:
        """∂/∂z of −½ ρᵀ G(z)⁻¹ ρ, shape `(*, d)`."""

        def energy(y: Tensor) -> Tensor:
            return -0.5 * (rho * self.metric.sharp(y, rho)).sum(-1)

        return value_and_grad(energy, z)[1]

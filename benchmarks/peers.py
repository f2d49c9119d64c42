"""What pyrogeo is compared with: the same potential elsewhere, the authors' algorithm, another solver."""

from collections.abc import Callable

import torch
from torch import Tensor

import pyrogeo as pg

__all__ = ["AuthorsSampler", "autograd_potential", "numpyro_nuts", "stochman_geodesics"]


def autograd_potential(metric: pg.CentroidMetric):
    """−½ log det G as a Pyro user would write it: the metric's graph, no closed-form gradient."""

    def potential(params: dict[str, Tensor]) -> Tensor:
        return -metric.log_volume_element(params["z"])

    return potential


class AuthorsSampler:
    """The authors' released algorithm from its description: dense d × d matrices throughout.

    G(z) = Σᵢ Σᵢ⁻¹ ωᵢ(z) + λI by broadcasting K matrices for each point, its inverse at every leapfrog
    step, det clamped at 1e10; the gradient tr(G⁻¹ ∂G) lacks the ½ and adds λ for each centroid, and
    the momentum is half a standard normal. For timing: its draws follow no known law.
    """

    def __init__(self, metric: pg.CentroidMetric):
        self.centroids, self.rho = metric.centroids, metric.bandwidth
        self.lam = metric.regularization
        self.precisions = torch.diag_embed(1 / metric.variances)

    def metric(self, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """G, each centroid's share Σᵢ⁻¹ ωᵢ, and z − cᵢ."""
        apart = z[:, None] - self.centroids
        square = (apart[:, :, None] @ self.precisions @ apart[..., None]).squeeze(-1)
        parts = self.precisions * torch.exp(-square / self.rho**2)[..., None]
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        return parts.sum(1) + self.lam * identity, parts, apart

    def gradient(self, z: Tensor) -> Tensor:
        g, parts, apart = self.metric(z)
        inverse = torch.inverse(g)
        identity = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
        slope = (self.precisions @ apart[..., None]) * (-2 / self.rho**2)
        change = (inverse[:, None] @ (parts + self.lam * identity)).diagonal(dim1=-2, dim2=-1)
        return (change.sum(-1)[..., None] * slope.squeeze(-1)).sum(1)

    def log_density(self, z: Tensor) -> Tensor:
        return 0.5 * torch.det(self.metric(z)[0]).clamp(max=1e10).log()

    def sample(self, z: Tensor, iterations: int, num_steps: int, step_size: float) -> Tensor:
        for _ in range(iterations):
            start, p = z, 0.5 * torch.randn_like(z)
            before = self.log_density(z) - 0.5 * (p**2).sum(-1)
            gradient = self.gradient(z)
            for _ in range(num_steps):
                p = p + 0.5 * step_size * gradient
                z = z + step_size * p
                gradient = self.gradient(z)
                p = p + 0.5 * step_size * gradient
            after = self.log_density(z) - 0.5 * (p**2).sum(-1)
            accept = torch.rand_like(before) < (after - before).exp()
            z = torch.where(accept[:, None], z, start)
        return z


def numpyro_nuts(metric: pg.CentroidMetric, num_chains: int, num_warmup: int, num_samples: int):
    """NumPyro's NUTS on the same potential, vectorised and jitted.

    Returns:
        a function that draws from where warm-up ended: an array of shape `(chain, draw, d)`. It is
        compiled already, so its time is that of sampling alone.
    """
    import jax
    import jax.numpy as jnp
    from numpyro.infer import MCMC, NUTS

    jax.config.update("jax_enable_x64", True)
    c = jnp.asarray(metric.centroids.cpu().double().numpy())
    s = 1 / jnp.asarray(metric.variances.cpu().double().numpy())
    rho2, lam, tau = (float(x) for x in (metric.bandwidth**2, metric.regularization, metric.decay))
    centre = c.mean(0)
    x = c - centre
    constant = (s * x * x).sum(-1)

    def potential(z):
        y = z - centre
        square = jnp.maximum((y * y) @ s.T - 2 * y @ (s * x).T + constant, 0)
        log_vacuum = jnp.log(lam) - tau * (z * z).sum(-1)
        log_omega = -square / rho2
        shift = jax.lax.stop_gradient(jnp.maximum(log_omega.max(), log_vacuum))
        g = jnp.exp(log_omega - shift) @ s + jnp.exp(log_vacuum - shift)
        return -0.5 * (jnp.log(g).sum() + len(z) * shift)

    starts = jnp.asarray(pg.RiemannianUniform(metric).initial(metric.n_centroids).cpu().numpy())
    starts = starts[jnp.arange(num_chains) % len(starts)]
    mcmc = MCMC(
        NUTS(potential_fn=potential),
        num_warmup=num_warmup,
        num_samples=num_samples,
        num_chains=num_chains,
        chain_method="vectorized",
        progress_bar=False,
    )
    mcmc.warmup(jax.random.PRNGKey(0), init_params=starts)

    def draw():
        mcmc.run(mcmc.post_warmup_state.rng_key)
        return jax.device_get(mcmc.get_samples(group_by_chain=True))

    draw()
    return draw


def stochman_geodesics(
    metric: pg.Metric, start: Tensor, end: Tensor
) -> tuple[Callable[[], object], Callable[[], Tensor]]:
    """stochman's `connecting_geodesic` on the same metric, all pairs in one batch, its own settings.

    Its user defines a manifold by the metric's values; given as diagonals, they take its fast path.

    Args:
        metric: whose matrices are diagonal.
        start, end: points `(B, d)`.

    Returns:
        a function that solves, and one that then gives the curves as polylines `(B, 513, d)`.
    """
    from stochman.manifold import Manifold

    class Ours(Manifold):
        def metric(self, points: Tensor) -> Tensor:
            return metric(points).diagonal(dim1=-2, dim2=-1)

    found = []

    def solve() -> object:
        found[:] = Ours().connecting_geodesic(start, end)
        return found

    def curves() -> Tensor:
        t = torch.linspace(0, 1, 513, dtype=start.dtype)
        with torch.no_grad():
            return found[0](t).reshape(len(start), 513, -1)

    return solve, curves

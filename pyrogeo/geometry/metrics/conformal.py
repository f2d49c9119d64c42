"""Metrics that stretch another one, equally in all directions."""

from collections.abc import Callable

from torch import Tensor, nn

from pyrogeo._checks import positive
from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.constant import Euclidean

__all__ = ["Conformal", "volume_seeking"]


class Conformal(Metric):
    """G'(z) = e^{2 f(z)} G(z): angles stay, lengths are multiplied by e^f.

    Args:
        metric: any `Metric`, G.
        log_factor: f, from points `(*, d)` to `(*,)`, differentiable; a module's parameters and buffers
            go with the metric.

    >>> import torch
    >>> disk = Conformal(Euclidean(), lambda z: (2 / (1 - (z * z).sum(-1))).log())  # Poincaré's
    >>> disk.norm(torch.tensor([0.5, 0.0]), torch.tensor([0.0, 1.0]))
    tensor(2.6667)
    """

    def __init__(self, metric: Metric, log_factor: Callable[[Tensor], Tensor]):
        super().__init__()
        self.metric, self.log_factor = metric, log_factor

    def forward(self, z: Tensor) -> Tensor:
        return self._factor(z)[..., None, None] * self.metric(z)

    def log_volume_element(self, z: Tensor) -> Tensor:
        return self.metric.log_volume_element(z) + z.shape[-1] * self.log_factor(z)

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return self._factor(z) * self.metric.inner(z, u, v)

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        return self._factor(z)[..., None] * self.metric.flat(z, v)

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return self.metric.sharp(z, p) / self._factor(z)[..., None]

    def contains(self, z: Tensor) -> Tensor:
        return self.metric.contains(z)

    def _factor(self, z: Tensor) -> Tensor:
        f = self.log_factor(z)
        if f.shape != z.shape[:-1]:
            raise ValueError(
                f"log_factor: maps points {tuple(z.shape)} to {tuple(z.shape[:-1])}, got {tuple(f.shape)}"
            )
        return (2 * f).exp()


def volume_seeking(metric: Metric, level: float = 0.0, power: float = 1.0) -> Conformal:
    """(V e^level)^{2·power} I with V = 1/√det G: its geodesics keep to where the volume element is large.

    With power 1 a curve is as long as ∫ V(γ) ‖γ̇‖ dt. The paper minimises ∫ V(γ) dt, which is degenerate:
    a curve may wait where V is small and cross the rest in no time. Geodesics of G itself do the
    opposite: G is large where the data are, so they go around.

    Args:
        metric: any `Metric`, G.
        level: a constant that makes lengths readable, such as the median of ½ log det G over the data;
            it changes no geodesic.
        power: of V. In d dimensions V varies like a d-th power; with power 2/d the factor varies as it
            does in the plane, and solvers converge much better.

    Raises:
        ValueError: for a power that is not positive.

    >>> import torch
    >>> metric = volume_seeking(Euclidean())
    >>> metric.norm(torch.zeros(2), torch.tensor([3.0, 4.0]))
    tensor(5.)
    """
    return Conformal(Euclidean(), _LogPotential(metric, level, positive("power", power)))


class _LogPotential(nn.Module):
    """z ↦ power · (level − ½ log det G(z))."""

    def __init__(self, metric: Metric, level: float, power: float):
        super().__init__()
        self.metric, self.level, self.power = metric, level, power

    def forward(self, z: Tensor) -> Tensor:
        return self.power * (self.level - self.metric.log_volume_element(z))

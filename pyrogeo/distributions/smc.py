"""Exact draws from √det G by sequential Monte Carlo, and with them its volume: a path of `annealing`.

"Exact" means: with error that vanishes as the population grows.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from pyrogeo.annealing import Population, Proposal
from pyrogeo.errors import SamplingWarning
from pyrogeo.geometry import Metric

__all__ = ["VolumeElement", "warn_if_hard", "warn_if_in_doubt"]

_MANY_STAGES = 20
_POOR_ACCEPTANCE = 0.2
_POOR_ESS = 0.1
_WHY_HARD = "the proposal lies so far from the density"


class VolumeElement:
    """√det G as the target of a tempered path: zero outside the metric's domain.

    Args:
        metric: any `Metric`.

    >>> from pyrogeo.geometry import Euclidean
    >>> VolumeElement(Euclidean()).value(torch.zeros(3, 2))
    tensor([0., 0., 0.])
    """

    def __init__(self, metric: Metric):
        self.metric = metric

    def __repr__(self) -> str:
        return f"√det G of {self.metric}"

    def value(self, z: Tensor) -> Tensor:
        """½ log det G at points `(n, d)`, shape `(n,)`."""
        inside = self.metric.contains(z)
        if inside.all():
            return self.metric.log_volume_element(z)
        value = torch.full_like(z[:, 0], -torch.inf)
        return value.masked_scatter(inside, self.value(z[inside])) if inside.any() else value

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """½ log det G and its gradient, of shapes `(n,)` and `(n, d)`."""
        inside = self.metric.contains(z)
        if inside.all():
            return self.metric.log_volume_element_and_grad(z)
        value, gradient = torch.full_like(z[:, 0], -torch.inf), torch.zeros_like(z)
        if inside.any():
            some, slope = self.value_and_grad(z[inside])
            value = value.masked_scatter(inside, some)
            gradient = gradient.masked_scatter(inside[:, None], slope)
        return value, gradient


def warn_if_hard(
    runs: Iterable[Population], proposal: Proposal | None = None, stacklevel: int = 3
) -> None:
    """A `SamplingWarning` with the numbers, where a run's course makes its draws doubtful.

    That is: many stages, few acceptances, or a stage that few points survived, as where most of the
    proposal lies outside the metric's domain.

    Args:
        runs: of one density.
        proposal: that they started from; its `why_hard`, if it has one, begins the sentence.
        stacklevel: as of `warnings.warn`.
    """
    runs, why = list(runs), getattr(proposal, "why_hard", _WHY_HARD)
    stages = max(len(run.temperatures) for run in runs)
    acceptance = min(run.acceptance[-1] for run in runs)
    ess = min(min(run.ess) for run in runs)
    if stages > _MANY_STAGES or acceptance < _POOR_ACCEPTANCE or ess < _POOR_ESS:
        warnings.warn(
            f"{why} that a run took {stages} stages and accepted {acceptance:.0%} of its last moves, "
            f"with effective sample sizes down to {ess:.1%}; compare runs with sample_smc and diagnose",
            SamplingWarning,
            stacklevel=stacklevel,
        )


def warn_if_in_doubt(overlap: Any, stacklevel: int = 3) -> None:
    """A `SamplingWarning` with the numbers and a remedy, where exact draws may miss mass.

    Args:
        overlap: of the density.
        stacklevel: as of `warnings.warn`.
    """
    if overlap.in_doubt:
        warnings.warn(
            f"exact draws start from a law that may miss mass of the density: {overlap}. Draws may be "
            f"wrong, and log_volume short by some {overlap.error:.2g}, which its error includes. A smaller "
            "bandwidth ρ makes centroids cross less; or pass a law that covers the density as proposal=...",
            SamplingWarning,
            stacklevel=stacklevel,
        )

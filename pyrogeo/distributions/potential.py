"""The potential −½ log det G(z), as Pyro's kernels want it."""

from typing import Any

import torch
from torch import Tensor

from pyrogeo.distributions.proposal import Proposal, proposal_of
from pyrogeo.geometry import Metric
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["Potential"]


class Potential:
    """U(z) = −½ log det G(z): the `potential_fn` of `pyro.infer.HMC` and `NUTS`.

    Called with `{"z": z}`, z of shape `(d,)` or `(C, d)`, it returns a scalar or shape `(C,)`.
    Autograd through it takes the metric's closed-form gradient where there is one. It is computed in the
    metric's precision and returned in that of z. It can be pickled, so it can be sent to another process.

    Args:
        metric: any `Metric`.
        proposal: the user's own, for kernels that jump.

    >>> import torch
    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> metric = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)
    >>> Potential(metric)({"z": torch.tensor([1.0, 0.0])})
    tensor(1.)
    """

    def __init__(self, metric: Metric, proposal: Proposal | None = None):
        self.metric, self._own = metric, proposal

    @property
    def proposal(self) -> Proposal | None:
        """What kernels may jump with: the user's proposal, or else the metric's."""
        return proposal_of(self.metric) if self._own is None else self._own

    def __call__(self, params: dict[str, Tensor]) -> Tensor:
        z = params["z"]
        if torch.is_grad_enabled() and z.requires_grad:
            return _in_closed_form(self.metric, z)
        return -self.metric.log_volume_element(z)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """U and ∇U at points `(*, d)`, detached, of shapes `(*,)` and `(*, d)`."""
        value, gradient = self.metric.log_volume_element_and_grad(z)
        return -value, -gradient


@in_precision_of_the_metric
def _in_closed_form(metric: Metric, z: Tensor) -> Tensor:
    value: Tensor = _ClosedForm.apply(z, metric)[0]
    return value


class _ClosedForm(torch.autograd.Function):
    """The value with its closed-form gradient; a second derivative goes through the metric's graph."""

    @staticmethod
    def forward(z: Tensor, metric: Metric) -> tuple[Tensor, Tensor]:
        value, gradient = metric.log_volume_element_and_grad(z)
        return -value, -gradient

    @staticmethod
    def setup_context(
        ctx: Any, inputs: tuple[Tensor, Metric], output: tuple[Tensor, Tensor]
    ) -> None:
        z, ctx.metric = inputs
        ctx.save_for_backward(z, output[1])
        ctx.mark_non_differentiable(output[1])

    @staticmethod
    def backward(ctx: Any, upstream: Tensor, _: Tensor) -> tuple[Tensor, None]:
        z, gradient = ctx.saved_tensors
        if torch.is_grad_enabled():  # create_graph=True
            value = -ctx.metric.log_volume_element(z).sum()
            (gradient,) = torch.autograd.grad(value, z, create_graph=True)
        return upstream[..., None] * gradient, None

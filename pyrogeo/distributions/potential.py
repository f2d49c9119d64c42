"""The potential −½ log det G(z), as Pyro's kernels want it."""

import torch
from torch import Tensor

from pyrogeo.geometry import Metric

__all__ = ["Potential"]


class Potential:
    """U(z) = −½ log det G(z): the `potential_fn` of `pyro.infer.HMC` and `NUTS`.

    Called with `{"z": z}`, z of shape `(d,)` or `(C, d)`, it returns a scalar or shape `(C,)`.
    Autograd through it takes the metric's closed-form gradient where there is one. It can be
    pickled, so it can be sent to another process.

    >>> import torch
    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> metric = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)
    >>> Potential(metric)({"z": torch.tensor([1.0, 0.0])})
    tensor(1.)
    """

    def __init__(self, metric: Metric):
        self.metric = metric

    def __call__(self, params: dict[str, Tensor]) -> Tensor:
        z = params["z"]
        if torch.is_grad_enabled() and z.requires_grad:
            return _ClosedForm.apply(z, self.metric)
        return -self.metric.log_volume_element(z)

    def value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """U and ∇U at points `(*, d)`, detached, of shapes `(*,)` and `(*, d)`."""
        value, gradient = self.metric.log_volume_element_and_grad(z)
        return -value, -gradient


class _ClosedForm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z: Tensor, metric: Metric) -> Tensor:
        value, gradient = metric.log_volume_element_and_grad(z)
        ctx.save_for_backward(gradient)
        return -value

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None]:
        (gradient,) = ctx.saved_tensors
        return -upstream[..., None] * gradient, None

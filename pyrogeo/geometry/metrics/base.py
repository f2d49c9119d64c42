"""Metrics: a symmetric positive definite matrix G(z) at every latent point.

A Riemannian metric gives a length ‖v‖_z = √(vᵀ G(z) v) to a velocity v at z, and a volume
√det G(z) dz to a small cell around z.
"""

import copy
from abc import ABC, abstractmethod
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry.precision import in_precision_of_the_metric

__all__ = ["Metric"]

_OF_POINTS = (  # methods that take points of another precision
    "forward",
    "cholesky",
    "log_volume_element",
    "log_volume_element_and_grad",
    "inner",
    "norm",
    "flat",
    "sharp",
    "square_gradients",
    "square_derivatives",
    "contains",
    "distance_to_infinity",
)


class Metric(nn.Module, ABC):
    """A Riemannian metric on ℝᵈ: a subclass fills in `forward`, the rest follows.

    **Precision.** Points may be float32 or float64. They are computed with in the metric's `dtype`, and
    results, gradients included, come back in the points' own. As of any module, `metric.float()`,
    `metric.double()` and `metric.to(...)` convert the metric in place; `copy` gives one in another precision.

    >>> class Polar(Metric):
    ...     def forward(self, z):
    ...         return torch.diag_embed(torch.stack([torch.ones_like(z[..., 0]), z[..., 0] ** 2], -1))
    >>> Polar().log_volume_element(torch.tensor([[2.0, 0.0]])).exp()
    tensor([2.])
    """

    if TYPE_CHECKING:

        def __call__(self, z: Tensor) -> Tensor: ...

    def __init_subclass__(cls, **options: Any):
        """Opens the door to what the subclass writes itself, which need not think of precision."""
        super().__init_subclass__(**options)
        for name in _OF_POINTS:
            if name in vars(cls):
                setattr(cls, name, in_precision_of_the_metric(vars(cls)[name]))

    @property
    def dtype(self) -> torch.dtype | None:
        """What it computes in: the dtype of its tensors, or None without any: that of the points."""
        tensor = self.a_tensor()
        return None if tensor is None else tensor.dtype

    @property
    def device(self) -> torch.device | None:
        """Where its tensors are; None without any."""
        tensor = self.a_tensor()
        return None if tensor is None else tensor.device

    def a_tensor(self) -> Tensor | None:
        """One of the metric's floating-point tensors, which are of one dtype on one device, if it has any."""
        for module in self.modules():  # `parameters` and `buffers` take longer than many a metric
            for tensor in chain(module._parameters.values(), module._buffers.values()):
                if tensor is not None and tensor.is_floating_point():
                    return tensor
        return None

    def copy(self, dtype: torch.dtype | None = None) -> Self:
        """A metric of its own with the same numbers, in another precision if one is given.

        >>> from pyrogeo.geometry import Constant
        >>> metric = Constant(torch.eye(2).double())
        >>> metric.copy(dtype=torch.float32).dtype, metric.dtype
        (torch.float32, torch.float64)
        """
        made = copy.deepcopy(self)
        return made if dtype is None else made.to(dtype)

    @abstractmethod
    def forward(self, z: Tensor) -> Tensor:
        """G(z).

        Args:
            z: points of shape `(*, d)`.

        Returns:
            symmetric positive definite matrices of shape `(*, d, d)`, in the dtype of z.
        """

    @in_precision_of_the_metric
    def cholesky(self, z: Tensor) -> Tensor:
        """The lower triangular L with L Lᵀ = G(z), shape `(*, d, d)`.

        Raises:
            NotPositiveDefiniteError: with the first point at which there is none.
        """
        factor: Tensor
        factor, info = torch.linalg.cholesky_ex(self(z))
        if info.any():
            where = z.detach().expand(*info.shape, z.shape[-1])[info > 0][0].tolist()
            raise NotPositiveDefiniteError(f"the metric is not positive definite at z = {where}")
        return factor

    @in_precision_of_the_metric
    def log_volume_element(self, z: Tensor) -> Tensor:
        """½ log det G(z), of shape `(*,)`: the logarithm of the volume element √det G (slides, Eq. 2)."""
        return self.cholesky(z).diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @in_precision_of_the_metric
    def log_volume_element_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """½ log det G(z) and its gradient, of shapes `(*,)` and `(*, d)`, both detached."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            value = self.log_volume_element(z)
            gradient = torch.zeros_like(z)  # unless the metric depends on z
            if value.requires_grad:
                (gradient,) = torch.autograd.grad(
                    value.sum(), z, allow_unused=True, materialize_grads=True
                )
        return value.detach(), gradient

    @in_precision_of_the_metric
    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """⟨u, v⟩_z = uᵀ G(z) v for tangent vectors of shape `(*, d)`, shape `(*,)`."""
        return torch.einsum("...i,...ij,...j->...", u, self(z), v)

    @in_precision_of_the_metric
    def norm(self, z: Tensor, v: Tensor) -> Tensor:
        """‖v‖_z = √⟨v, v⟩_z, shape `(*,)`."""
        return self.inner(z, v, v).sqrt()

    @in_precision_of_the_metric
    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        """♭: the covector G(z) v of a tangent vector, both of shape `(*, d)`."""
        return torch.einsum("...ij,...j->...i", self(z), v)

    @in_precision_of_the_metric
    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        """♯: the tangent vector G(z)⁻¹ p of a covector, both of shape `(*, d)`.

        Raises:
            NotPositiveDefiniteError: with the first point at which G is not.
        """
        factor = self.cholesky(z)
        p = p.expand(torch.broadcast_shapes(p.shape, factor.shape[:-1]))
        return torch.cholesky_solve(p[..., None], factor)[..., 0]

    @in_precision_of_the_metric
    def square_gradients(self, z: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """q(z, v) = ⟨v, v⟩_z and its first derivatives, by autograd unless a subclass has better.

        Args:
            z, v: points and tangent vectors of shape `(*, d)`.

        Returns:
            q, shape `(*,)`; ∂q/∂z and ∂q/∂v, shape `(*, d)`; and weights w > 0 of shape `(*, 1)` or `(*, d)`
            with G(z) ≈ diag w, by which solvers scale their steps.
        """
        with torch.enable_grad():
            z, v = z.detach().requires_grad_(), v.detach().requires_grad_()
            q = self.inner(z, v, v)
            g_z, g_v = _grad(q.sum(), (z, v))
        q, v = q.detach(), v.detach()
        size = v.square().sum(-1).clamp(min=torch.finfo(v.dtype).tiny)
        return q, g_z, g_v, (q / size)[..., None]

    @in_precision_of_the_metric
    def square_derivatives(
        self, z: Tensor, v: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """First and second derivatives of q(z, v) = ⟨v, v⟩_z, by autograd unless a subclass has better.

        Args:
            z, v: points and tangent vectors of shape `(*, d)`.

        Returns:
            ∂q/∂z and ∂q/∂v, shape `(*, d)`; ∂²q/∂z², ∂²q/∂z∂v and ∂²q/∂v² = 2 G, shape `(*, d, d)`.
        """
        with torch.enable_grad():
            z, v = z.detach().requires_grad_(), v.detach().requires_grad_()
            g_z, g_v = _grad(self.inner(z, v, v).sum(), (z, v), create_graph=True)
            rows = [_grad(g_z[..., k].sum(), (z, v), retain_graph=True) for k in range(z.shape[-1])]
        h_zz, h_zv = (torch.stack(row, -2) for row in zip(*rows, strict=True))
        with torch.no_grad():
            h_vv = 2 * self(z)
        return g_z.detach(), g_v.detach(), 0.5 * (h_zz + h_zz.mT), h_zv, h_vv

    @in_precision_of_the_metric
    def contains(self, z: Tensor) -> Tensor:
        """Whether points `(*, d)` belong to the domain of the metric, shape `(*,)`.

        They do everywhere, unless a subclass says otherwise. Curves do not leave the domain.
        """
        return torch.isfinite(z).all(-1)

    @in_precision_of_the_metric
    def distance_to_infinity(self, z: Tensor) -> Tensor:
        """An upper bound of the distance from points `(*, d)` to infinity, shape `(*,)`.

        Infinite for a complete manifold, which a metric is taken for unless a subclass knows better.
        """
        return torch.full_like(z[..., 0], torch.inf)

    @property
    def inverse(self) -> "Metric":
        """G⁻¹ as a metric: a view of this one, which changes with it."""
        return _Inverse(self)


class _Inverse(Metric):
    def __init__(self, metric: Metric):
        super().__init__()
        self.metric = metric

    def forward(self, z: Tensor) -> Tensor:
        factor = self.metric.cholesky(z)
        identity = torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
        # Not cholesky_inverse, whose forward-mode derivative is wrong in torch 2.13.
        inverse = torch.cholesky_solve(identity.expand_as(factor), factor)
        return 0.5 * (inverse + inverse.mT)

    def log_volume_element(self, z: Tensor) -> Tensor:
        return -self.metric.log_volume_element(z)

    def inner(self, z: Tensor, u: Tensor, v: Tensor) -> Tensor:
        return (u * self.metric.sharp(z, v)).sum(-1)

    def flat(self, z: Tensor, v: Tensor) -> Tensor:
        return self.metric.sharp(z, v)

    def sharp(self, z: Tensor, p: Tensor) -> Tensor:
        return self.metric.flat(z, p)

    def contains(self, z: Tensor) -> Tensor:
        return self.metric.contains(z)

    @property
    def inverse(self) -> Metric:
        return self.metric


def _grad(value: Tensor, inputs: tuple[Tensor, ...], **options: Any) -> tuple[Tensor, ...]:
    """Zeros where nothing depends on the input, as in a constant metric."""
    if not value.requires_grad:
        return tuple(torch.zeros_like(x) for x in inputs)
    gradients = torch.autograd.grad(value, inputs, allow_unused=True, **options)
    return tuple(
        torch.zeros_like(x) if g is None else g for x, g in zip(inputs, gradients, strict=True)
    )

"""Pyro's transforms as the parts of a flow: registered once, and with a memory of their own.

A Pyro transform remembers the last pair (x, y) that it mapped, and with it a graph. Shared between
distributions, that memory answers for parameters that have changed since, and cannot be copied. So the
transforms that a distribution gets are shallow copies: the same parameters, a fresh memory.
"""

import copy
from collections.abc import Sequence
from inspect import ismethod
from types import MethodType
from typing import Any

import torch
from pyro.distributions import TransformedDistribution
from pyro.distributions.conditional import ConditionalTransform
from torch import Tensor, nn
from torch.distributions import ComposeTransform, ExpTransform, Transform

from pyrogeo._numbers import zero_far_out

__all__ = ["Transformed", "Transforms"]

# The class of what `transform.inv` gives, which torch does not name in public.
_Inverse = type(ExpTransform().inv)


class Transformed(TransformedDistribution):
    """Pyro's, whose density is zero far out, where transforms overflow."""

    def log_prob(self, value: Tensor) -> Tensor:
        return zero_far_out(super().log_prob, value)


class Transforms(nn.Module):
    """A sequence of Pyro transforms, of which `transform.inv` and conditional ones may be part."""

    def __init__(
        self,
        transforms: Transform | ConditionalTransform | Sequence[Transform | ConditionalTransform],
    ):
        super().__init__()
        several: Sequence[Any] = (
            [transforms]
            if isinstance(transforms, (Transform, ConditionalTransform, nn.Module))
            else transforms
        )
        self.parts = [part for transform in several for part in _parts(transform)]
        self.learned = nn.ModuleList(t for t, _ in self.parts if isinstance(t, nn.Module))
        if not self.parts:
            raise ValueError("transforms: expected at least one")

    @property
    def conditional(self) -> bool:
        """Whether any of them needs a context."""
        return any(isinstance(transform, ConditionalTransform) for transform, _ in self.parts)

    def forward(self, context: Tensor | None = None) -> list[Transform]:
        """Transforms for one distribution, conditional ones for a context of shape `(*, c)`."""
        made = []
        for transform, inverted in self.parts:
            if isinstance(transform, ConditionalTransform):
                transform = transform.condition(context)
            else:
                transform = _with_fresh_memory(transform)
            made.append(transform.inv if inverted else transform)
        return made

    def check_invertible(self, d: int) -> None:
        """A ValueError for those that cannot map a point of ℝᵈ there and back."""
        like = next(self.parameters(), torch.empty(0))
        for (original, _), transform in zip(self.parts, self(), strict=True):
            name = type(original).__name__
            transform.training = False  # a batch norm learns nothing from this
            try:
                with torch.no_grad():
                    # A clone, as the transform remembers where its own points came from.
                    transform.inv(transform(like.new_zeros(1, d)).clone())
            except (KeyError, NotImplementedError) as error:
                raise ValueError(
                    f"transforms: {name} has no inverse, so that no density is known at given "
                    "points; expected transforms that can be inverted, such as "
                    "affine_autoregressive or spline_coupling"
                ) from error
            except RuntimeError as error:
                raise ValueError(
                    f"transforms: {name} does not take points of dimension {d}: {error}"
                ) from error


def _parts(
    transform: Transform | ConditionalTransform,
) -> list[tuple[Transform | ConditionalTransform, bool]]:
    """The transform and whether it is inverted; those of a composition one by one."""
    if isinstance(transform, ComposeTransform):
        return [part for piece in transform.parts for part in _parts(piece)]
    if isinstance(transform, _Inverse):
        return [(part, not inverted) for part, inverted in reversed(_parts(transform.inv))]
    if not isinstance(transform, (Transform, ConditionalTransform)):
        raise ValueError(f"transforms: expected transforms of Pyro, got {type(transform)}")
    return [(transform, False)]


def _with_fresh_memory(transform: Transform) -> Transform:
    new = copy.copy(transform)
    new._cached_x_y, new._inv = (None, None), None  # an inverse refers to the original
    for name, value in list(vars(new).items()):
        if ismethod(value) and value.__self__ is transform:  # chosen by an option at construction
            new.__dict__[name] = MethodType(value.__func__, new)
    return new

"""What a solver of geodesics is given, and what it hands back: one object a method, with the method's options."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo._checks import positive, whole
from pyrogeo.geometry.curves.curve import Curve
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["Minimum", "Solution", "Solver", "escaped"]

_ESCAPED = 30  # times as far out as the ends


class Solution(NamedTuple):
    """Of B curves.

    Attributes:
        nodes: shape `(B, n + 1, d)`.
        length: shape `(B,)`, as all that follow.
        residual: how far from a minimum, relative to the length; what the solver's tolerance is for.
        discretization: as of `Geodesic`.
        iterations: steps tried.
    """

    nodes: Tensor
    length: Tensor
    residual: Tensor
    discretization: Tensor
    iterations: Tensor

    def with_rows(self, rows: Tensor, solved: "Solution") -> "Solution":
        """The same, but for the rows of a mask `(B,)`, which a solution of as many curves holds."""
        pairs = zip(self, solved, strict=True)
        return Solution(*(old.masked_scatter(_as_wide(rows, old), new) for old, new in pairs))


class Minimum(NamedTuple):
    """Of the energies of B curves: nodes, residual and iterations, as of `Solution`."""

    nodes: Tensor
    residual: Tensor
    iterations: Tensor


@dataclass(frozen=True)
class Solver(ABC):
    """How `geodesic` seeks shortest curves: `Newton(...)`, `Spline(...)`, or a subclass with a `solve`.

    Args:
        num_segments: n, a multiple of 4.
        tolerance: for the residual; not below four times the root of the dtype's epsilon.
        max_iterations: after which a curve counts as not converged.

    Raises:
        ValueError: for options out of range.

    >>> from pyrogeo.geometry import Euclidean, distance
    >>> class Straight(Solver):
    ...     def solve(self, metric, curves):
    ...         nodes = curves(torch.linspace(0, 1, self.num_segments + 1))
    ...         none = torch.zeros(len(nodes))
    ...         return Solution(nodes, Curve(nodes).length(metric), none, none, none.long())
    >>> line = Straight(num_segments=4, tolerance=1e-6, max_iterations=1)
    >>> distance(Euclidean(), torch.zeros(2), torch.tensor([3.0, 4.0]), solver=line)
    tensor(5.)
    """

    num_segments: int
    tolerance: float
    max_iterations: int

    def __post_init__(self) -> None:
        # As Python's own numbers, which a frozen dataclass has to be talked into.
        for name, value in {
            "num_segments": whole("num_segments", self.num_segments, 4),
            "tolerance": positive("tolerance", self.tolerance),
            "max_iterations": whole("max_iterations", self.max_iterations),
        }.items():
            object.__setattr__(self, name, value)
        if self.num_segments % 4:
            raise ValueError(f"num_segments: expected a multiple of 4, got {self.num_segments}")

    @abstractmethod
    def solve(self, metric: Metric, curves: Curve) -> Solution:
        """Shortens curves `(B,)`, none of which becomes longer than it was."""

    def tolerance_in(self, dtype: torch.dtype) -> float:
        """The tolerance, or where rounding hides a smaller one what can be asked for in a dtype."""
        least: float = max(self.tolerance, 4 * torch.finfo(dtype).eps ** 0.5)
        return least


def escaped(nodes: Tensor) -> Tensor:
    """Curves on their way to infinity, whose long segments step over all that lies on them."""
    ends = nodes[:, [0, -1]]
    size = ends.norm(dim=-1).amax(-1) + ends.diff(dim=1).norm(dim=-1)[:, 0]
    far: Tensor = nodes.norm(dim=-1).amax(-1) > _ESCAPED * size
    return far


def _as_wide(rows: Tensor, x: Tensor) -> Tensor:
    return rows.reshape(-1, *[1] * (x.dim() - 1)).expand_as(x)

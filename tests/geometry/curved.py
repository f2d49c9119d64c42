"""Manifolds whose distances and exponential maps have closed forms; `MANIFOLDS`, by name.

The disk has curvature −1, the sphere +1. Both are written in complex numbers, where isometries are
Möbius transformations. Polar coordinates and the cylinder are flat, though their matrices are not
constant.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry import Conformal, Constant, Euclidean, Metric, Pullback
from tests.geometry.metrics import Disk, HalfPlane, uniform

FIXED = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, -0.3], [0.0, -0.3, 0.6]], dtype=torch.float64)


class Manifold(NamedTuple):
    metric: Metric
    points: Tensor
    distance: Callable[[Tensor, Tensor], Tensor]
    exp: Callable[[Tensor, Tensor], Tensor]


def half_plane_distance(a, b):
    return 2 * ((a - b).norm(dim=-1) / (2 * (a[..., 1] * b[..., 1]).sqrt())).asinh()


def half_plane_exp(z, v):
    """Up the imaginary axis from i, and turned about i, which halves the angle."""
    x, y = z.unbind(-1)
    length = v.norm(dim=-1) / y
    turn = 0.5 * (torch.atan2(v[..., 1], v[..., 0]) - torch.pi / 2)
    w = torch.complex(torch.zeros_like(length), length.exp())
    w = (turn.cos() * w + turn.sin()) / (turn.cos() - turn.sin() * w)
    return torch.view_as_real(w * y + x)


def difference(a, b, curvature):
    """|b ⊖ a|, b seen from a at the origin."""
    a, b = torch.view_as_complex(a.contiguous()), torch.view_as_complex(b.contiguous())
    return ((b - a) / (1 + curvature * a.conj() * b)).abs()


def translated(z, v, curvature, radius):
    """z ⊕ w, where w is at the `radius` that a length has at the origin, in the direction of v."""
    half_length = v.norm(dim=-1) / (1 + curvature * (z * z).sum(-1))
    w = torch.view_as_complex(
        radius(half_length)[..., None] * torch.nn.functional.normalize(v, dim=-1)
    )
    z = torch.view_as_complex(z.contiguous())
    return torch.view_as_real((z + w) / (1 - curvature * z.conj() * w))


def log_of_sphere(z):
    return (2 / (1 + (z * z).sum(-1))).log()


class Polar(Metric):
    """The plane without its origin, z = (r, φ), G = diag(1, r²)."""

    def forward(self, z):
        return torch.diag_embed(torch.stack([torch.ones_like(z[..., 0]), z[..., 0] ** 2], -1))

    def contains(self, z):
        return super().contains(z) & (z[..., 0] > 0)


def cartesian(z):
    r, phi = z.unbind(-1)
    return torch.stack([r * phi.cos(), r * phi.sin()], -1)


def polar_exp(z, v):
    r, phi = z.unbind(-1)
    dr, dphi = v.unbind(-1)
    x = cartesian(z)
    x = x + torch.stack(
        [dr * phi.cos() - r * phi.sin() * dphi, dr * phi.sin() + r * phi.cos() * dphi], -1
    )
    return torch.stack([x.norm(dim=-1), torch.atan2(x[..., 1], x[..., 0])], -1)


def unrolled(z):
    """The angle and the height on a cylinder of radius one, whose coordinates are bent."""
    x, y = z.unbind(-1)
    return torch.stack([x + 0.4 * y**2, y], -1)


def rolled(u):
    return torch.stack([u[..., 0] - 0.4 * u[..., 1] ** 2, u[..., 1]], -1)


def on_the_cylinder(z):
    angle, height = unrolled(z).unbind(-1)
    return torch.stack([angle.cos(), angle.sin(), height], -1)


def cylinder_exp(z, v):
    along = torch.stack([v[..., 0] + 0.8 * z[..., 1] * v[..., 1], v[..., 1]], -1)
    return rolled(unrolled(z) + along)


MANIFOLDS = {
    "half-plane": lambda: Manifold(
        HalfPlane(), uniform(0.1, 2.1), half_plane_distance, half_plane_exp
    ),
    "disk": lambda: Manifold(
        Disk(),
        uniform(-0.65, 0.65),
        lambda a, b: 2 * difference(a, b, -1).atanh(),
        lambda z, v: translated(z, v, -1, torch.tanh),
    ),
    "sphere": lambda: Manifold(
        Conformal(Euclidean(), log_of_sphere),
        uniform(-0.7, 0.7),
        lambda a, b: 2 * difference(a, b, 1).atan(),
        lambda z, v: translated(z, v, 1, torch.tan),
    ),
    "polar": lambda: Manifold(
        Polar(),
        torch.stack([uniform(0.5, 2.0, 1)[:, 0], uniform(-1.2, 1.2, 3)[:, 2]], -1),
        lambda a, b: (cartesian(a) - cartesian(b)).norm(dim=-1),
        polar_exp,
    ),
    "cylinder": lambda: Manifold(
        Pullback(on_the_cylinder),
        uniform(-1.0, 1.0),
        lambda a, b: (unrolled(a) - unrolled(b)).norm(dim=-1),
        cylinder_exp,
    ),
    "Euclidean": lambda: Manifold(
        Euclidean(), uniform(-1.0, 1.0, 4), lambda a, b: (a - b).norm(dim=-1), torch.add
    ),
    "constant": lambda: Manifold(
        Constant(FIXED),
        uniform(-1.0, 1.0, 3),
        lambda a, b: torch.einsum("...i,ij,...j->...", a - b, FIXED, a - b).sqrt(),
        torch.add,
    ),
}

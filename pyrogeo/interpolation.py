"""A VAE and a metric together: from one datum to another through the latent space."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pyrogeo._checks import as_tensor, whole
from pyrogeo.geometry import Curve, Geodesic, Metric, Newton, geodesic
from pyrogeo.vae import VAE
from pyrogeo.vae.likelihoods import picture

__all__ = ["Interpolation", "interpolate"]


@dataclass(frozen=True)
class Interpolation:
    """What `interpolate` found between B pairs of data.

    Attributes:
        latent: points along each curve, shape `(B, num, d)`.
        frames: their decoded means, shape `(B, num, *event)`.
        curve: the curves.
        geodesic: with lengths and convergence; None for affine ones.
    """

    latent: Tensor
    frames: Tensor
    curve: Curve
    geodesic: Geodesic | None


def interpolate(
    vae: VAE,
    x0: Tensor,
    x1: Tensor,
    metric: Metric | str = "affine",
    num: int = 10,
    **options: Any,
) -> Interpolation:
    """Decoded frames between data, along curves between their posterior means.

    `"affine"` is the straight line. With `volume_seeking(metric)` curves keep to where the volume element
    is large, which is where data are: those are the curves that the paper draws. Geodesics of the metric
    itself avoid the data, because G, and with it all lengths, is large there.

    Args:
        vae: trained.
        x0, x1: data of shape `(B, *event)`, or `(1, *event)` to start or end all curves in one.
        metric: on the latent space of the VAE, or `"affine"`.
        num: frames of each pair, both ends included, at equal distances in latent space.
        options: of `geodesic`. The solver is by default `Newton(spacing="euclidean")`.

    Returns:
        latent points, frames, and curves.

    Raises:
        ValueError: for data that do not fit the VAE or each other, fewer than two frames, or something
            that is no metric, and as `geodesic` does.

    Warns:
        GeodesicWarning: as `geodesic` does.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> vae = standard_vae((1, 8, 8), 2, hidden=(16,))
    >>> found = interpolate(vae, torch.zeros(3, 1, 8, 8), torch.ones(1, 1, 8, 8), num=5)
    >>> found.latent.shape, found.frames.shape
    (torch.Size([3, 5, 2]), torch.Size([3, 5, 1, 8, 8]))
    """
    if not isinstance(metric, Metric) and metric != "affine":
        raise ValueError(f"metric: expected a Metric or 'affine', got {metric!r}")
    num = whole("num", num)
    if num < 2:
        raise ValueError(f"num: expected at least two frames, got {num}")
    start, end = _means(vae, "x0", x0), _means(vae, "x1", x1)
    if len(start) != len(end) and 1 not in (len(start), len(end)):
        raise ValueError(
            f"x0 and x1 hold {len(start)} and {len(end)} data; expected as many, or one"
        )
    start, end = torch.broadcast_tensors(start, end)
    shortest = None
    if isinstance(metric, Metric):
        options = {"solver": Newton(spacing="euclidean"), **options}
        shortest = geodesic(metric, start, end, **options)
    curve = Curve.line(start, end) if shortest is None else shortest.curve
    latent = curve(torch.linspace(0, 1, num, dtype=torch.float64, device=start.device))
    frames = picture(vae.decode(latent.to(start).flatten(0, 1)))
    return Interpolation(latent, frames.unflatten(0, latent.shape[:2]), curve, shortest)


def _means(vae: VAE, name: str, x: Tensor) -> Tensor:
    """Posterior means, shape `(B, d)`."""
    x = as_tensor(name, x)
    if x.dim() < 2 or len(x) == 0:
        raise ValueError(f"{name}: expected data of shape (B, *event), got {tuple(x.shape)}")
    return vae.embed(x).mean

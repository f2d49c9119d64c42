"""What pictures of the latent space share: points, the plane they are drawn in, colours, the legend."""

from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from pyrogeo._words import printable
from pyrogeo.geometry import Metric

__all__ = ["PALETTE", "as_metric", "as_points", "frame", "legend_below", "plain", "plane"]

# Okabe and Ito's colours, told apart with any kind of colour vision.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


def as_points(z: Any) -> np.ndarray:
    points: np.ndarray = z.detach().cpu().numpy() if torch.is_tensor(z) else np.asarray(z)
    if points.ndim != 2 or len(points) == 0:
        raise ValueError(f"expected latent points of shape (n, d), got {points.shape}")
    return points


def plain(words: Any) -> str:
    """A name as a picture shows it, letter by letter: matplotlib takes what stands between dollars for TeX."""
    return printable(words, 60).replace("$", r"\$")


def plane(points: np.ndarray) -> tuple[Any, tuple[str, str]]:
    """A projection to two coordinates, and what they are."""
    d = points.shape[1]
    if d == 2:
        return (lambda z: z), ("z[0]", "z[1]")
    if d == 1:
        return (lambda z: np.column_stack([z, np.zeros(len(z))])), ("z[0]", "")
    centre = points.mean(0)
    _, singular, axes = np.linalg.svd(points - centre, full_matrices=len(points) < 2)
    singular = np.append(singular, np.zeros(2))
    share = singular**2 / max((singular**2).sum(), np.finfo(float).tiny)
    names = [f"principal coordinate {i + 1} of {d} dimensions ({share[i]:.0%})" for i in range(2)]
    return (lambda z: (z - centre) @ axes[:2].T), (names[0], names[1])


def frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square around what was learned; draws from the vacuum may lie far outside."""
    low, high = points.min(0), points.max(0)
    half = 0.58 * max((high - low).max(), 1e-6)
    middle = 0.5 * (low + high)
    return middle - half, middle + half


def as_metric(metric: Metric, z: np.ndarray) -> Tensor:
    """Points in the dtype and on the device of the metric, if it has any."""
    return torch.from_numpy(z).to(dtype=metric.dtype, device=metric.device)


def legend_below(ax: Axes) -> None:
    """A legend under the axes, if there is something to say, in as many columns as fit there.

    One that is wider than its axes would leave them no room in a constrained layout.
    """
    labels = ax.get_legend_handles_labels()[1]
    if not labels:
        return
    place: dict[str, Any] = {
        "loc": "upper center",
        "bbox_to_anchor": (0.5, -0.1),
        "fontsize": 8,
        "frameon": False,
    }
    room = ax.get_position(original=True).width * ax.figure.bbox.width
    for columns in range(min(3, len(labels)), 0, -1):
        if ax.legend(**place, ncols=columns).get_window_extent().width <= room:
            return

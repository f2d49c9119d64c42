"""Curves in the latent space and what they decode to, distances, and what one unit of length is."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.collections import EllipseCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.patheffects import Normal, Stroke
from torch import Tensor

from pyrogeo._checks import positive, whole
from pyrogeo.geometry import Curve, DistanceMap, Geodesic, Metric
from pyrogeo.plots._plane import PALETTE, as_metric, as_points, frame, legend_below, plain, plane
from pyrogeo.plots.images import images

__all__ = ["distance_map", "indicatrices", "paths", "strips"]

_TIMES = 300
_WHITE_EDGE = (Stroke(linewidth=3.6, foreground="white", alpha=0.8), Normal())
_COLOURS = [PALETTE[i] for i in (1, 0, 2, 3, 4, 5)]
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def paths(
    curves: Mapping[str, Curve | Geodesic],
    ax: Axes | None = None,
    embeddings: Tensor | None = None,
) -> Axes:
    """Curves by kind, such as `{"affine": ..., "volume-seeking": ...}`: affine dashed, others solid.

    Of several pairs of points, each has a letter, which stands at the start of its curves.

    Args:
        curves: each kind's curves, of batch shape `()` or `(P,)`.
        ax: to draw into, such as one that `latent_space` made.
        embeddings: beyond two dimensions, the points whose first two principal coordinates span the
            picture: those that `latent_space` was given. Without `ax`, by default the curves' own.

    Raises:
        ValueError: for no curves, batches or dimensions that differ, and beyond two dimensions for
            an `ax` without embeddings.

    >>> line = Curve.line(torch.zeros(2), torch.ones(2))
    >>> [text.get_text() for text in paths({"affine": line}).get_legend().get_texts()]
    ['affine', 'start', 'end']
    """
    points = _sampled(curves)
    d = next(iter(points.values())).shape[-1]
    if embeddings is None and ax is not None and d > 2:
        raise ValueError(
            f"in {d} dimensions, pass the embeddings that span the picture's plane, as to latent_space"
        )
    everything = np.concatenate([z.reshape(-1, d) for z in points.values()])
    reference = everything if embeddings is None else as_points(embeddings)
    if reference.shape[1] != d:
        raise ValueError(f"the embeddings have dimension {reference.shape[1]}, the curves {d}")
    project, axis_labels = plane(reference)
    if ax is None:
        ax = plt.subplots(figsize=(6, 5), layout="constrained")[1]
        low, high = frame(project(everything))
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        ax.set(xlabel=axis_labels[0], ylabel=axis_labels[1])
    styles = _styles(points)
    for name, z in points.items():
        for i, one in enumerate(z):
            label = plain(name) if i == 0 else None
            (line,) = ax.plot(*project(one).T, lw=2, zorder=4, label=label, **styles[name])
            line.set_path_effects([*_WHITE_EDGE])
    _ends([project(one) for one in next(iter(points.values()))], ax)
    legend_below(ax)
    return ax


def strips(
    frames: Mapping[str, Tensor],
    ax: Axes | None = None,
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Axes:
    """Decoded curves by kind, row by row, with the words, letters and colours of `paths`.

    Args:
        frames: images of shape `(T, C, H, W)`, or `(P, T, C, H, W)` for several pairs of points, which
            stand together.
        ax: to draw into.
        value_range: of black and white.

    Raises:
        ValueError: for no frames, shapes that differ, or that are no images.

    >>> frames = {"affine": torch.rand(5, 1, 8, 8), "volume-seeking": torch.rand(5, 1, 8, 8)}
    >>> [label.get_text() for label in strips(frames).get_yticklabels()]
    ['affine', 'volume-seeking']
    """
    if not frames:
        raise ValueError("nothing to show: pass images by name")
    stacks = {k: torch.as_tensor(v).detach().cpu() for k, v in frames.items()}
    stacks = {k: v[None] if v.dim() == 4 else v for k, v in stacks.items()}
    shapes = {k: tuple(v.shape) for k, v in stacks.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 5 for shape in shapes.values()):
        raise ValueError(f"expected images (P, T, C, H, W) in equal shapes, got {shapes}")
    every = torch.stack(list(stacks.values()), 1)
    pairs, kinds, times = every.shape[:3]
    letters = _letters(pairs)
    labels = [f"{letter}  {name}".strip() for letter in letters for name in stacks]
    ax = images(every.flatten(0, 2), ax, times, labels, value_range)
    height = every.shape[-2] + 2
    for i in range(1, pairs):
        ax.axhline(i * kinds * height - 0.5, color="white", lw=4)
    styles = _styles(stacks)
    for text, name in zip(ax.get_yticklabels(), list(stacks) * pairs, strict=True):
        text.set_color(styles[name]["color"])
    return ax


def distance_map(
    found: DistanceMap,
    ax: Axes | None = None,
    limit: float | None = None,
    contours: int = 10,
) -> Axes:
    """Distances from a point, with contours at equal steps, and grey where no path leads.

    Args:
        found: what `geometry.distance_map` returned.
        ax: to draw into.
        limit: the largest distance that still gets a colour of its own, by default the largest there is.
            What lies beyond has that of the limit, and the colour bar ends in an arrow.
        contours: their number up to the limit.

    Raises:
        ValueError: for a limit that is not positive, or no contours.

    >>> from pyrogeo import geometry
    >>> axis = torch.linspace(0, 1, 5)
    >>> found = geometry.distance_map(geometry.Euclidean(), torch.zeros(2), (axis, axis))
    >>> distance_map(found, limit=1.0).figure.axes[1].get_ylabel()
    'distance, contours every 0.1'
    """
    distances = found.distances.detach().cpu().double().numpy()
    reached = np.isfinite(distances)
    largest = distances[reached].max()
    limit = largest if limit is None else limit
    if not limit > 0:
        raise ValueError(f"expected limit > 0, got {limit}")
    contours = whole("contours", contours)
    ax = ax or plt.subplots(figsize=(6, 5), layout="constrained")[1]
    x, y = (axis.cpu().double().numpy() for axis in (found.x, found.y))
    shown = np.ma.masked_where(~reached, distances)
    ax.set_facecolor("lightgrey")
    # Light near the point, and nowhere so dark that contours would not be seen.
    colours = LinearSegmentedColormap.from_list(
        "distance", plt.get_cmap("YlGnBu")(np.linspace(0, 0.85, 256))
    )
    mesh = ax.pcolormesh(
        x, y, shown, cmap=colours, vmin=0, vmax=limit, shading="nearest", rasterized=True
    )
    levels = np.linspace(0, limit, contours + 1)[1:]
    levels = levels[levels < largest]
    if len(levels):
        ax.contour(x, y, shown, levels=levels, colors="black", linewidths=0.6, alpha=0.7)
    beyond = bool(largest > limit * (1 + 1e-9))
    label = f"distance, contours every {limit / contours:.2g}"
    extend = "max" if beyond else "neither"
    ax.figure.colorbar(mesh, ax=ax, shrink=0.9, pad=0.02, extend=extend, label=label)
    star: dict[str, Any] = {"marker": "*", "s": 160, "color": "black", "edgecolors": "white"}
    place = found.point.cpu().tolist()
    ax.scatter(*place, **star, zorder=7, clip_on=False, label="point")
    ax.set(xlabel="z[0]", ylabel="z[1]", xlim=(x[0], x[-1]), ylim=(y[0], y[-1]), aspect="equal")
    return ax


def indicatrices(
    metric: Metric,
    points: Tensor,
    ax: Axes | None = None,
    scale: float | None = None,
) -> Axes:
    """At each point, the velocities of length one: the ellipse {v: vᵀ G(z) v = 1}, in two dimensions.

    Where an ellipse is small, a short way is long.

    Args:
        metric: any `Metric`, G.
        points: shape `(n, 2)`.
        ax: to draw into, such as one that `latent_space` made.
        scale: by which ellipses are drawn larger than they are; the legend says so. By default one that
            lets half of them touch no neighbour's.

    Raises:
        ValueError: for points or a metric of another dimension, or a scale that is not positive, and
            where G is not positive definite.

    >>> from pyrogeo.geometry import Euclidean
    >>> ax = indicatrices(Euclidean(), torch.cartesian_prod(torch.arange(3.0), torch.arange(3.0)))
    >>> ax.get_legend().get_texts()[0].get_text()
    '{v: vᵀ G(z) v = 1}, drawn 0.5 times as large'
    """
    z = as_points(points)
    radii, angles = _ellipses(metric, z)
    scale = _legible(z, radii[:, 0]) if scale is None else positive("scale", scale)
    fresh = ax is None
    ax = ax or plt.subplots(figsize=(6, 5), layout="constrained")[1]
    ellipses = EllipseCollection(
        2 * scale * radii[:, 0],
        2 * scale * radii[:, 1],
        angles,
        units="xy",
        offsets=z,
        offset_transform=ax.transData,
        facecolors="none",
        edgecolors=PALETTE[1],
        linewidths=1.0,
        zorder=4,
    )
    ax.add_collection(ellipses)
    # A legend knows no ellipses.
    label = f"{{v: vᵀ G(z) v = 1}}, drawn {scale:.2g} times as large"
    ax.plot([], [], "o", mfc="none", mec=PALETTE[1], ms=9, label=label)
    if fresh:
        low, high = frame(z)
        ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")
        ax.set(xlabel="z[0]", ylabel="z[1]")
    legend_below(ax)
    return ax


def _ellipses(metric: Metric, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of {v: vᵀ G(z) v = 1} both radii, the longer first, `(n, 2)`, and its angle in degrees, `(n,)`."""
    d = getattr(metric, "dimension", 2)
    if z.shape[1] != 2 or d != 2:
        raise ValueError(
            f"indicatrices are drawn in two dimensions, got points of shape {z.shape} and d = {d}"
        )
    with torch.no_grad():
        eigenvalues, axes = torch.linalg.eigh(metric(as_metric(metric, z)).cpu().double())
    if not (eigenvalues > 0).all():
        bad = z[(~(eigenvalues > 0).all(-1)).numpy()][0].tolist()
        raise ValueError(f"the metric is not positive definite at z = {bad}")
    axes = axes.numpy()
    return eigenvalues.rsqrt().numpy(), np.degrees(np.arctan2(axes[:, 1, 0], axes[:, 0, 0]))


def _sampled(curves: Mapping[str, Curve | Geodesic]) -> dict[str, np.ndarray]:
    """Points of each kind's curves, shape `(P, T, d)`."""
    if not curves:
        raise ValueError("nothing to show: pass curves by name")
    samples = {}
    for name, curve in curves.items():
        curve = getattr(curve, "curve", curve)
        if not isinstance(curve, Curve) or curve.nodes.dim() > 3:
            raise ValueError(f"{name}: expected curves of batch shape () or (P,), got {curve!r}")
        with torch.no_grad():
            z = curve(torch.linspace(0, 1, _TIMES).to(curve.nodes)).cpu().numpy()
        samples[name] = z.reshape(-1, *z.shape[-2:])
    shapes = {name: (len(z), z.shape[-1]) for name, z in samples.items()}
    if len(set(shapes.values())) > 1:
        raise ValueError(f"the kinds differ in their numbers of curves and dimensions: {shapes}")
    return samples


def _styles(names: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Affine black and dashed; the others in colours by their order, solid, and when all colours are used
    up dashed with a dot, then with two dots, and so on."""
    styles: dict[str, dict[str, Any]] = {"affine": {"color": "black", "linestyle": (0, (3, 1.5))}}
    for i, name in enumerate(name for name in names if name != "affine"):
        dots = i // len(_COLOURS)
        line = (0, (6, 1) + dots * (1, 1)) if dots else "-"
        styles[name] = {"color": _COLOURS[i % len(_COLOURS)], "linestyle": line}
    return styles


def _letters(pairs: int) -> Sequence[str]:
    if pairs == 1:
        return [""]
    return _LETTERS[:pairs] if pairs <= len(_LETTERS) else [str(i) for i in range(pairs)]


def _ends(lines: list[np.ndarray], ax: Axes) -> None:
    marks: dict[str, Any] = {
        "color": "black",
        "edgecolors": "white",
        "linewidths": 0.8,
        "zorder": 6,
    }
    for end, marker, size, label in ((0, "o", 30, "start"), (-1, "s", 26, "end")):
        x, y = np.array([z[end] for z in lines]).T
        ax.scatter(x, y, marker=marker, s=size, label=label, **marks)
    for z, letter in zip(lines, _letters(len(lines)), strict=True):
        backwards = z[0] - z[-1]
        backwards = backwards / max(np.linalg.norm(backwards), np.finfo(float).tiny)
        text = ax.annotate(
            letter,
            z[0],
            xytext=11 * backwards,
            textcoords="offset points",
            ha="center",
            va="center",
            weight="bold",
            size=11,
            zorder=8,
        )
        text.set_path_effects([Stroke(linewidth=3, foreground="white"), Normal()])


def _legible(z: np.ndarray, radii: np.ndarray) -> float:
    """One digit."""
    gaps = np.linalg.norm(z[:, None] - z[None], axis=-1)
    np.fill_diagonal(gaps, np.inf)
    gaps = gaps.min(1) if len(z) > 1 else np.ones(1)
    scale = max(0.5 * np.median(gaps / radii), np.finfo(float).tiny)
    step = 10.0 ** np.floor(np.log10(scale))
    return float(np.floor(scale / step) * step)

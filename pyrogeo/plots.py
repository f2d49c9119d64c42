"""Pictures: `f(data, ax=None) -> Axes`, or a figure where several axes are needed.

Colour maps are perceptually even and read in grey; classes carry their number as well as a colour.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from scipy.stats import rankdata
from torch import Tensor

from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.sampling.diagnostics import series
from pyrogeo.sampling.draws import group_arrays

__all__ = ["chains", "images", "latent_space"]

# Okabe and Ito's colours, told apart with any kind of colour vision.
_PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
# Light to mid blue-grey, so that black draws and coloured classes are seen everywhere on it.
_VOLUME_COLOURS = LinearSegmentedColormap.from_list(
    "volume", plt.get_cmap("bone")(np.linspace(0.5, 1, 64))
)
_OUTLINE = {"edgecolors": "black", "linewidths": 0.5}


def latent_space(
    metric: Metric,
    embeddings: Tensor | None = None,
    labels: Tensor | None = None,
    draws: Any | None = None,
    ax: Axes | None = None,
    resolution: int = 300,
) -> Axes:
    """The latent space: volume, embeddings by class, centroids and draws.

    In two dimensions the background is log₁₀ √det G with a colour bar. Beyond two, points are shown
    in the first two principal coordinates of the embeddings (else of the centroids or draws), with
    the share of variance on the axes, and there is no background, as G has no value there.

    Args:
        metric: whose volume element and centroids, if it has any, are shown.
        embeddings: latent points of shape `(N, d)`.
        labels: their classes, shape `(N,)`.
        draws: latent points of shape `(n, d)`, or ArviZ data whose chains get a marker each.
        ax: to draw into.
        resolution: background pixels along each side.
    """
    ax = ax or plt.subplots(figsize=(7, 6), layout="constrained")[1]
    centroids = metric.centroids if isinstance(metric, CentroidMetric) else None
    sets = [_points(p) for p in (embeddings, centroids) if p is not None]
    chains_of_draws = _chains_of(draws)
    reference = (sets + [z for _, z in chains_of_draws])[:1]
    if not reference:
        raise ValueError("nothing to show: pass embeddings, draws, or a metric with centroids")
    project, axis_labels = _plane(reference[0])
    flat = reference[0].shape[1] == 2
    low, high = _frame(np.concatenate([project(z) for z in sets or reference]))
    if flat:
        _volume(metric, low, high, ax, resolution)
    if embeddings is not None:
        _classes(project(_points(embeddings)), labels, ax)
    if centroids is not None:
        ax.scatter(
            *project(_points(centroids)).T,
            s=22,
            c="white",
            zorder=3,
            label=f"{len(centroids)} centroids",
            **_OUTLINE,
        )
    for (name, z), marker in zip(chains_of_draws, "+x1234", strict=False):
        flat_z = project(z)
        beyond = ((flat_z < low) | (flat_z > high)).any(1).sum()
        name += f" ({beyond} outside the frame)" if beyond else ""
        ax.scatter(*flat_z.T, s=12, marker=marker, c="black", lw=0.6, zorder=2.5, label=name)
    ax.set(
        xlabel=axis_labels[0],
        ylabel=axis_labels[1],
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        aspect="equal",
    )
    if ax.get_legend_handles_labels()[1]:
        ax.legend(
            loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, fontsize=8, frameon=False
        )
    return ax


def _points(z: Any) -> np.ndarray:
    z = z.detach().cpu().numpy() if torch.is_tensor(z) else np.asarray(z)
    if z.ndim != 2 or len(z) == 0:
        raise ValueError(f"expected latent points of shape (n, d), got {z.shape}")
    return z


def _chains_of(draws: Any) -> list[tuple[str, np.ndarray]]:
    if draws is None:
        return []
    if torch.is_tensor(draws) or isinstance(draws, np.ndarray):
        return [(f"{len(draws)} draws", _points(draws))]
    z = group_arrays(draws, "posterior")["z"]
    if len(z) > 6:
        return [(f"draws of {len(z)} chains", z.reshape(-1, z.shape[-1]))]
    return [(f"draws, chain {i}", chain) for i, chain in enumerate(z)]


def _plane(points: np.ndarray) -> tuple[Any, tuple[str, str]]:
    """A projection to two coordinates, and what they are."""
    d = points.shape[1]
    if d == 2:
        return (lambda z: z), ("z[0]", "z[1]")
    if d == 1:
        return (lambda z: np.column_stack([z, np.zeros(len(z))])), ("z[0]", "")
    centre = points.mean(0)
    _, singular, axes = np.linalg.svd(points - centre, full_matrices=False)
    share = singular**2 / (singular**2).sum()
    names = [f"principal coordinate {i + 1} of {d} dimensions ({share[i]:.0%})" for i in range(2)]
    return (lambda z: (z - centre) @ axes[:2].T), (names[0], names[1])


def _frame(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a square around what was learned; draws from the vacuum may lie far outside."""
    low, high = points.min(0), points.max(0)
    half = 0.58 * max((high - low).max(), 1e-6)
    middle = 0.5 * (low + high)
    return middle - half, middle + half


def _volume(metric: Metric, low: np.ndarray, high: np.ndarray, ax: Axes, resolution: int) -> None:
    x, y = (np.linspace(low[i], high[i], resolution) for i in range(2))
    grid = torch.from_numpy(np.stack(np.meshgrid(x, y), -1))
    tensor = next((t for t in metric.state_dict().values() if t.is_floating_point()), grid)
    with torch.no_grad():
        log_volume = metric.log_volume_element(grid.to(tensor)).cpu().numpy() / np.log(10)
    image = ax.imshow(
        log_volume,
        origin="lower",
        extent=(low[0], high[0], low[1], high[1]),
        cmap=_VOLUME_COLOURS,
        interpolation="bilinear",
    )
    ax.figure.colorbar(
        image, ax=ax, shrink=0.9, pad=0.02, label=r"volume element, $\log_{10}\sqrt{\det G(z)}$"
    )


def _classes(z: np.ndarray, labels: Tensor | None, ax: Axes) -> None:
    if labels is None:
        ax.scatter(*z.T, s=5, c="lightgrey", alpha=0.7, lw=0, zorder=2, label="embeddings")
        return
    labels = np.asarray(labels)
    if len(labels) != len(z):
        raise ValueError(f"expected one label for each of {len(z)} embeddings, got {len(labels)}")
    classes = np.unique(labels)
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20")
    for i, label in enumerate(classes):
        members = z[labels == label]
        colour = colours(i % colours.N)
        ax.scatter(*members.T, s=9, color=colour, lw=0, zorder=2)
        middle = np.median(members, 0)
        typical = members[np.linalg.norm(members - middle, axis=1).argmin()]
        ax.annotate(
            str(label),
            typical,
            ha="center",
            va="center",
            weight="bold",
            size=9,
            zorder=5,
            bbox={"boxstyle": "circle,pad=0.12", "fc": "white", "ec": colour, "lw": 1.5},
        )


def images(
    pictures: Tensor,
    ax: Axes | None = None,
    columns: int = 10,
    row_labels: Sequence[str] = (),
    value_range: tuple[float, float] = (0.0, 1.0),
) -> Axes:
    """A grid of images, row by row.

    Args:
        pictures: shape `(n, C, H, W)` with one or three channels, or `(n, H, W)`.
        ax: to draw into.
        columns: images in a row.
        row_labels: words to the left of the rows.
        value_range: of black and white; values outside are clipped, and the title then says so.
    """
    pixels = pictures.detach().cpu().numpy() if torch.is_tensor(pictures) else np.asarray(pictures)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or len(pixels) == 0:
        raise ValueError(f"expected images of shape (n, 1 or 3, H, W), got {pixels.shape}")
    n, channels, height, width = pixels.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    low, high = value_range
    tiles = np.full((rows * columns, height + 2, width + 2, channels), np.nan)
    tiles[:n, 1:-1, 1:-1] = (np.moveaxis(pixels, 1, -1) - low) / (high - low)
    outside = np.mean((pixels < low) | (pixels > high))
    mosaic = tiles.reshape(rows, columns, height + 2, width + 2, channels).swapaxes(1, 2)
    mosaic = mosaic.reshape(rows * (height + 2), columns * (width + 2), channels)
    mosaic = np.where(np.isnan(mosaic), 0.5, mosaic.clip(0, 1))
    ax = ax or plt.subplots(figsize=(0.6 * columns + 1, 0.6 * rows), layout="constrained")[1]
    ax.imshow(np.repeat(mosaic, 3, -1) if channels == 1 else mosaic, interpolation="nearest")
    ax.set_xticks([])
    ax.set_yticks([(height + 2) * (i + 0.5) for i in range(len(row_labels))], row_labels)
    ax.tick_params(length=0)
    if outside > 0:
        ax.set_title(f"{outside:.1%} of the pixels clipped to [{low:g}, {high:g}]", fontsize=8)
    return ax


def chains(draws: Any, rows: int = 4, bins: int = 20) -> Figure:
    """Rank and trace plots of the quantities whose chains agree least, and of the log-density.

    Chains that draw from one law have flat rank histograms. Each chain's ranks among all draws are
    counted in bins, and shown beside its trace in the same colour and line style.

    Args:
        draws: ArviZ data.
        rows: quantities to show at most; those with the largest R-hat are taken.
        bins: of the rank histograms.
    """
    quantities, table = series(draws)
    lp = [name for name in quantities if name == "lp"]
    order = table["r_hat"].drop(lp).sort_values(ascending=False, kind="stable").index
    names = [*sorted(order[: rows - len(lp)], key=list(quantities).index), *lp]
    figure, axes = plt.subplots(
        len(names), 2, figsize=(11, 2.1 * len(names)), squeeze=False, layout="constrained"
    )
    for (rank_ax, trace_ax), name in zip(axes, names, strict=True):
        x = quantities[name]
        _ranks(x, bins, rank_ax)
        for chain, values in enumerate(x):
            trace_ax.plot(values, lw=0.6, alpha=0.85, color=_PALETTE[chain % len(_PALETTE)])
        label = "log √det G" if name == "lp" else name
        trace_ax.set(
            ylabel=label, title=f"R-hat {table.loc[name, 'r_hat']:.3f}", xlim=(0, x.shape[1])
        )
        rank_ax.set(ylabel=label)
    axes[0, 0].set_title("ranks: flat where chains agree")
    axes[-1, 0].set_xlabel("rank among all draws")
    axes[-1, 1].set_xlabel("draw")
    if 1 < len(x) <= 8:
        handles, _ = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, [f"chain {i}" for i in range(len(x))], loc="outside upper right", ncols=8
        )
    return figure


def _style(chain: int) -> dict[str, Any]:
    line = ["-", "--", "-.", ":"][chain % 4]
    return {"color": _PALETTE[chain % len(_PALETTE)], "linestyle": line}


def _ranks(x: np.ndarray, bins: int, ax: Axes) -> None:
    ranks = rankdata(x).reshape(x.shape)
    edges = np.linspace(0, x.size, bins + 1)
    for chain, values in enumerate(ranks):
        counts, _ = np.histogram(values, edges)
        ax.stairs(counts, edges, lw=1.4, label=f"chain {chain}", **_style(chain))
    ax.axhline(x.shape[1] / bins, color="black", lw=0.8, ls=(0, (1, 2)))
    ax.set(ylim=(0, None), xlim=(0, x.size))

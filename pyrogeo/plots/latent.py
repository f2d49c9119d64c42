"""The latent space and the metric on it."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from numpy.typing import ArrayLike
from torch import Tensor

from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.plots._plane import as_metric, as_points, frame, legend_below, plain, plane
from pyrogeo.sampling.draws import latent_points

__all__ = ["latent_space", "spectrum"]

# Light to mid blue-grey, so that black draws and coloured classes are seen everywhere on it.
_VOLUME_COLOURS = LinearSegmentedColormap.from_list(
    "volume", plt.get_cmap("bone")(np.linspace(0.5, 1, 64))
)
_MOST_DRAWS = 150  # of one chain in a picture, or they hide what lies below
_OUTLINE: dict[str, Any] = {"edgecolors": "black", "linewidths": 0.5}


def latent_space(
    metric: Metric,
    embeddings: Tensor | None = None,
    labels: Tensor | ArrayLike | None = None,
    draws: Any | None = None,
    ax: Axes | None = None,
    resolution: int = 300,
) -> Axes:
    """The latent space: volume, embeddings by class, centroids and draws, up to 150 of each chain.

    In two dimensions the background is log₁₀ √det G with a colour bar. Beyond two, points are shown
    in the first two principal coordinates of the embeddings (else of the centroids or draws), with
    the share of variance on the axes, and there is no background, as G has no value there.

    Args:
        metric: whose volume element and centroids, if it has any, are shown.
        embeddings: latent points of shape `(N, d)`.
        labels: their classes, numbers or words, shape `(N,)`.
        draws: latent points of shape `(n, d)`, or ArviZ data whose chains get a marker each.
        ax: to draw into.
        resolution: background pixels along each side.

    Raises:
        ValueError: for nothing to show, points of different dimensions, or labels that do not fit.

    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> metric = DiagonalCentroidMetric(torch.eye(2), torch.ones(2, 2))
    >>> ax = latent_space(metric, draws=torch.full((5, 2), 0.5), resolution=10)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['2 centroids', '5 draws']
    """
    ax = ax or plt.subplots(figsize=(7, 6), layout="constrained")[1]
    centroids = metric.centroids if isinstance(metric, CentroidMetric) else None
    sets = [as_points(p) for p in (embeddings, centroids) if p is not None]
    chains_of_draws = _chains_of(draws)
    reference = (sets + [z for _, z in chains_of_draws])[:1]
    if len({z.shape[1] for z in sets + [z for _, z in chains_of_draws]}) > 1:
        raise ValueError("embeddings, centroids and draws have different dimensions")
    if not reference:
        raise ValueError("nothing to show: pass embeddings, draws, or a metric with centroids")
    project, axis_labels = plane(reference[0])
    flat = reference[0].shape[1] == 2
    low, high = frame(np.concatenate([project(z) for z in sets or reference]))
    if flat:
        _volume(metric, low, high, ax, resolution)
    if embeddings is not None:
        _classes(project(as_points(embeddings)), labels, ax)
    if centroids is not None:
        label = f"{len(centroids)} centroids"
        circles: dict[str, Any] = {"s": 20, "facecolors": "none", "zorder": 3, **_OUTLINE}
        ax.scatter(*project(as_points(centroids)).T, label=label, **circles)
    for (name, z), marker in zip(chains_of_draws, "+x^sDv", strict=False):
        _draws(project(z), name, marker, (low, high), ax)
    ax.set(
        xlabel=axis_labels[0],
        ylabel=axis_labels[1],
        xlim=(low[0], high[0]),
        ylim=(low[1], high[1]),
        aspect="equal",
    )
    legend_below(ax)
    return ax


def _chains_of(draws: Any) -> list[tuple[str, np.ndarray]]:
    if draws is None:
        return []
    if torch.is_tensor(draws) or isinstance(draws, np.ndarray):
        return [(f"{len(draws)} draws", as_points(draws))]
    z = latent_points(draws)
    if len(z) > 6:
        return [(f"{z.shape[0] * z.shape[1]} draws", z.reshape(-1, z.shape[-1]))]
    return [(f"draws, chain {i}", chain) for i, chain in enumerate(z)]


def _volume(metric: Metric, low: np.ndarray, high: np.ndarray, ax: Axes, resolution: int) -> None:
    x, y = (np.linspace(low[i], high[i], resolution) for i in range(2))
    grid = np.stack(np.meshgrid(x, y), -1)
    with torch.no_grad():
        log_volume = metric.log_volume_element(as_metric(metric, grid)).cpu().numpy() / np.log(10)
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


def _draws(
    z: np.ndarray, name: str, marker: str, corners: tuple[np.ndarray, np.ndarray], ax: Axes
) -> None:
    low, high = corners
    beyond = ((z < low) | (z > high)).any(1).sum()
    name += f" ({beyond} outside the frame)" if beyond else ""
    shown = z[np.unique(np.linspace(0, len(z) - 1, _MOST_DRAWS).round().astype(int))]
    name += f", {len(shown)} of {len(z)} shown" if len(shown) < len(z) else ""
    hollow: dict[str, Any] = (
        {"c": "black"} if marker in "+x" else {"facecolors": "none", "edgecolors": "black"}
    )
    x, y = shown.T
    ax.scatter(x, y, s=14, marker=marker, lw=0.7, zorder=2.5, label=name, **hollow)


def _classes(z: np.ndarray, labels: Tensor | ArrayLike | None, ax: Axes) -> None:
    if labels is None:
        x, y = z.T
        ax.scatter(x, y, s=5, c="lightgrey", alpha=0.7, lw=0, zorder=2, label="embeddings")
        return
    words = np.asarray(labels.detach().cpu() if torch.is_tensor(labels) else labels)
    if words.shape != (len(z),):
        raise ValueError(
            f"expected one label for each of {len(z)} embeddings, got shape {words.shape}"
        )
    classes = np.unique(words)
    short = max(len(str(c)) for c in classes) < 3
    shape = "circle,pad=0.12" if short else "round,pad=0.2"
    colours = plt.get_cmap("tab10" if len(classes) <= 10 else "tab20")
    for i, label in enumerate(classes):
        members = z[words == label]
        colour = colours(i % colours.N)
        x, y = members.T
        ax.scatter(x, y, s=9, color=colour, lw=0, zorder=2)
        middle = np.median(members, 0)
        typical = members[np.linalg.norm(members - middle, axis=1).argmin()]
        ax.annotate(
            plain(label),
            typical,
            ha="center",
            va="center",
            weight="bold",
            size=9,
            zorder=5,
            bbox={"boxstyle": shape, "fc": "white", "ec": colour, "lw": 1.5},
        )


def spectrum(metric: Metric, draws: Any, ax: Axes | None = None, n: int = 1000) -> Axes:
    """The eigenvalues of G along draws: how stretched latent space is, direction by direction.

    At each draw the eigenvalues are sorted; shown are their median and the ranges that hold 50% and
    90% of the draws. A flat line is a metric that is Euclidean up to scale.

    Args:
        metric: any `Metric`, G.
        draws: latent points of shape `(n, d)`, or ArviZ data.
        ax: to draw into.
        n: draws used at most, evenly spaced.

    >>> from pyrogeo.geometry import Constant
    >>> spectrum(Constant(torch.diag(torch.tensor([4.0, 1.0]))), torch.randn(5, 2)).lines[0].get_ydata()
    array([4., 1.], dtype=float32)
    """
    ax = ax or plt.subplots(figsize=(6, 4), layout="constrained")[1]
    z = np.concatenate([chain for _, chain in _chains_of(draws)])
    z = z[np.unique(np.linspace(0, len(z) - 1, n).round().astype(int))]
    with torch.no_grad():
        eigenvalues = torch.linalg.eigvalsh(metric(as_metric(metric, z))).flip(-1).cpu().numpy()
    index = np.arange(1, z.shape[1] + 1)
    for (low, high), shade in (((5, 95), 0.2), ((25, 75), 0.4)):
        band = np.percentile(eigenvalues, (low, high), axis=0)
        ax.fill_between(
            index, *band, alpha=shade, color="#0072B2", lw=0, label=f"{high - low}% of draws"
        )
    ax.plot(index, np.median(eigenvalues, 0), "o-", ms=3, color="#0072B2", label="median")
    ax.set(
        xlabel="eigenvalue, from the largest",
        ylabel="eigenvalue of G(z)",
        yscale="log",
        xticks=index if len(index) <= 20 else ax.get_xticks(),
        title=f"spectrum of G along {len(z)} draws",
    )
    ax.legend(fontsize=8, frameon=False)
    return ax

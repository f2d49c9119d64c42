"""The slides' figures on scikit-learn's digits, in two latent dimensions.

    python docs/figures.py

Writes paths.png, distance-maps.png and indicatrices.png beside itself, in two or three minutes on one core,
the same at each run on one machine.
"""

import argparse
import io
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch
from matplotlib.figure import Figure
from PIL import Image
from torch import Tensor

import pyrogeo as pg
from pyrogeo import plots
from pyrogeo._random import forked
from pyrogeo.geometry import (
    Curve,
    DistanceMap,
    Euclidean,
    Geodesic,
    Metric,
    Newton,
    distance_map,
    geodesic,
    volume_seeking,
)
from pyrogeo.recipes import standard_vae

# Digits from and to, of which SEED takes an image each.
PAIRS = ((0, 1), (6, 9), (4, 3), (2, 7))
SEED = 2
FRAMES = 12
SEGMENTS = 256
ELLIPSES = 18  # along each side

Grid = tuple[Tensor, Tensor]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--resolution", type=int, default=200)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = pg.datasets.digits()
    with forked(0):
        vae = standard_vae((1, 8, 8), 2)
    training = {"epochs": options.epochs, "seed": 0, "progress": False}
    pg.fit(vae, digits.train, validation=digits.validation, **training)
    posterior = vae.embed(digits.train)
    metric = pg.CentroidMetric.from_posterior(posterior, n_centroids=100, seed=0)
    z, labels = posterior.mean.double(), digits.train_labels
    seeking = volume_seeking(metric, metric.log_volume_element(z).median().item())
    grid = grid_around(z, options.resolution)
    save(draw_paths(vae, metric, seeking, z, labels, grid), options.out / "paths.png")
    save(draw_distance_maps(metric, seeking, z, labels, grid), options.out / "distance-maps.png")
    save(draw_indicatrices(metric, z, labels), options.out / "indicatrices.png")


def draw_paths(
    vae: pg.VAE, metric: Metric, seeking: Metric, z: Tensor, labels: Tensor, grid: Grid
) -> Figure:
    generator = torch.Generator().manual_seed(SEED)
    start, end = (
        torch.stack([some(z[labels == pair[i]], generator) for pair in PAIRS]) for i in range(2)
    )
    found = shortest(seeking, start, end, grid)
    curves = {"affine": Curve.line(start, end), "volume-seeking": found}
    figure, axes = plt.subplots(
        2, 1, figsize=(7.6, 11), layout="constrained", height_ratios=(1.6, 1)
    )
    plots.latent_space(metric, z, labels, ax=axes[0])
    plots.paths(curves, axes[0])
    t = torch.linspace(0, 1, FRAMES).double()
    frames = {
        "affine": vae.decode(curves["affine"](t)).mean,
        "volume-seeking": vae.decode(found.curve(t)).mean,
    }
    plots.strips(frames, axes[1])
    axes[1].set_title("decoded at equal steps, from start to end", fontsize=10)
    return figure


def draw_distance_maps(
    metric: Metric, seeking: Metric, z: Tensor, labels: Tensor, grid: Grid
) -> Figure:
    point = middle(z[labels == 0])
    figure, axes = plt.subplots(1, 3, figsize=(15, 4.6), layout="constrained")
    for ax, (name, g) in zip(
        axes,
        {
            "Euclidean": Euclidean(),
            "G: long through the data, short around them": metric,
            "volume-seeking, V² I: short through the data": seeking,
        }.items(),
        strict=True,
    ):
        found = distance_map(g, point, grid)
        plots.distance_map(found, ax, limit=limit_of(found, z))
        ax.scatter(*z.T, s=2.5, lw=0, color="#D55E00", zorder=3)
        ax.set_title(name, fontsize=11)
    figure.suptitle(
        "distance from the star, the embedding of a zero; dots: all embeddings", fontsize=11
    )
    return figure


def draw_indicatrices(metric: Metric, z: Tensor, labels: Tensor) -> Figure:
    figure, ax = plt.subplots(figsize=(7.6, 7), layout="constrained")
    plots.latent_space(metric, z, labels, ax=ax)
    x, y = grid_around(z, ELLIPSES)
    nodes, step = torch.cartesian_prod(x, y), (x[1] - x[0]).item()
    scale = 0.25
    largest = torch.linalg.eigvalsh(metric(nodes))[:, 0].rsqrt()
    plots.indicatrices(metric, nodes[scale * largest < 0.5 * step], ax, scale=scale)
    words = (
        "indicatrices of G at the nodes of a grid; left out: those longer than a step of the grid"
    )
    ax.set_title(words, fontsize=9)
    return figure


def some(members: Tensor, generator: torch.Generator) -> Tensor:
    return members[torch.randint(len(members), (), generator=generator)]


def middle(members: Tensor) -> Tensor:
    """The one that is nearest to the median of all."""
    return members[(members - members.median(0).values).norm(dim=-1).argmin()]


def shortest(metric: Metric, start: Tensor, end: Tensor, grid: Grid) -> Geodesic:
    """Geodesics that begin as shortest paths on a grid, so that none is stuck in a longer one."""
    guesses = []
    for a, b in zip(start, end, strict=True):
        path = distance_map(metric, a, grid).path(*nearest(b, grid))
        guesses.append(path.reparametrized(Euclidean(), SEGMENTS).nodes)
    initial = Curve(torch.stack(guesses), degree=1)
    return geodesic(
        metric, start, end, initial=initial, solver=Newton(SEGMENTS, spacing="euclidean")
    )


def nearest(z: Tensor, grid: Grid) -> tuple[Tensor, Tensor]:
    """Row and column of the nodes nearest to points `(*, 2)`."""
    column, row = ((z[..., i, None] - axis).abs().argmin(-1) for i, axis in enumerate(grid))
    return row, column


def limit_of(found: DistanceMap, z: Tensor) -> float:
    """The distance within which 99% of the embeddings lie."""
    return found.distances[nearest(z, (found.x, found.y))].quantile(0.99).item()


def grid_around(z: Tensor, resolution: int) -> Grid:
    """Axes of a square around the embeddings."""
    low, high = z.min(0).values, z.max(0).values
    half = 0.55 * (high - low).max().item()
    return tuple(
        torch.linspace(m - half, m + half, resolution, dtype=z.dtype)
        for m in (0.5 * (low + high)).tolist()
    )


def save(figure: Figure, path: Path) -> None:
    """Without the alpha channel, which nothing uses."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=85, bbox_inches="tight")
    Image.open(buffer).convert("RGB").save(path, optimize=True)
    plt.close(figure)


if __name__ == "__main__":
    main()

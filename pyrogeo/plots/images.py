"""Data and what the VAE makes of them."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from pyrogeo._checks import as_tensor, whole
from pyrogeo.plots._plane import plain
from pyrogeo.vae import VAE
from pyrogeo.vae.likelihoods import picture

__all__ = ["images", "reconstructions"]


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

    Raises:
        ValueError: for what is no images, no columns, or a range that is none.

    >>> images(2 * torch.ones(7, 1, 8, 8)).get_title()
    '100.0% of the pixels clipped to [0, 1]'
    """
    pixels = pictures.detach().cpu().numpy() if torch.is_tensor(pictures) else np.asarray(pictures)
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    if pixels.ndim != 4 or pixels.shape[1] not in (1, 3) or len(pixels) == 0:
        raise ValueError(f"expected images of shape (n, 1 or 3, H, W), got {pixels.shape}")
    if not value_range[0] < value_range[1]:
        raise ValueError(f"value_range: expected low < high, got {value_range}")
    n, channels, height, width = pixels.shape
    columns = min(whole("columns", columns), n)
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
    middles = [(height + 2) * (i + 0.5) for i in range(len(row_labels))]
    ax.set_yticks(middles, [plain(words) for words in row_labels])
    ax.tick_params(length=0)
    if outside > 0:
        ax.set_title(f"{outside:.1%} of the pixels clipped to [{low:g}, {high:g}]", fontsize=8)
    return ax


def reconstructions(vae: VAE, data: Tensor, ax: Axes | None = None, columns: int = 12) -> Axes:
    """Data beside their reconstructions, p(x|z) at the mean of q(z|x).

    Images stand above their reconstructions. Of tables, reconstructed numbers are shown against the
    given ones, with the share of variance that they explain.

    Args:
        vae: encodes and decodes.
        data: of shape `(n, *event)`.
        ax: to draw into.
        columns: images shown at most.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> ax = reconstructions(standard_vae((1, 8, 8), 2, hidden=(16,)), torch.rand(5, 1, 8, 8))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['data', 'reconstruction']
    """
    again = picture(vae.decode(vae.embed(data).mean)).cpu()
    data = as_tensor("data", data).cpu()
    if data.dim() == 4:
        data, again = data[:columns], again[:columns]
        rows = ["data", "reconstruction"]
        return images(torch.cat([data, again]), ax, len(data), rows)
    given, made = data.flatten(1).double().numpy(), again.flatten(1).double().numpy()
    ax = ax or plt.subplots(figsize=(5, 5), layout="constrained")[1]
    ax.scatter(given, made, s=4, lw=0, alpha=0.5, color="#0072B2")
    ends = [np.nanmin([given, made]), np.nanmax([given, made])]
    ax.plot(ends, ends, color="black", lw=0.8)
    ax.set(xlabel="data", ylabel="reconstruction", title=_explained(given, made))
    return ax


def _explained(given: np.ndarray, made: np.ndarray) -> str:
    """The share of the columns' variance, over the numbers that are not missing, in words."""
    known = np.ma.masked_invalid(given)
    variation = float(((known - known.mean(0)) ** 2).sum())
    if not variation > 0:  # one datum, or the same one again and again
        return "data without variance"
    explained = 1 - float(((known - made) ** 2).sum()) / variation
    return (
        f"{explained:.0%} of the variance explained"
        if explained >= 0
        else "worse than the mean of each column"
    )

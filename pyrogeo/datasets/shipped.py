"""Data that ship with scikit-learn."""

import numpy as np
import torch

from pyrogeo._checks import whole_or_none
from pyrogeo.datasets.dataset import Dataset, split

__all__ = ["digits", "patches"]


def digits(seed: int = 0) -> Dataset:
    """The 1,797 handwritten digits of 8×8 pixels that ship with scikit-learn.

    Grey levels 0 to 16 are divided by 16. The split is stratified by class: 1,131 images to
    train on, 126 for validation, 540 held out for testing.

    Args:
        seed: of the split.

    Returns:
        images of shape `(N, 1, 8, 8)`, float32 in [0, 1], and their classes.

    Source: E. Alpaydin, C. Kaynak, *Optical Recognition of Handwritten Digits*, UCI, 1998.

    >>> digits()
    Dataset(train=1131, validation=126, test=540, event_shape=(1, 8, 8))
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x = torch.from_numpy(images / 16).float().reshape(-1, 1, 8, 8)
    return split(x, torch.from_numpy(labels), validation=0.1, test=0.3, seed=seed, name="digits")


def patches(
    size: int = 16,
    train: int = 4000,
    validation: int = 500,
    test: int = 1000,
    seed: int = 0,
) -> Dataset:
    """Colour patches of the two photographs that ship with scikit-learn, a temple and a flower.

    Each photograph of 427×640 pixels is cut into three upright strips, for training (70% of its
    width), validation and test (15% each). A patch lies within one strip, so that no pixel of a
    test patch was trained on; patches of one part may overlap each other.

    Args:
        size: height and width of a patch in pixels, at most 96.
        train, validation, test: number of patches of each part, half from each photograph.
        seed: of their places.

    Returns:
        images of shape `(N, 3, size, size)`, float32 in [0, 1], and the photograph as label.

    Raises:
        ValueError: for a size that does not fit a strip, or a part without patches.

    >>> patches(8, 10, 4, 4)
    Dataset(train=10, validation=4, test=4, event_shape=(3, 8, 8))
    """
    from sklearn.datasets import load_sample_images

    photographs = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in load_sample_images().images]
    height, width = photographs[0].shape[1:]
    borders = [0, round(0.7 * width), round(0.85 * width), width]
    most, pixels = borders[2] - borders[1], whole_or_none(size)
    if pixels is None or not 1 <= pixels <= most:
        raise ValueError(f"size must be 1 to {most} pixels, got {size!r}")
    generator = np.random.default_rng(seed)
    parts, labels = [], []
    for given, low, high in zip((train, validation, test), borders, borders[1:], strict=False):
        count = whole_or_none(given) or 0
        if count < 1:
            raise ValueError(f"expected at least one patch of each part, got {given!r}")
        which = np.arange(count) % 2
        top = generator.integers(0, height - pixels + 1, count)
        left = generator.integers(low, high - pixels + 1, count)
        cut = [
            photographs[w][:, t : t + pixels, s : s + pixels]
            for w, t, s in zip(which, top, left, strict=True)
        ]
        parts.append(torch.stack(cut).float() / 255)
        labels.append(torch.from_numpy(which))
    (train_x, validation_x, test_x), (train_y, validation_y, test_y) = parts, labels
    return Dataset(
        train_x, validation_x, test_x, train_y, validation_y, test_y,
        name="patches", classes=("temple", "flower"),
    )  # fmt: skip

"""Tensors, labels and splits.

Images are float tensors of shape `(N, channels, height, width)` with values in [0, 1].
"""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor

__all__ = ["Dataset", "digits"]


@dataclass(frozen=True)
class Dataset:
    """Data in three parts, each of shape `(N, *event)`, with integer labels of shape `(N,)`."""

    train: Tensor
    validation: Tensor
    test: Tensor
    train_labels: Tensor
    validation_labels: Tensor
    test_labels: Tensor

    def __repr__(self) -> str:
        sizes = ", ".join(f"{k}={len(getattr(self, k))}" for k in ("train", "validation", "test"))
        return f"Dataset({sizes}, event_shape={tuple(self.train.shape[1:])})"


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
    images, labels = load_digits(return_X_y=True)
    index = np.arange(len(labels))
    rest, test = train_test_split(index, test_size=0.3, stratify=labels, random_state=seed)
    train, validation = train_test_split(
        rest, test_size=0.1, stratify=labels[rest], random_state=seed
    )
    x = torch.from_numpy(images / 16).float().reshape(-1, 1, 8, 8)
    y = torch.from_numpy(labels)
    return Dataset(x[train], x[validation], x[test], y[train], y[validation], y[test])

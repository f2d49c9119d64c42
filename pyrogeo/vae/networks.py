"""Networks for guides and likelihoods: plain `nn.Sequential`, sizes that may be shapes.

Any `nn.Module` will do in their place. The two demands of the contract: a guide's network ends in
the parameters of its distribution (location and log-variance, say), and any leading shape passes,
since vectorised particles arrive as `(P, B, d)`. `FoldBatch` gives that to modules which, like
convolutions, take exactly one batch dimension.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import prod
from typing import Any

from torch import Tensor, nn

from pyrogeo._checks import whole, whole_or_none

__all__ = ["FoldBatch", "conv_decoder", "conv_encoder", "mlp"]

Size = int | Sequence[int]


class FoldBatch(nn.Module):
    """Calls `module` with all leading dimensions folded into one, and unfolds them after.

    Args:
        module: takes `(N, *event)`.
        event_dim: number of dimensions of `event`.

    Raises:
        ValueError: in use, for data of fewer dimensions than an event has.

    >>> import torch
    >>> FoldBatch(nn.Conv2d(1, 4, 3), event_dim=3)(torch.zeros(7, 5, 1, 8, 8)).shape
    torch.Size([7, 5, 4, 6, 6])
    """

    def __init__(self, module: nn.Module, event_dim: int):
        super().__init__()
        self.module, self.event_dim = module, event_dim

    def forward(self, x: Tensor) -> Tensor:
        if x.dim() < self.event_dim:
            raise ValueError(f"expected {self.event_dim} event dimensions, got {tuple(x.shape)}")
        lead = x.shape[: x.dim() - self.event_dim]
        y: Tensor = self.module(x.reshape(-1, *x.shape[len(lead) :]))
        return y.reshape(*lead, *y.shape[1:])


def mlp(*sizes: Size, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """A multilayer perceptron: `mlp(in, *hidden, out)`.

    The first and the last size may be shapes, which are flattened and unflattened.

    Args:
        sizes: at least two; hidden sizes are integers.
        activation: makes the module between two layers.

    Returns:
        `nn.Sequential` from `(*, *in)` to `(*, *out)`.

    Raises:
        ValueError: for fewer than two sizes, or one that is not positive.

    >>> import torch
    >>> mlp((1, 8, 8), 256, 4)(torch.zeros(7, 5, 1, 8, 8)).shape
    torch.Size([7, 5, 4])
    >>> mlp(2, 256, (1, 8, 8))(torch.zeros(7, 5, 2)).shape
    torch.Size([7, 5, 1, 8, 8])
    """
    if len(sizes) < 2:
        raise ValueError(f"an mlp needs an input and an output size, got {sizes}")
    first, *_, last = both = [_size(size) for size in sizes]
    widths = [size if isinstance(size, int) else prod(size) for size in both]
    layers: list[nn.Module] = []
    if isinstance(first, tuple):
        layers.append(nn.Flatten(-len(first)))
    for n_in, n_out in pairwise(widths[:-1]):
        layers += [nn.Linear(n_in, n_out), activation()]
    layers.append(nn.Linear(widths[-2], widths[-1]))
    if isinstance(last, tuple):
        layers.append(nn.Unflatten(-1, last))
    return nn.Sequential(*layers)


def _size(size: Size) -> int | tuple[int, ...]:
    """In Python's integers: a number, or a shape as a tuple."""
    return _shape(size) if isinstance(size, Sequence) else _number(size)


def _shape(size: Sequence[int]) -> tuple[int, ...]:
    numbers = _positive(size)
    if not numbers or len(numbers) < len(size):
        raise ValueError(f"a size is a positive integer or a shape of such, got {size!r}")
    return numbers


def _number(size: int) -> int:
    if not _positive((size,)):
        raise ValueError(f"a size is a positive integer or a shape of such, got {size!r}")
    return _positive((size,))[0]


def _positive(numbers: Sequence[Any]) -> tuple[int, ...]:
    """Those that are positive integers, as Python's."""
    return tuple(n for n in map(whole_or_none, numbers) if n is not None and n >= 1)


def conv_encoder(
    *sizes: Size,
    kernel_size: int = 4,
    strides: int | Sequence[int] = 2,
    batch_norm: bool = True,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Module:
    """Strided convolutions and a linear layer: `conv_encoder((C, H, W), *channels, out)`.

    The paper's encoder for MNIST and CIFAR-10 is
    `conv_encoder((1, 32, 32), 128, 256, 512, 1024, 2 * d)`; for CelebA, with `kernel_size=5`;
    for OASIS, with `kernel_size=5, batch_norm=False`.

    Args:
        sizes: an image shape, the channels of each layer, the number of outputs.
        kernel_size: of every layer.
        strides: one for all layers, or one for each.
        batch_norm: batch normalisation after each convolution.
        activation: makes the module after each convolution.

    Returns:
        a module from `(*, C, H, W)` to `(*, out)`.

    Raises:
        ValueError: for sizes or strides in another form, and an image of which the strides leave not
            one pixel.

    >>> import torch
    >>> conv_encoder((3, 11, 7), 8, 16, 10)(torch.zeros(2, 5, 3, 11, 7)).shape
    torch.Size([2, 5, 10])
    """
    shape, channels, n_out = _image_sizes(sizes, image=0)
    strides, kernel_size = _strides(strides, channels), whole("kernel_size", kernel_size)
    pixels = list(shape[1:])
    layers: list[nn.Module] = []
    for n_in, n, stride in zip((shape[0], *channels), channels, strides, strict=False):
        padding = _padding(kernel_size, stride)
        pixels = [(p + 2 * padding - kernel_size) // stride + 1 for p in pixels]
        _check_pixels(pixels, shape, channels, kernel_size)
        layers.append(nn.Conv2d(n_in, n, kernel_size, stride, padding))
        layers += _after(n, batch_norm, activation)
    layers += [nn.Flatten(), nn.Linear(channels[-1] * prod(pixels), n_out)]
    return FoldBatch(nn.Sequential(*layers), event_dim=3)


def conv_decoder(
    *sizes: Size,
    kernel_size: int = 4,
    strides: int | Sequence[int] = 2,
    batch_norm: bool = True,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> nn.Module:
    """A linear layer and transposed convolutions: `conv_decoder(in, *channels, (C, H, W))`.

    One transposed convolution leads from each channel number to the next, and one to the image;
    output paddings are chosen such that the shape comes out exactly. The paper's decoder for MNIST
    is `conv_decoder(d, 1024, 512, 256, (1, 32, 32), strides=(2, 2, 1))`, for CelebA
    `conv_decoder(d, 1024, 512, 256, 128, (3, 64, 64), kernel_size=5, strides=(2, 2, 2, 1))`.

    Args:
        sizes: number of inputs, channels before each layer, the image shape.
        kernel_size, strides, batch_norm, activation: as in `conv_encoder`.

    Returns:
        a module from `(*, in)` to `(*, C, H, W)`, without a last activation: logits or locations.

    Raises:
        ValueError: as `conv_encoder`.

    >>> import torch
    >>> conv_decoder(10, 16, 8, (3, 11, 7))(torch.zeros(2, 5, 10)).shape
    torch.Size([2, 5, 3, 11, 7])
    """
    shape, channels, n_in = _image_sizes(sizes, image=-1)
    strides, kernel_size = _strides(strides, channels), whole("kernel_size", kernel_size)
    layers: list[nn.Module] = []
    pixels = list(shape[1:])
    steps = zip(
        reversed((*channels[1:], shape[0])), reversed(channels), reversed(strides), strict=True
    )
    for n_out, n, stride in steps:  # from the image backwards, as its size is what is given
        padding = _padding(kernel_size, stride)
        smaller = [(p + 2 * padding - kernel_size) // stride + 1 for p in pixels]
        _check_pixels(smaller, shape, channels, kernel_size)
        extra = [
            p - ((s - 1) * stride - 2 * padding + kernel_size)
            for p, s in zip(pixels, smaller, strict=True)
        ]
        after = _after(n_out, batch_norm, activation) if layers else []
        convolution = nn.ConvTranspose2d(
            n, n_out, kernel_size, stride, padding, (extra[0], extra[1])
        )
        layers = [convolution, *after, *layers]
        pixels = smaller
    first = [nn.Linear(n_in, channels[0] * prod(pixels)), nn.Unflatten(-1, (channels[0], *pixels))]
    return FoldBatch(nn.Sequential(*first, *layers), event_dim=1)


def _image_sizes(sizes: Sequence[Size], image: int) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Splits `sizes` into image shape, channels and the vector size at the other end."""
    shape = sizes[image] if len(sizes) >= 3 else ()
    others = [s for s in (sizes[1:] if image == 0 else sizes[:-1]) if not isinstance(s, Sequence)]
    if not isinstance(shape, Sequence) or len(shape) != 3 or len(others) < len(sizes) - 1:
        raise ValueError(
            "expected an image shape (C, H, W), at least one number of channels and a vector size "
            f"at the other end, got {sizes}"
        )
    numbers = tuple(_number(size) for size in others)
    if image == 0:
        return _shape(shape), numbers[:-1], numbers[-1]
    return _shape(shape), numbers[1:], numbers[0]


def _strides(strides: int | Sequence[int], channels: Sequence[int]) -> tuple[int, ...]:
    several = tuple(strides) if isinstance(strides, Sequence) else (strides,) * len(channels)
    numbers = _positive(several)
    if len(numbers) != len(channels) or len(numbers) < len(several):
        raise ValueError(f"expected {len(channels)} positive strides, got {strides}")
    return numbers


def _padding(kernel_size: int, stride: int) -> int:
    # With stride 1 an even kernel cannot keep the size; half a kernel makes the step one pixel.
    return kernel_size // 2 if stride == 1 else (kernel_size - 1) // 2


def _check_pixels(
    pixels: Sequence[int], shape: Sequence[int], channels: Sequence[int], kernel_size: int
) -> None:
    if min(pixels) < 1:
        raise ValueError(
            f"an image of {shape[1]}×{shape[2]} pixels has none left after {len(channels)} layers "
            f"with kernels of {kernel_size}; use fewer layers or smaller strides"
        )


def _after(channels: int, batch_norm: bool, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    return [*([nn.BatchNorm2d(channels)] if batch_norm else []), activation()]

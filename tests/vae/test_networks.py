import pytest
import torch
from torch import nn

from pyrogeo.vae import networks


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("shape", [(1, 32, 32), (3, 11, 7), (1, 5, 16)])
@pytest.mark.parametrize("kernel_size", [3, 4, 5])
def test_convolutions_take_any_image_and_any_leading_shape(shape, kernel_size, lead):
    encoder = networks.conv_encoder(shape, 4, 8, 10, kernel_size=kernel_size).eval()
    decoder = networks.conv_decoder(10, 8, 4, shape, kernel_size=kernel_size).eval()
    x = torch.randn(*lead, *shape)
    assert encoder(x).shape == (*lead, 10)
    assert decoder(encoder(x)).shape == x.shape


def test_the_paper_s_mnist_networks():
    encoder = networks.conv_encoder((1, 32, 32), 128, 256, 512, 1024, 32)
    decoder = networks.conv_decoder(16, 1024, 512, 256, (1, 32, 32), strides=(2, 2, 1))
    convolutions = [m for m in encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [c.out_channels for c in convolutions] == [128, 256, 512, 1024]
    linear = next(m for m in encoder.modules() if isinstance(m, nn.Linear))
    assert linear.in_features == 1024 * 2 * 2
    first = next(m for m in decoder.modules() if isinstance(m, nn.Linear))
    assert first.out_features == 1024 * 8 * 8
    assert decoder(torch.zeros(2, 16)).shape == (2, 1, 32, 32)


def test_batches_do_not_mix_in_folding():
    network = networks.conv_encoder((1, 8, 8), 4, 3, batch_norm=False)
    x = torch.randn(2, 3, 1, 8, 8)
    torch.testing.assert_close(network(x)[1, 2], network(x[1, 2]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: networks.mlp(3), "an input and an output size"),
        (lambda: networks.mlp(3, 0, 2), "positive integer"),
        (lambda: networks.mlp((), 2), "positive integer"),
        (lambda: networks.conv_encoder((1, 8, 8), 3), "an image shape"),
        (lambda: networks.conv_encoder((1, 8), 3, 2), "an image shape"),
        (lambda: networks.conv_decoder(3, 4, (8, 8)), "an image shape"),
        (lambda: networks.conv_encoder((1, 8, 8), *[4] * 4, 2), "8×8 pixels has none left"),
        (lambda: networks.conv_decoder(2, *[4] * 4, (1, 8, 8)), "8×8 pixels has none left"),
        (lambda: networks.conv_encoder((1, 8, 8), 4, 4, 2, strides=(2,)), "expected 2 positive"),
        (lambda: networks.FoldBatch(nn.Flatten(), 3)(torch.zeros(2, 2)), "3 event dimensions"),
    ],
)
def test_bad_sizes(make, message):
    with pytest.raises(ValueError, match=message):
        make()

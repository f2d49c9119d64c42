"""That pictures hold what they say; how they look was looked at."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import pyrogeo as pg
from pyrogeo import plots
from pyrogeo.distributions import choose_bandwidth
from pyrogeo.sampling.draws import to_arviz
from tests.conftest import small_vae
from tests.geometry.metrics import HalfPlane, diagonal


def some_draws(chains=4, draws=50, d=2):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(chains, draws, d))
    return to_arviz({"z": z}, {"lp": -(z**2).sum(-1)})


def test_latent_space_in_the_plane():
    metric = diagonal(12, 2)
    z, labels = torch.randn(30, 2), torch.arange(30) % 3
    ax = plots.latent_space(metric, z, labels, some_draws())
    (image,) = ax.images
    low, high = ax.get_xlim()
    assert image.get_array().shape == (300, 300)
    x = torch.linspace(low, high, 300, dtype=torch.float64)
    y = torch.linspace(*ax.get_ylim(), 300, dtype=torch.float64)
    corner = metric.log_volume_element(torch.stack([x[40], y[7]])) / np.log(10)
    assert image.get_array()[7, 40] == pytest.approx(corner.item())
    assert ax.figure.axes[1].get_ylabel().startswith("volume element")
    assert {t.get_text() for t in ax.texts} == {"0", "1", "2"}
    names = ax.get_legend_handles_labels()[1]
    assert names[0] == "12 centroids"
    assert [n.split(" (")[0] for n in names[1:]] == [f"draws, chain {i}" for i in range(4)]


def test_the_legend_leaves_room_for_the_axes():
    """In a constrained layout a wide legend would squeeze them to nothing."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    for ax in axes:
        plots.latent_space(diagonal(12, 2), draws=some_draws(draws=500), ax=ax, resolution=10)
    figure.canvas.draw()
    assert all(ax.get_window_extent().width > 0.3 * figure.bbox.width for ax in axes)


def test_draws_outside_the_frame_are_counted():
    far = torch.tensor([[100.0, 0.0], [0.0, 0.0]])
    ax = plots.latent_space(diagonal(12, 2), draws=far)
    assert "2 draws (1 outside the frame)" in ax.get_legend_handles_labels()[1]
    assert ax.get_xlim()[1] < 50


@pytest.mark.parametrize("d", [1, 3, 16])
def test_latent_space_beyond_the_plane(d):
    z = torch.randn(30, d).double()
    _, own = plt.subplots()
    ax = plots.latent_space(diagonal(12, d), z, draws=some_draws(d=d), ax=own)
    assert ax is own
    assert not ax.images
    if d > 1:
        assert f"principal coordinate 2 of {d} dimensions" in ax.get_ylabel()


def test_images_and_what_was_clipped():
    pixels = torch.rand(7, 1, 4, 5)
    pixels[0, 0, 0, 0] = 3.0
    ax = plots.images(pixels, columns=3, row_labels=["a", "b", "c"])
    mosaic = ax.images[0].get_array()
    assert mosaic.shape == (3 * 6, 3 * 7, 3)
    np.testing.assert_allclose(mosaic[1:5, 8:13, 0], pixels[1, 0], atol=1e-6)
    assert ax.get_title() == "0.7% of the pixels clipped to [0, 1]"
    assert [t.get_text() for t in ax.get_yticklabels()] == ["a", "b", "c"]
    colour = plots.images(torch.rand(2, 3, 4, 4))
    assert isinstance(colour, Axes)
    assert not colour.get_title()


def test_chains():
    figure = plots.chains(some_draws(d=9), rows=3)
    assert isinstance(figure, Figure)
    labels = [ax.get_ylabel() for ax in figure.axes]
    assert len(labels) == 6
    assert labels[-1] == "log √det G"
    assert len(plots.chains(some_draws(d=2)).axes) == 6
    assert len(plots.chains(some_draws(chains=40)).axes) == 6


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: plots.latent_space(HalfPlane()), "nothing to show"),
        (lambda: plots.latent_space(diagonal(), torch.zeros(3)), r"shape \(n, d\)"),
        (
            lambda: plots.latent_space(diagonal(5, 2), torch.randn(5, 2), torch.arange(4)),
            "one label",
        ),
        (lambda: plots.images(torch.zeros(2, 2, 4, 4)), r"\(n, 1 or 3, H, W\)"),
        (lambda: plots.chains(some_draws(draws=3)), "at least 4 draws"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_spectrum_history_and_reconstructions():
    metric = diagonal(12, 3)
    ax = plots.spectrum(metric, some_draws(d=3))
    eigenvalues = torch.linalg.eigvalsh(
        metric(torch.from_numpy(some_draws(d=3).posterior["z"].to_numpy().reshape(-1, 3)))
    )
    median = ax.lines[0].get_ydata()
    np.testing.assert_allclose(median, eigenvalues.flip(-1).median(0).values, rtol=0.05)
    vae = small_vae()
    history = pg.fit(
        vae, torch.rand(50, 1, 8, 8), torch.rand(9, 1, 8, 8), epochs=3, seed=0, progress=False
    )
    ax = plots.history(history)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), history.table["validation_loss"])
    assert f"kept: {history.best_epoch}" in ax.get_legend_handles_labels()[1]
    ax = plots.reconstructions(vae, torch.rand(20, 1, 8, 8))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["data", "reconstruction"]
    table = small_vae(event=(5,))
    title = plots.reconstructions(table, torch.rand(20, 5)).get_title()
    assert "of the variance explained" in title or "worse than the mean" in title


@pytest.mark.parametrize("n", [1, 2])
def test_very_few_points(n):
    plots.latent_space(diagonal(n, 5, bandwidth=1.0), torch.randn(n, 5))


def test_more_bad_input():
    with pytest.raises(ValueError, match="different dimensions"):
        plots.latent_space(diagonal(5, 2), torch.randn(5, 3))
    with pytest.raises(ValueError, match="columns"):
        plots.images(torch.zeros(2, 1, 4, 4), columns=0)


def test_bandwidth():
    metric = diagonal(9, 2)
    choice = choose_bandwidth(metric, pg.GeometricMixture(metric).sample((200,)))
    ax = plots.bandwidth(choice)
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), choice.curve)
    assert f"chosen: ρ = {choice.bandwidth:.3g}" in ax.get_legend_handles_labels()[1]

"""Data of any size are trained on, or a line says to standardise, before training."""

import warnings

import matplotlib.pyplot as plt
import pytest
import torch

import pyrogeo as pg
from pyrogeo.errors import NonFiniteLossError


@pytest.mark.parametrize("size", [1e-30, 1e-3, 1.0, 20.0, 600.0, 6e4, 1e10, 1e30, 3e38])
@pytest.mark.parametrize("event", [(2,), (1, 4, 4)])
def test_data_of_any_size_end_in_numbers_or_in_advice(size, event):
    torch.manual_seed(0)
    x = size * torch.rand(100, *event)
    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        pg.guides.DiagonalNormal(pg.networks.mlp(event, 64, 4)),
        pg.likelihoods.Normal(pg.networks.mlp(2, 64, event), learn_scale=True),
    )
    said = ""
    try:
        pg.fit(vae, x, epochs=1, seed=0, progress=False)
    except (ValueError, NonFiniteLossError) as error:
        said = str(error)
    assert "standardi" in said or "normali" in said or "smaller learning rate" in said or not said
    assert said or size < 1e4
    assert not (said and size <= 1)
    assert "\n" not in said


@pytest.mark.parametrize("x", [torch.rand(1, 3), torch.ones(5, 3)])
def test_reconstructions_of_data_without_variance_are_no_division_by_zero(x):
    vae = pg.recipes.standard_vae((3,), 2, hidden=(4,), likelihood="normal")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ax = pg.plots.reconstructions(vae, x)
    assert ax.get_title() == "data without variance"
    plt.close("all")

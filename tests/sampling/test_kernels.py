import pytest
import torch

import pyrogeo as pg
from tests.geometry.metrics import diagonal


class Walking:
    """The least that a batched kernel of one's own must have: a random walk that is always accepted."""

    batched, step_size, num_steps = True, 0.1, 0
    initial_params = None

    def __init__(self, potential_fn):
        self.statistics = {}

    def setup(self, warmup_steps):
        pass

    def sample(self, params):
        return {"z": params["z"] + self.step_size * torch.randn_like(params["z"])}

    def diagnostics(self):
        return {}

    logging = diagnostics
    cleanup = diagnostics


def test_a_batched_kernel_of_one_s_own():
    density = pg.RiemannianUniform(diagonal(6, 2))
    draws = pg.sample(density, 5, Walking, 12, warmup_steps=2, seed=0, progress=False)
    assert dict(draws.posterior.sizes) == {"chain": 12, "draw": 5, "z_dim": 2}
    of_draws = {"lp", "diverging", "step_size", "n_steps"}
    of_chains = {"seed", "incomplete", "superchain"}
    assert set(draws.sample_stats.data_vars) == of_draws | of_chains


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"step_size": None}, r"Walk.step_size must be positive and finite, got None"),
        ({"num_steps": 2.5}, r"Walk.num_steps must be an integer of at least 0, got 2.5"),
        (
            {"statistics": property(lambda self: 3, lambda *_: None)},
            "Walk.statistics must hold some",
        ),
        (
            {"statistics": property(lambda self: {"energy": 3}, lambda *_: None)},
            "some of kinetic, diverging, acceptance_rate after a transition",
        ),
        (
            {"statistics": property(lambda self: {"kinetic": torch.zeros(3)}, lambda *_: None)},
            r"statistics\['kinetic'\]: expected a tensor of shape \(12,\), got \(3,\)",
        ),
    ],
)
def test_a_batched_kernel_that_lacks_something(attributes, message):
    density = pg.RiemannianUniform(diagonal(6, 2))
    with pytest.raises(ValueError, match=message):
        pg.sample(density, 5, type("Walk", (Walking,), attributes), 12, seed=0, progress=False)


def test_a_batched_kernel_without_a_step_size():
    class Still(Walking):
        def __getattribute__(self, name):
            if name == "step_size":
                raise AttributeError(name)
            return super().__getattribute__(name)

    density = pg.RiemannianUniform(diagonal(6, 2))
    with pytest.raises(ValueError, match="Still is batched and needs the attribute step_size"):
        pg.sample(density, 5, Still, 12, seed=0, progress=False)

import math
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import RenyiELBO, Trace_ELBO, TraceMeanField_ELBO

import pyrogeo as pg
from pyrogeo.errors import NonFiniteLossError
from tests.conftest import small_vae

quiet = partial(pg.fit, progress=False)


def weights(vae):
    return torch.cat([p.detach().flatten() for p in vae.state_dict().values()])


class Interrupting:
    """A Trace_ELBO that raises after some calls."""

    def __init__(self, calls, error=KeyboardInterrupt):
        self.elbo, self.calls, self.error = Trace_ELBO(), calls, error

    def loss_and_grads(self, *args):
        self.calls -= 1
        if self.calls < 0:
            raise self.error
        return self.elbo.loss_and_grads(*args)

    def loss(self, *args):
        return self.elbo.loss(*args)


def test_training_lowers_the_held_out_loss_and_keeps_the_best(digits):
    vae = small_vae()
    history = quiet(vae, digits.train, digits.validation, epochs=8, seed=0)
    table = history.table
    assert list(table.index) == list(range(1, 9))
    assert table["validation_loss"].iloc[-1] < 0.9 * table["validation_loss"].iloc[0]
    assert history.best_epoch == table["validation_loss"].idxmin()
    assert (history.stopped, history.seed) == ("finished", 0)


@pytest.mark.parametrize("objective", [TraceMeanField_ELBO(), RenyiELBO(0.0, num_particles=3)])
def test_any_elbo(objective, digits):
    history = quiet(small_vae(), digits.train[:300], objective=objective, epochs=3, seed=0)
    assert history.table["loss"].is_monotonic_decreasing


def test_optimiser_and_scheduler_by_argument(digits):
    history = quiet(
        small_vae(),
        digits.train[:200],
        optimizer=partial(torch.optim.SGD, momentum=0.5),
        learning_rate=1e-5,
        scheduler=partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5),
        epochs=3,
        seed=0,
    )
    np.testing.assert_allclose(history.table["learning_rate"], [1e-5, 5e-6, 2.5e-6])


def test_a_plateau_lowers_the_rate_and_stops_early(digits):
    frozen = partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=1, factor=0.5)
    history = quiet(
        small_vae(),
        digits.train[:100],
        digits.validation,
        learning_rate=1e-12,
        scheduler=partial(frozen, threshold=0.5, eps=0),
        patience=4,
        epochs=50,
        seed=0,
    )
    assert history.stopped == "early"
    assert len(history.table) == history.best_epoch + 4
    assert history.table["learning_rate"].iloc[-1] < 1e-12


def test_one_seed_one_result_and_the_caller_s_state_is_left_alone(digits):
    results, names = [], list(pyro.get_param_store())
    for _ in range(2):
        torch.manual_seed(5)
        vae = small_vae()
        torch.manual_seed(len(results))
        torch.rand(len(results) + 1)
        state = torch.get_rng_state()
        quiet(vae, digits.train[:250], epochs=2, seed=3)
        assert torch.equal(torch.get_rng_state(), state)
        results.append(weights(vae))
    assert torch.equal(*results)
    assert list(pyro.get_param_store()) == names


def test_torch_s_seed_serves_where_none_is_given(digits):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        vae = small_vae()
        quiet(vae, digits.train[:100], epochs=1)
        results.append(weights(vae))
    assert torch.equal(*results)


@pytest.mark.parametrize("calls", [4, 13])
def test_an_interrupted_run_continues_to_the_same_bits(digits, tmp_path, calls):
    def make():
        torch.manual_seed(5)
        return small_vae()

    fit = partial(quiet, data=digits.train[:500], validation=digits.validation, epochs=4)
    whole = make()
    expected = fit(whole, seed=3, checkpoint=tmp_path / "whole.safetensors")
    broken = make()
    path = tmp_path / "broken.safetensors"
    part = fit(broken, seed=3, checkpoint=path, objective=Interrupting(calls))
    assert part.stopped == "interrupted"
    assert len(part.table) == calls // 5
    resumed = make()
    # The seed is the checkpoint's.
    history = fit(resumed, checkpoint=path, objective=Interrupting(10**6))
    assert torch.equal(weights(resumed), weights(whole))
    np.testing.assert_array_equal(history.table, expected.table)


def test_more_epochs_continue_a_finished_run(digits, tmp_path):
    vaes = [small_vae(), small_vae()]
    vaes[1].load_state_dict(vaes[0].state_dict())
    x = digits.train[:200]
    quiet(vaes[0], x, epochs=4, seed=1)
    for epochs in (2, 4):
        history = quiet(vaes[1], x, epochs=epochs, seed=1, checkpoint=tmp_path / "c.safetensors")
    assert len(history.table) == 4
    assert torch.equal(weights(vaes[0]), weights(vaes[1]))


def test_ctrl_c_returns_the_best_weights(digits):
    vae = small_vae()
    before = weights(vae)
    history = quiet(vae, digits.train[:500], objective=Interrupting(3), epochs=4, seed=0)
    assert (history.stopped, history.best_epoch, len(history.table)) == ("interrupted", 0, 0)
    assert torch.equal(weights(vae), before)


def test_a_nan_loss_stops_and_leaves_the_last_good_weights(digits):
    class Poisoned(Interrupting):
        def loss_and_grads(self, *args):
            self.calls -= 1
            return self.elbo.loss_and_grads(*args) if self.calls >= 0 else math.nan

    vae, same = small_vae(), small_vae()
    same.load_state_dict(vae.state_dict())
    quiet(same, digits.train[:500], epochs=1, seed=0)
    with pytest.raises(NonFiniteLossError, match="nan in epoch 2, batch 3") as error:
        quiet(vae, digits.train[:500], objective=Poisoned(7), epochs=4, seed=0)
    assert (error.value.epoch, error.value.batch) == (2, 3)
    assert torch.equal(weights(vae), weights(same))


def test_a_diverging_optimiser_is_named(digits):
    vae = small_vae()
    with pytest.raises(NonFiniteLossError, match="epoch"):
        quiet(vae, digits.train, optimizer=torch.optim.SGD, learning_rate=1e30, seed=0)
    assert torch.isfinite(weights(vae)).all()


def test_a_last_batch_of_one_is_joined_for_batch_norm(digits):
    vae = pg.VAE(
        pg.priors.StandardNormal(2),
        pg.guides.DiagonalNormal(pg.networks.conv_encoder((1, 8, 8), 4, 8, 16, 4)),
        pg.likelihoods.Bernoulli(pg.networks.conv_decoder(2, 8, (1, 8, 8))),
    )
    vae.eval()
    quiet(vae, digits.train[:101], epochs=1, seed=0)
    assert not vae.training


def test_numbers_of_double_precision_are_cast(digits):
    quiet(small_vae(), digits.train[:100].double().numpy(), epochs=1, seed=0)


IMAGES = torch.rand(20, 1, 8, 8)
WITH_NAN = IMAGES.clone()
WITH_NAN[3, 0, 2, 2] = math.nan


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (torch.zeros(0, 1, 8, 8), r"shape \(N, \*event\) with N ≥ 1, got \(0, 1, 8, 8\)"),
        (torch.zeros(3), r"got \(3,\)"),
        (WITH_NAN, "got 1 NaN or infinite"),
        (IMAGES / 0, "got 1280 NaN or infinite"),
        (IMAGES * 16, r"Bernoulli expects values in \[0, 1\], got .* to 1[56]"),
        (IMAGES - 0.5, r"Bernoulli expects values in \[0, 1\], got -0"),
        (torch.rand(20, 1, 9, 9), r"guide does not take events of shape \(1, 9, 9\)"),
        (torch.rand(20, 8, 8), r"events of shape \(8, 8\): for one datum it has batch shape \(\)"),
        ((IMAGES * 255).byte(), r"got torch.uint8; for images of bytes, x.float\(\) / 255"),
        ([[0.5]], "a tensor or a NumPy array"),
    ],
)
@pytest.mark.parametrize("place", ["data", "validation"])
def test_bad_data_is_refused_before_training(data, message, place):
    vae = small_vae()
    before = weights(vae)
    with pytest.raises(ValueError, match=message):
        quiet(vae, *([data] if place == "data" else [IMAGES, data]), epochs=1)
    assert torch.equal(weights(vae), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be a positive integer, got 0"),
        ({"batch_size": 2.5}, "batch_size must be a positive integer"),
        ({"patience": 0}, "patience must be"),
        ({"learning_rate": -1.0}, "learning_rate must be positive"),
        ({"objective": Trace_ELBO}, r"expected an instance such as Trace_ELBO\(\)"),
        ({"objective": 3}, "expected a Pyro ELBO"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": 1.5}, "seed must be an integer from 0"),
        (
            {"checkpoint": "missing/folder/c.safetensors"},
            "not a file in an existing, writable folder",
        ),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        quiet(small_vae(), IMAGES, **settings)


def test_bad_combinations():
    wider = small_vae()
    wider.likelihood = pg.likelihoods.Bernoulli(pg.networks.mlp(2, 81))
    with pytest.raises(
        ValueError, match=r"likelihood expects events of shape \(81,\), got \(1, 8, 8\)"
    ):
        quiet(wider, IMAGES)
    with pytest.raises(ValueError, match="no β: expected beta=1, got 0.5"):
        quiet(small_vae(beta=0.5), IMAGES, objective=RenyiELBO())
    with pytest.raises(ValueError, match="expected a VAE"):
        quiet(torch.nn.Linear(1, 1), IMAGES)
    mismatched = small_vae()
    mismatched.prior = pg.priors.StandardNormal(3)
    with pytest.raises(ValueError, match=r"shape \(2,\), the prior of \(3,\)"):
        quiet(mismatched, IMAGES)


def test_bad_checkpoints(tmp_path):
    path = tmp_path / "c.safetensors"
    quiet(small_vae(), IMAGES, epochs=1, seed=0, checkpoint=path)
    with pytest.raises(ValueError, match="belongs to another run"):
        quiet(small_vae(), IMAGES, epochs=2, seed=1, checkpoint=path)
    with pytest.raises(ValueError, match="does not fit this vae"):
        quiet(small_vae(width=16), IMAGES, epochs=2, seed=0, checkpoint=path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        quiet(small_vae(), IMAGES, epochs=2, seed=0, checkpoint=path)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_trains_all_the_same(mode):
    vae = small_vae()
    before = weights(vae)
    with mode():
        quiet(vae, IMAGES.clone(), epochs=1, seed=0)
    assert (weights(vae) != before).any()


class Returning(torch.nn.Module):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def forward(self, x):
        return self.value(x)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda x: x, "the guide must return a Pyro distribution, got .*Tensor"),
        (
            lambda x: torch.distributions.Normal(x.flatten(1), 1.0),
            "must return a Pyro distribution",
        ),
        (lambda x: 1 / 0, "the guide does not take events .* ZeroDivisionError"),
    ],
)
def test_a_guide_that_is_none(value, message):
    vae = pg.VAE(pg.priors.StandardNormal(2), Returning(value), small_vae().likelihood)
    with pytest.raises(ValueError, match=message):
        quiet(vae, IMAGES)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": None}, "batch_size must be"),
        ({"epochs": True}, "epochs must be"),
        ({"learning_rate": "1e-3"}, "learning_rate must be"),
        ({"optimizer": "adam"}, "optimizer: expected a class or function"),
        ({"scheduler": "plateau"}, "scheduler: expected a class or function"),
        ({"device": "nowhere"}, "device: 'nowhere' cannot be used here"),
        ({"seed": 2**40}, "seed must be an integer from 0"),
    ],
)
def test_more_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        quiet(small_vae(), IMAGES, **settings)

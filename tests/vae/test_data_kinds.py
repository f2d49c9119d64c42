"""Data of every kind that `fit` takes: one order, one result, one clear line where they do not fit."""

import math
from functools import partial

import numpy as np
import pyro
import pytest
import torch
from pyro.infer import Trace_ELBO
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, TensorDataset

import pyrogeo as pg
from pyrogeo.errors import PyrogeoWarning
from pyrogeo.vae.training.batches import batches_of
from pyrogeo.vae.training.state import Checkpoint
from tests.conftest import small_vae

quiet = partial(pg.fit, progress=False)
IMAGES = torch.rand(101, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(101)


def made():
    torch.manual_seed(5)
    return small_vae()


def weights(vae):
    return torch.cat([p.detach().flatten() for p in vae.state_dict().values()])


class Images(Dataset):
    """Data alone, as arrays."""

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, i):
        return IMAGES[i].numpy()


class Stream(IterableDataset):
    def __iter__(self):
        return iter(IMAGES)


class ByEpoch(torch.utils.data.Sampler):
    """An order that follows from the epoch alone."""

    def __init__(self, n):
        self.n, self.epoch, self.epochs = n, 0, []

    def set_epoch(self, epoch):
        self.epoch = epoch
        self.epochs.append(epoch)

    def __len__(self):
        return self.n

    def __iter__(self):
        generator = torch.Generator().manual_seed(self.epoch)
        return iter(torch.randperm(self.n, generator=generator).tolist())


@pytest.mark.parametrize(
    "data", [IMAGES.numpy(), TensorDataset(IMAGES), TensorDataset(IMAGES, LABELS), Images()]
)
def test_a_map_style_data_set_trains_to_the_bits_of_its_tensor(data):
    """With a last batch of one datum, and validation data of the same kind."""
    expected, vae = made(), made()
    options = {"epochs": 2, "batch_size": 20, "seed": 3}
    history = quiet(expected, IMAGES, IMAGES, **options)
    again = quiet(vae, data, data, **options)
    assert torch.equal(weights(vae), weights(expected))
    assert again.table.equals(history.table)


def test_a_data_set_of_ours_brings_its_validation_part(digits):
    expected, vae, other = made(), made(), made()
    options = {"epochs": 1, "seed": 3}
    history = quiet(expected, digits.train, digits.validation, **options)
    assert quiet(vae, digits, **options).table.equals(history.table)
    assert torch.equal(weights(vae), weights(expected))
    table = quiet(other, digits, digits.test, **options).table
    assert table["loss"].equals(history.table["loss"])
    assert not table["validation_loss"].equals(history.table["validation_loss"])


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(TensorDataset(IMAGES, LABELS), 20, shuffle=True),
        DataLoader(Images(), 20, drop_last=True),
        DataLoader(Stream(), 20),
        DataLoader(IMAGES, sampler=BatchSampler(range(101), 20, False), batch_size=None),
    ],
)
def test_a_loader_is_taken_as_it_is(data):
    first, second = made(), made()
    histories = [quiet(vae, data, data, epochs=2, seed=3) for vae in (first, second)]
    assert histories[0].table.equals(histories[1].table)
    assert histories[0].table["loss"].is_monotonic_decreasing
    assert torch.equal(weights(first), weights(second))


def test_a_loader_in_the_order_of_the_data_has_the_loss_of_its_data():
    """−ELBO for each datum of all batches, the last of which is smaller."""
    frozen = {"learning_rate": 1e-30, "epochs": 1, "seed": 3}
    vae = made().double()
    loss = quiet(vae, DataLoader(IMAGES.double(), 20), **frozen).table["loss"].item()
    torch.manual_seed(pg._random.derived_seed(3, 1))
    DataLoader(IMAGES).__iter__()  # which draws a number for its workers
    parts = [Trace_ELBO().loss(vae.model, vae.guide, x) for x in IMAGES.double().split(20)]
    assert loss == pytest.approx(sum(parts) / 101, rel=1e-9)


@pytest.mark.parametrize("place", ["sampler", "batch_sampler", "loader"])
def test_the_epoch_is_told_and_a_resumed_run_has_the_same_bits(place, tmp_path):
    def loader():
        order = ByEpoch(len(IMAGES))
        if place == "sampler":
            return order, DataLoader(IMAGES, 20, sampler=order)
        if place == "batch_sampler":
            batches = BatchSampler(order, 20, drop_last=False)
            batches.set_epoch = order.set_epoch
            return order, DataLoader(IMAGES, batch_sampler=batches)
        told = DataLoader(IMAGES, 20, sampler=list(range(101)))
        told.set_epoch = order.set_epoch
        return order, told

    whole = made()
    order, data = loader()
    expected = quiet(whole, data, epochs=3, seed=3)
    assert set(order.epochs) == {1, 2, 3}
    for epochs in (1, 3):  # a warning would be an error
        resumed = made()
        path = tmp_path / "c.safetensors"
        history = quiet(resumed, loader()[1], epochs=epochs, seed=3, checkpoint=path)
    assert torch.equal(weights(resumed), weights(whole))
    assert history.table.equals(expected.table)


def test_a_data_set_resumes_to_the_same_bits(tmp_path):
    whole, data = made(), TensorDataset(IMAGES, LABELS)
    quiet(whole, data, epochs=3, seed=3)
    for epochs in (1, 3):
        resumed = made()
        quiet(resumed, data, epochs=epochs, seed=3, checkpoint=tmp_path / "c.safetensors")
    assert torch.equal(weights(resumed), weights(whole))


def test_a_loader_of_its_own_order_warns_when_it_resumes(tmp_path):
    loader = DataLoader(IMAGES, 20, shuffle=True, generator=torch.Generator().manual_seed(2))
    options = {"seed": 3, "checkpoint": tmp_path / "c.safetensors"}
    quiet(made(), loader, epochs=1, **options)
    with pytest.warns(PyrogeoWarning, match="order of this loader's data is its own"):
        history = quiet(made(), loader, epochs=2, **options)
    assert len(history.table) == 2


def test_the_look_at_the_door_changes_no_order():
    generator = torch.Generator().manual_seed(2)
    loader = DataLoader(IMAGES, 20, shuffle=True, generator=generator)
    state, ours = generator.get_state(), torch.get_rng_state()
    vae = small_vae()
    torch.set_rng_state(ours)
    pg.vae.training.checks.check_batches(vae, batches_of(loader, 100))
    assert torch.equal(generator.get_state(), state)
    assert torch.equal(torch.get_rng_state(), ours)


def test_a_single_last_datum_is_joined_in_a_data_set_too():
    sizes = [len(batch) for batch in batches_of(TensorDataset(IMAGES), 20).shuffled(1)]
    assert sizes == [20, 20, 20, 20, 21]


class Items(Dataset):
    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


WITH_NAN = IMAGES.clone()
WITH_NAN[3, 0, 2, 2] = math.nan


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (TensorDataset(WITH_NAN), "got 1 NaN or infinite"),
        (DataLoader(WITH_NAN, 20), "first batch: expected finite numbers, got 1 NaN"),
        (TensorDataset(IMAGES * 16), r"Bernoulli expects values in \[0, 1\]"),
        (DataLoader(TensorDataset(IMAGES - 0.5), 20), r"Bernoulli expects values in \[0, 1\]"),
        (TensorDataset((255 * IMAGES).byte()), r"got torch.uint8; for images of bytes"),
        (DataLoader(IMAGES[:, 0], 20), r"guide does not take events|events of shape \(8, 8\)"),
        (DataLoader(IMAGES, batch_size=None), r"guide does not take events|batch shape"),
        (Items(), "the data set is empty"),
        (DataLoader(Items(), 20), "the loader has no batches"),
        (Items("a", "b"), "a tuple whose first entry is one, got <class 'str'>"),
        (Items({"x": IMAGES[0]}), "a tuple whose first entry is one, got <class 'dict'>"),
        (Items((3, IMAGES[0])), "got a tuple of <class 'int'>"),
        (Items(IMAGES[0], IMAGES[0, :, :5]), "expected items of one shape"),
        (DataLoader(Items({"x": IMAGES[0]}), 1), "got <class 'dict'>"),
        (Stream(), "a map-style torch Dataset, a DataLoader"),
        (list(IMAGES), "a tensor or a NumPy array"),
        (iter(IMAGES), "a tensor or a NumPy array"),
    ],
)
@pytest.mark.parametrize("place", ["data", "validation"])
def test_what_does_not_fit_is_refused_at_the_door(data, message, place):
    vae = made()
    before = weights(vae)
    with pytest.raises(ValueError, match=message):
        quiet(vae, *([data] if place == "data" else [IMAGES, data]), epochs=1)
    assert torch.equal(weights(vae), before)


def test_a_batch_size_beside_a_loader_is_refused():
    loader = DataLoader(IMAGES, 20)
    with pytest.raises(ValueError, match="the loader makes the batches, of 20; got 30 beside it"):
        quiet(made(), loader, batch_size=30)
    quiet(made(), loader, batch_size=20, epochs=1)


def test_a_checkpoint_of_another_format_is_refused_in_one_line(tmp_path):
    path = tmp_path / "c.safetensors"
    pg._tensors.write_state(path, {"settings": {"seed": 1}}, "a checkpoint of pyrogeo.fit")
    with pytest.raises(ValueError, match="format of another version of pyrogeo; remove it"):
        quiet(made(), IMAGES, epochs=1, checkpoint=path)
    assert Checkpoint(None).seed is None


def test_numbers_from_numpy_are_kept_as_python_s(tmp_path):
    path = tmp_path / "c.safetensors"
    numbers = {
        "batch_size": np.int64(20),
        "epochs": np.int32(1),
        "patience": torch.tensor(3),
        "learning_rate": np.float32(1e-3),
        "seed": np.int64(3),
    }
    quiet(made(), IMAGES, **numbers, checkpoint=path)
    resumed = quiet(made(), IMAGES, epochs=2, batch_size=20, seed=3, checkpoint=path)
    assert len(resumed.table) == 2


class Endless(Dataset):
    def __getitem__(self, i):
        return IMAGES[0]


def test_a_data_set_without_a_length_is_refused():
    with pytest.raises(ValueError, match="data: Endless has no length; give it a __len__"):
        quiet(made(), Endless(), epochs=1)


class _Bare(pyro.distributions.TorchDistribution):
    """What a user writes first: no arg_constraints, no support."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, mean):
        self.loc = mean
        super().__init__(mean.shape[:-1], mean.shape[-1:], validate_args=False)

    def sample(self, shape=()):
        return self.loc.expand(*shape, *self.loc.shape)

    def log_prob(self, value):
        return -(value - self.loc).square().sum(-1)


class _OfBare(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.network = pg.networks.mlp(2, 5)

    def forward(self, z):
        return _Bare(self.network(z))


def test_a_distribution_without_a_support_is_refused_by_name():
    guide = pg.guides.DiagonalNormal(pg.networks.mlp(5, 4))
    vae = pg.VAE(pg.priors.StandardNormal(2), guide, _OfBare())
    with pytest.raises(ValueError, match="_Bare, does not say its support"):
        pg.fit(vae, torch.rand(20, 5), epochs=1, progress=False)

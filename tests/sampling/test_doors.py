"""Kernels, workers and draws as users have them: taken, or refused in one line."""

import subprocess
import sys
from functools import partial

import arviz as az
import numpy as np
import pyro.infer.mcmc
import pytest
import torch
import xarray
from pyro.infer import HMC, MCMC, NUTS
from pyro.infer.mcmc import RandomWalkKernel

import pyrogeo as pg
from pyrogeo._checks import as_tensor
from pyrogeo.geometry import Constant, Curve, Euclidean, distance_matrix, exp_map, geodesic
from pyrogeo.sampling import engines
from pyrogeo.sampling.draws import latent_points, to_arviz
from tests.geometry.metrics import diagonal


@pytest.fixture(scope="module")
def density():
    return pg.RiemannianUniform(diagonal(8, 2))


def outcome(density, kernel, **options):
    """True where the kernel draws; else what is said, in one line."""
    message = None
    try:
        pg.sample(density, 4, kernel, 2, warmup_steps=2, seed=0, progress=False, **options)
    except ValueError as error:
        message = str(error)
    assert message is None or "\n" not in message
    return message or True


def raising(potential_fn):
    raise TypeError("not\ntoday")


KERNELS = [getattr(pyro.infer.mcmc, name) for name in pyro.infer.mcmc.__all__]


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda x: x.__name__)
def test_every_name_of_pyro_infer_mcmc(density, kernel):
    said = outcome(density, kernel)
    if kernel in (HMC, NUTS):
        assert said is True
    else:
        assert kernel.__name__ in said
        assert "take NUTS, HMC" in said


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (lambda d: NUTS(potential_fn=d.potential), "got an instance of NUTS"),
        (lambda d: RandomWalkKernel(len), "got an instance of RandomWalkKernel"),
        (
            lambda d: MCMC(NUTS(potential_fn=d.potential), 5, initial_params={"z": torch.zeros(2)}),
            "such as NUTS.*MCMC",
        ),
        (lambda d: raising, "kernel: raising raised when called as .*: TypeError: not today"),
        (lambda d: partial(raising, 3), "multiple values for argument 'potential_fn'"),
        (lambda d: partial(HMC, steps=3), "HMC.*unexpected keyword argument 'steps'"),
        (lambda d: lambda potential_fn: None, "not a Pyro MCMCKernel, it has no initial_params"),
        (lambda d: "nuts", "such as NUTS.*<class 'str'>"),
    ],
)
def test_what_is_no_kernel(density, kernel, message):
    with pytest.raises(ValueError, match=message) as refused:
        pg.sample(density, 4, kernel(density), 2, progress=False)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "variables",
    [
        {"latent": (4, 500, 2)},
        {"latent": (4, 500, 2), "scale": (4, 500), "x": (4, 500, 7)},
        {"z": (4, 500, 2), "w": (4, 500, 2)},
    ],
)
def test_draws_by_any_name(density, variables):
    values = {
        name: density.sample(shape[:2]).numpy() if shape[2:] == (2,) else np.random.rand(*shape)
        for name, shape in variables.items()
    }
    draws = to_arviz(values, {})
    by_default = pg.diagnose(draws, density=density)
    assert any("centroids" in reason for reason in by_default.reasons)
    by_name = pg.diagnose(draws, density=density, variable=next(iter(values)))
    assert by_default.reasons == by_name.reasons


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        (
            {"a": (4, 9, 2), "b": (4, 9, 2)},
            {},
            r"got a of \(4, 9, 2\), b of \(4, 9, 2\); say which",
        ),
        ({"z": (4, 9, 3), "b": (4, 9, 2)}, {}, r"points z of shape \(chain, draw, 2\)"),
        ({"latent": (4, 9, 2)}, {"variable": "w"}, "latent points w"),
        ({"z": (4, 9)}, {}, "latent points z"),
    ],
)
def test_draws_in_which_the_points_are_not_found(density, variables, options, message):
    draws = to_arviz({name: np.random.rand(*shape) for name, shape in variables.items()}, {})
    with pytest.raises(ValueError, match=message):
        pg.diagnose(draws, density=density, **options)


def test_latent_points_in_one_dimension():
    draws = az.from_dict({"u": np.zeros((2, 5))}) if int(az.__version__[0]) < 1 else None
    if draws is not None:
        assert latent_points(draws, 1).shape == (2, 5, 1)


def test_arrays_of_any_library_wherever_points_go(density):
    metric, flat = density.metric, Constant(2 * np.eye(2))
    z = metric.centroids[:6].reshape(2, 3, 2).clone()
    frozen = z.numpy().copy()
    frozen.flags.writeable = False
    mixture = pg.GeometricMixture(metric)
    vae = pg.recipes.standard_vae((5,), 2, hidden=(4,), likelihood="normal")
    doors = [
        metric,
        metric.log_volume_element,
        metric.contains,
        Euclidean(),
        density.log_density,
        mixture.log_prob,
        lambda z: metric.inner(z, z, z),
        lambda z: geodesic(flat, z[0], z[1]).length,
        lambda z: exp_map(flat, z[0], z[1]),
        lambda z: distance_matrix(flat, z[0], progress=False),
        lambda z: Curve.line(z[0], z[1]).nodes,
        lambda z: vae.decode(z).mean,
        lambda z: (
            pg.sample(
                density,
                4,
                num_chains=2,
                warmup_steps=1,
                initial_params=z[:, 0],
                seed=0,
                progress=False,
            )
            .posterior["z"]
            .to_numpy()
        ),
    ]
    for door in doors:
        expected = torch.as_tensor(door(z))
        for same in (
            xarray.DataArray(z.numpy(), dims=("chain", "draw", "z_dim")),
            frozen,
            z.numpy()[:, ::-1].copy()[:, ::-1],  # negative strides
            z.numpy().astype(">f8"),
        ):
            torch.testing.assert_close(torch.as_tensor(door(same)), expected, rtol=0, atol=0)
    assert Constant(np.eye(2)).dtype is torch.float64


@pytest.mark.parametrize(
    "dtype",
    ["?", "b", "B", "h", "H", "i", "I", "l", "L", "q", "Q", "e", "f", "d", "g", ">f4", "<i2"],
)
def test_every_dtype_of_numpy_that_holds_numbers(dtype):
    array = np.array([[0, 1], [1, 1]]).astype(dtype)
    found = as_tensor("x", array)
    np.testing.assert_array_equal(found.double().numpy(), array.astype(float))
    assert found.is_floating_point() == (array.dtype.kind == "f")


@pytest.mark.parametrize(
    "value", ["two", b"two", {"z": 1}, None, object(), [[1], [1, 2]], np.array(["a"]), 1j, len]
)
def test_what_is_no_array(value):
    with pytest.raises(ValueError, match="x: expected a tensor or an array of numbers, got"):
        as_tensor("x", value)


class ReasonError(Exception):
    """One that does not unpickle, as it takes two arguments and passes on one."""

    def __init__(self, first, second):
        super().__init__(f"{first}\n{second}")


class Failing(pg.Metric):
    def forward(self, z):
        if torch.is_grad_enabled():
            raise ReasonError("minus", "zero")
        return torch.eye(2, dtype=z.dtype).expand(*z.shape, 2)


def test_a_worker_s_reason_is_words_that_pickle():
    density = pg.RiemannianUniform(Failing(), dimension=2)
    chain = engines.Chain(density.potential, NUTS, 2, 2, torch.zeros(2), 0)
    number, came = engines._whole_chain(3, engines._packed(chain))
    assert (number, came) == (3, "ReasonError: minus zero")
    number, came = engines._whole_chain(3, b"not a pickle")
    assert "it cannot load the density or the kernel" in came


SESSION = """
import os, signal, sys, torch, pyrogeo as pg
boss, dies = os.environ.setdefault("BOSS", str(os.getpid())), False
class Sphere(pg.Metric):
    def forward(self, z):
        if dies and str(os.getpid()) != boss:
            os.kill(os.getpid(), signal.SIGKILL)
        return 4 / (1 + (z**2).sum(-1)[..., None, None]) ** 2 * torch.eye(2, dtype=z.dtype)
density = pg.RiemannianUniform(Sphere(), dimension=2)
def draw(num_workers):
    return pg.sample(density, 20, num_chains=2, warmup_steps=10, initial_params=torch.eye(2), seed=0,
                     num_workers=num_workers, progress=False).posterior["z"].to_numpy()
print((draw(2) == draw(1)).all())
dies = True
try:
    draw(2)
except RuntimeError as error:
    print(error)
"""


def test_a_class_of_a_notebook_and_a_worker_that_dies():
    """A notebook's `__main__` has no file. What is said stands alone: nothing of the clean-up's own."""
    ran = subprocess.run(
        [sys.executable, "-c", SESSION], capture_output=True, text=True, timeout=200
    )
    same, reason = ran.stdout.splitlines()
    assert same == "True"
    assert reason.startswith("a worker died (SIGKILL), as the system does to what takes too much")
    assert ran.stderr == ""

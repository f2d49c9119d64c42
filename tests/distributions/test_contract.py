"""What torch and Pyro ask of a distribution, of every distribution of the package (`laws.py`)."""

import copy
import importlib
import io
import pickle
import pkgutil
from multiprocessing.reduction import ForkingPickler
from unittest.mock import patch

import numpy as np
import pyro
import pytest
import torch
import torch.multiprocessing  # teaches ForkingPickler to share tensors
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.infer import HMC, MCMC, NUTS, SVI, Trace_ELBO
from pyro.infer.autoguide import AutoNormal
from scipy.stats import chi2
from torch.distributions import Distribution, biject_to

import pyrogeo
from pyrogeo.distributions import RiemannianNormal, RiemannianUniform
from tests.distributions.laws import EXCEPT, LAWS, law, riemannian_normal
from tests.geometry.metrics import diagonal

pytestmark = [
    pytest.mark.filterwarnings("ignore::pyrogeo.errors.GeodesicWarning"),
    pytest.mark.filterwarnings("ignore::pyrogeo.errors.SamplingWarning"),
]
every_law = pytest.mark.parametrize("name", LAWS)
in_every_dtype = pytest.mark.parametrize(
    ("name", "dtype"), [(name, t) for name in LAWS for t in LAWS[name].dtypes], ids=str
)


def classes():
    """Distributions that are defined in the package, private ones too."""
    for module in pkgutil.walk_packages(pyrogeo.__path__, "pyrogeo."):
        if not module.name.endswith("__main__"):
            for thing in vars(importlib.import_module(module.name)).values():
                ours = isinstance(thing, type) and thing.__module__.startswith("pyrogeo")
                if ours and issubclass(thing, Distribution):
                    yield thing


def test_every_distribution_of_the_package_is_among_them():
    met = {cls.__name__ for name in LAWS for cls in type(law(name)).__mro__}
    assert {cls.__name__ for cls in classes()} - met == set(EXCEPT)


@in_every_dtype
def test_shapes(name, dtype):
    density = law(name, dtype)
    assert isinstance(density, TorchDistributionMixin)
    assert type(density.event_shape) is torch.Size
    assert type(density.batch_shape) is torch.Size
    assert (density.batch_shape, density.event_shape) == ((), (2,))
    assert density.sample().shape == (2,)
    z = density.sample((3, 2))
    assert (z.shape, z.dtype) == ((3, 2, 2), dtype)
    value = density.log_prob(z)
    assert (value.shape, value.dtype) == ((3, 2), dtype)
    tolerance = 1e-4 if dtype == torch.float32 or LAWS[name].single else 1e-9
    torch.testing.assert_close(
        density.log_prob(z[1, 0]), value[1, 0], rtol=tolerance, atol=tolerance
    )


@every_law
def test_expansion(name):
    density = law(name)
    wide = density.expand(torch.Size([4]))
    assert type(wide.event_shape) is torch.Size
    assert (wide.batch_shape, wide.event_shape) == ((4,), (2,))
    z = wide.sample((3,))
    assert z.shape == (3, 4, 2)
    assert len(torch.unique(z.reshape(-1, 2), dim=0)) > 6  # not one draw, repeated
    torch.testing.assert_close(wide.log_prob(z), density.log_prob(z), rtol=1e-4, atol=1e-4)
    assert wide.expand(torch.Size([3, 4])).batch_shape == (3, 4)
    assert density.expand_by([3]).sample().shape == (3, 2)
    assert density.mask(False).log_prob(z).abs().max() == 0


@every_law
def test_the_support_is_that_of_a_kernel(name):
    density = law(name)
    z = density.sample((50,))
    assert density.support.event_dim == 1
    assert density.support.check(z).shape == (50,)
    assert density.support.check(z).all()
    free = biject_to(density.support)
    assert torch.equal(free(z), z)
    with pytest.raises(ValueError, match="support"):
        density.expand(torch.Size([1]))._validate_sample(z.new_full((1, 2), torch.nan))


@every_law
def test_gradients_are_those_of_finite_differences(name):
    density, single = law(name), LAWS[name].single
    torch.manual_seed(1)
    z = (
        density.sample((5,)).clone().requires_grad_()
    )  # Pyro's transforms remember where draws came from
    (gradient,) = torch.autograd.grad(density.log_prob(z).sum(), z)
    step = 1e-2 if single else 1e-5
    with torch.no_grad():
        slopes = [
            (density.log_prob(z + step * e) - density.log_prob(z - step * e)) / (2 * step)
            for e in torch.eye(2).to(z)
        ]
    tolerance = 3e-2 if single else 2e-2 if name == "RiemannianNormal, centroids" else 1e-5
    if "Laplace" not in str(density):  # which has corners
        torch.testing.assert_close(
            gradient, torch.stack(slopes, -1), rtol=tolerance, atol=tolerance
        )


def saved(density):
    buffer = io.BytesIO()
    torch.save(density, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=False)


COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda density: pickle.loads(pickle.dumps(density)),
    "torch.save": saved,
    "to another process": lambda d: pickle.loads(bytes(ForkingPickler.dumps(d))),
}


@every_law
@pytest.mark.parametrize("how", COPIES)
def test_copies_have_the_same_density(name, how):
    density = law(name)
    z = density.sample((5,)).clone()
    again = COPIES[how](density)
    assert torch.equal(again.log_prob(z), density.log_prob(z))
    assert (again.batch_shape, again.event_shape) == (density.batch_shape, density.event_shape)


@pytest.mark.parametrize("how", [*COPIES, "expand", "mask"])
@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_copies_keep_the_volume_on_both_sides(kind, how):
    if kind == "uniform":
        density, cls, method = RiemannianUniform(diagonal(5, 2)), RiemannianUniform, "_anneal"
    else:
        density, cls, method = riemannian_normal(torch.float64), RiemannianNormal, "_populate"
    make = {**COPIES, "expand": lambda d: d.expand(torch.Size([3])), "mask": lambda d: d.mask(True)}
    z = density.sample()
    value = density.log_prob(z)
    with patch.object(cls, method, side_effect=AssertionError("estimated again")):
        again = make[how](density)
        assert (again.log_prob(z) == value).all()
        assert (copy.deepcopy(again).log_prob(z) == value).all()
        assert density.log_prob(z) == value
        density.sample()  # nor are the draws that were kept made anew


def test_the_volume_of_another_metric_is_another():
    density = RiemannianUniform(diagonal(5, 2))
    before = density.log_volume
    density.metric.share_memory()
    with patch.object(RiemannianUniform, "_anneal", side_effect=AssertionError("again")):
        assert density.log_volume == before
        density.metric.bandwidth.mul_(1.1)
        with pytest.raises(AssertionError, match="again"):
            _ = density.log_volume


@in_every_dtype
def test_far_out_the_density_is_zero_or_right_and_its_gradient_a_number(name, dtype):
    """|z| = 1e200 in float64, 1e20 in float32, where squares overflow."""
    density = law(name, dtype)
    far = 1e200 if dtype == torch.float64 else 1e20
    z = far * torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 0.0], [0.0, 1.0]], dtype=dtype)
    z.requires_grad_()
    value = density.log_prob(z)
    assert not value.isnan().any()
    assert (value < -1e10).all()
    (gradient,) = torch.autograd.grad(value.sum(), z)
    assert not gradient.isnan().any()
    near = density.log_prob(torch.cat([z[:1], density.sample((1,))]))
    assert near[1].isfinite()


CELLS, SIDE, LIMIT = (
    10,
    24,
    8.0,
)  # blocks along each axis, points of quadrature along each, and the edge
#: `test_normal.py` and `test_fitted.py` have the others, whose densities are slow
FITTED = [name for name in LAWS if "RiemannianNormal" not in name and name != "fit_two_stage"]


@pytest.mark.parametrize("name", FITTED)
def test_draws_fit_the_density(name):
    """χ² of 5,000 draws on 100 cells, with its probabilities by quadrature; α = 1e-6 for each law.

    Draws that count for a share of independent ones have their statistic multiplied by it.
    """
    density, n = law(name), 5000
    axis = torch.linspace(-LIMIT, LIMIT, CELLS * SIDE + 1, dtype=torch.float64)
    axis = 0.5 * (axis[1:] + axis[:-1])
    grid = torch.cartesian_prod(axis, axis)
    torch.manual_seed(4)
    with torch.no_grad():
        z = density.sample((n,)).double()
        share = (
            density.log_prob(grid.to(density.sample())).double().exp()
            * (2 * LIMIT / (CELLS * SIDE)) ** 2
        )
    assert share.sum().item() == pytest.approx(1, abs=2 * LAWS[name].exact)
    share = share.reshape(CELLS, SIDE, CELLS, SIDE).sum((1, 3)).flatten()
    cell = ((z + LIMIT) / (2 * LIMIT / CELLS)).long()
    inside = ((cell >= 0) & (cell < CELLS)).all(-1)
    assert inside.double().mean() > 0.995
    counts = torch.bincount((CELLS * cell[:, 0] + cell[:, 1])[inside], minlength=CELLS**2).numpy()
    expected = (n * share / share.sum()).numpy()
    large = expected > 10
    expected = np.append(expected[large], expected[~large].sum())
    counts = np.append(counts[large], n - counts[large].sum())
    statistic = ((counts - expected) ** 2 / expected).sum() * LAWS[name].independent
    assert statistic < chi2.isf(1e-6, len(expected) - 1)


def program(density):
    z = pyro.sample("z", density)
    pyro.sample("x", pyro.distributions.Normal(z.sum(-1), 1.0), obs=torch.tensor(0.5).to(z))


@every_law
@pytest.mark.parametrize("kernel", [NUTS, HMC], ids=["NUTS", "HMC"])
def test_pyro_s_kernels_take_it_as_a_prior(name, kernel):
    density = law(name)
    options = {"max_tree_depth": 2} if kernel is NUTS else {"num_steps": 2}
    made = kernel(program, step_size=0.1, adapt_step_size=False, adapt_mass_matrix=False, **options)
    pyro.set_rng_seed(0)
    mcmc = MCMC(made, num_samples=3, warmup_steps=1, disable_progbar=True)
    mcmc.run(density)
    assert mcmc.get_samples()["z"].shape == (3, 2)
    assert mcmc.get_samples()["z"].isfinite().all()


@every_law
def test_autonormal_takes_it_as_a_prior(name):
    density = law(name)
    pyro.clear_param_store()
    pyro.set_rng_seed(0)
    guide = AutoNormal(program)
    svi = SVI(program, guide, pyro.optim.Adam({"lr": 0.01}), Trace_ELBO())
    assert all(np.isfinite(svi.step(density)) for _ in range(2))
    pyro.clear_param_store()

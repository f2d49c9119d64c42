"""Needs NumPy and ArviZ only, so that it also runs under ArviZ 1.x, without torch."""

import sys
from pathlib import Path

import numpy as np
import pytest

# The package may not be installed here: its import loads nothing that these modules do not need.
sys.path.insert(0, str(Path(__file__).parents[2]))

from pyrogeo.sampling import draws
from pyrogeo.verdict import diagnosis as diagnostics
from pyrogeo.verdict import statistics


def make(z, **stats):
    return draws.to_arviz({"z": z}, stats, {"seed": 3, "incomplete": True})


def test_names_and_shapes():
    z = np.arange(24.0).reshape(2, 4, 3)
    data = make(z, lp=z[..., 0], diverging=z[..., 0] > 3)
    assert data.posterior["z"].dims == ("chain", "draw", "z_dim")
    assert data.sample_stats["lp"].dims == ("chain", "draw")
    np.testing.assert_array_equal(data.posterior["z"], z)
    assert data.posterior.attrs["seed"] == 3
    assert data.posterior.attrs["incomplete"] == 1
    assert set(draws.group_arrays(data, "sample_stats")) == {"lp", "diverging"}
    assert draws.group_arrays(data, "prior") == {}


def test_fifteen_chains_keep_their_order():
    z = np.arange(15.0).reshape(15, 1, 1) + np.zeros((15, 6, 2))
    np.testing.assert_array_equal(make(z).posterior["z"][:, 0, 0], np.arange(15))


def test_a_file_and_back(tmp_path):
    data = make(np.random.default_rng(0).normal(size=(2, 50, 3)), lp=np.zeros((2, 50)))
    draws.write_draws(tmp_path / "draws.nc", data)
    again = draws.read_draws(tmp_path / "draws.nc")
    (tmp_path / "half.nc").write_bytes((tmp_path / "draws.nc").read_bytes()[:3000])
    for name in ("half.nc", "missing.nc"):
        with pytest.raises(ValueError, match=f"{name} is not a whole file of draws"):
            draws.read_draws(tmp_path / name)
    np.testing.assert_array_equal(again.posterior["z"], data.posterior["z"])
    assert diagnostics.diagnose(again).verdict == diagnostics.diagnose(data).verdict


def test_the_verdict_is_the_same_everywhere():
    """Figures of ArviZ 0.23 for fixed draws, so that 1.x is held to them."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 250, 2)) + np.array([0, 0, 0, 0.3]).reshape(4, 1, 1)
    table = diagnostics.diagnose(make(z)).table
    np.testing.assert_allclose(table["r_hat"], [1.01090, 1.00187], atol=1e-5)
    np.testing.assert_allclose(table["ess_bulk"], [647.9, 1078.7], rtol=1e-3)
    np.testing.assert_allclose(table["ess_tail"], [858.2, 1075.0], rtol=1e-3)


@pytest.mark.parametrize("shape", [(2, 3, 1), (1, 2, 4)])
def test_too_few_draws(shape):
    with pytest.raises(ValueError, match=rf"at least 4 draws of each chain, got {shape[1]}"):
        diagnostics.diagnose(make(np.zeros(shape)))


@pytest.mark.parametrize(("chains", "superchains"), [(12, 4), (8, 2), (64, 16)])
def test_nested_r_hat_is_arviz_s(chains, superchains):
    x = np.random.default_rng(0).normal(size=(chains, 50)) + np.arange(chains)[:, None] / chains
    ours = statistics.nested_r_hat(x, superchains)
    # Of ArviZ 1.3, `rhat_nested(method="rank")`; checked against it where it is installed.
    expected = {(12, 4): 1.046969130, (8, 2): 1.037213533, (64, 16): 1.042793177}
    assert ours == pytest.approx(expected[chains, superchains], abs=1e-6)
    if draws._ARVIZ_1:
        ids = np.repeat(np.arange(superchains), chains // superchains)
        theirs = draws.az.rhat_nested(x, superchain_ids=ids, method="rank")
        assert ours == pytest.approx(float(theirs), rel=1e-12)

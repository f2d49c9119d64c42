"""What the verdict says is true: groups, copies, spread, energies, tails, and what cannot be told."""

import warnings
from typing import NamedTuple

import numpy as np
import pytest

from pyrogeo._tails import pareto_index
from pyrogeo.sampling.draws import az, is_incomplete, read_draws, to_arviz, write_draws
from pyrogeo.verdict import diagnose
from tests.verdict.test_diagnostics import judged


def normal(seed=0, shape=(4, 1000, 2)):
    return np.random.default_rng(seed).normal(size=shape)


def grouped(seed):
    z = normal(seed, (16, 40, 1)) + np.repeat(normal(seed + 9, (4, 1, 1)), 4, 0) / 3
    facts = {"superchain": np.repeat(range(4), 4), "seed": seed}
    return to_arviz({"z": z}, {"lp": z[..., 0]}, of_chains=facts)


def largest(draws, superchains=None):
    return float(diagnose(draws, superchains).table["r_hat"].max())


def test_groups_stay_with_their_chains(tmp_path):
    a, b = grouped(0), grouped(1)
    write_draws(tmp_path / "a.nc", a)
    both = az.concat(read_draws(tmp_path / "a.nc"), b, dim="chain")
    assert largest(both) == pytest.approx(largest(both, 8))
    half = a.sel(chain=slice(4, 11))
    assert largest(half) == pytest.approx(largest(half, 2))
    shuffled = a.sel(chain=np.random.default_rng(0).permutation(16))
    assert largest(shuffled) == pytest.approx(largest(a), rel=1e-12)
    assert diagnose(a.sel(chain=[3])).verdict == "cannot tell"
    assert "All chains started at one point" in str(diagnose(a.sel(chain=[0, 1, 2, 3])))


def test_groups_of_earlier_files():
    z = normal(0, (16, 40, 1))
    old = to_arviz({"z": z}, {}, {"superchains": 4})
    assert largest(old) == largest(to_arviz({"z": z}, {}), 4)


def test_copies_are_named():
    z = normal()
    z[2] = z[0]
    found = judged(z)
    assert found.verdict == "disagree"
    assert found.reasons[0].startswith("chains 0, 2 are copies")


def test_coordinates_that_are_constant():
    z = normal()
    z[..., 1] = np.arange(4)[:, None]
    assert judged(z).verdict == "disagree"
    z[..., 1] = 3
    found = judged(z)
    assert found.verdict == "cannot tell"
    assert found.reasons[0].startswith("z[1] never moved")


def test_spread_is_called_spread():
    z = normal(shape=(4, 1000, 1))
    z[0] *= 1.5
    found = judged(z - z.mean(1, keepdims=True))
    assert found.verdict == "disagree"
    assert "differ in spread: in z[0], chain 0 is 1.5 times as wide" in found.reasons[0]


def test_missing_energies():
    energy = normal(1, (4, 1000))
    energy[0] = energy[0].cumsum()
    energy[2, 7] = np.nan
    found = judged(normal(), energy=energy)
    assert found.verdict == "too short"
    assert found.reasons[0].startswith("E-BFMI of chain 0 ")
    assert found.reasons[1].startswith("E-BFMI is unknown for chain 2")


def test_short_chains_cannot_tell():
    z = np.cumsum(normal(3, (4, 60, 1)), 1)
    found = judged(z)
    assert found.verdict == "cannot tell", found
    assert "would not see even chains in separate modes" in found.reasons[0]


def test_heavy_tails_have_medians():
    """20 sets each: Cauchy is seen with probability above 0.98 a set, a normal law flagged in none."""
    rng = np.random.default_rng(0)
    found = [judged(rng.standard_cauchy((4, 500, 1))) for _ in range(20)]
    seen = [bool(np.isnan(f.table.loc["z[0]", "mcse_mean"])) and "median" in f.table for f in found]
    assert sum(seen) >= 18
    assert any("too heavy for a variance" in reason for reason in found[0].reasons)
    assert not any("median" in judged(normal(i, (4, 500, 1))).table for i in range(20))


def test_the_tail_index_is_arviz_s():
    stats = pytest.importorskip("arviz.stats.stats")
    for seed, k in enumerate((0.1, 0.5, 1.0, 2.0)):
        x = np.sort(np.random.default_rng(seed).pareto(1 / k, 150))
        assert pareto_index(x) == pytest.approx(stats._gpdfit(x)[0], rel=1e-9)
    with pytest.raises(ValueError, match="at least 5 positive"):
        pareto_index(np.zeros(10))


@pytest.mark.parametrize(
    ("jumps", "words"),
    [(False, "Longer chains are unlikely"), (True, "Jumps are too rare"), (None, "Unless their")],
)
def test_the_remedy_goes_by_the_kernel(jumps, words):
    z = normal() + 6 * np.arange(4).reshape(4, 1, 1)
    facts = {} if jumps is None else {"jumps": jumps}
    found = diagnose(to_arviz({"z": z}, {"lp": normal(5, (4, 1000))}, of_chains=facts))
    assert words in found.reasons[0]


def test_exact_draws_in_doubt():
    z = normal()
    facts = {"in_doubt": [False, True, False, False], "log_volume": np.zeros(4)}
    draws = to_arviz({"z": z}, {"lp": normal(1, (4, 1000))}, {"method": "exact"}, facts)
    found = diagnose(draws)
    assert found.verdict == "cannot tell"
    assert "chain 1 are in doubt" in found.reasons[0]
    assert "proposal=" in found.reasons[0]


def test_nothing_is_compared_with_exact_draws_in_doubt(monkeypatch):
    import torch

    import pyrogeo as pg
    from tests.distributions.test_uniform import separate

    class Doubted(NamedTuple):
        in_doubt: bool = True
        error: float = 0.7

    density = pg.RiemannianUniform(separate())
    monkeypatch.setattr(pg.RiemannianUniform, "overlap", Doubted(), raising=False)
    torch.manual_seed(0)
    metric = density.metric
    z = metric.centroids[0].numpy() + 0.01 * normal(shape=(4, 1000, metric.dimension))
    found = diagnose(to_arviz({"z": z}, {}), density=density)
    assert found.verdict == "pass"
    assert "in doubt: they start from a law that misses mass, by estimate 50%" in found.reasons[1]
    assert not any("Modes are missed" in r or "spread over" in r for r in found.reasons)
    exact = to_arviz({"z": z}, {"lp": z[..., 0]}, {"method": "exact"})
    assert diagnose(exact, density=density).verdict == "cannot tell"
    monkeypatch.setattr(pg.RiemannianUniform, "overlap", Doubted(False, 0.0), raising=False)
    assert diagnose(to_arviz({"z": z}, {}), density=density).verdict == "disagree"


def test_interrupted_goes_by_the_chains_that_are_there():
    z = normal(shape=(4, 500, 1))
    stats = {"lp": z[..., 0]}
    part = to_arviz({"z": z}, stats, {"incomplete": True}, {"incomplete": [0, 0, 1, 0]})
    assert is_incomplete(part)
    assert not is_incomplete(part.sel(chain=[0, 1, 3]))
    assert is_incomplete(to_arviz({"z": z}, stats, {"incomplete": True}))


def test_standing_still_and_being_equal_by_the_law_s_own_making():
    rng = np.random.default_rng(0)
    z = normal(shape=(256, 20, 1))
    z[:, 1:][rng.random((256, 19)) < 0.9] = np.nan  # repeats: most of the moves are refused
    for t in range(1, 20):
        z[:, t] = np.where(np.isnan(z[:, t]), z[:, t - 1], z[:, t])
    assert (np.ptp(z, axis=1) == 0).any()
    atom = normal(shape=(64, 20, 2))
    atom[..., 1] *= rng.random((64, 20)) < 0.1
    assert (np.ptp(atom, axis=1) == 0).any()
    coin = np.zeros((4, 4, 1))
    coin[:, 1::2] = 1
    for x in (z, atom, coin):
        assert not any("never moved" in r or "copies" in r for r in judged(x).reasons)
    frozen = normal(shape=(4, 500, 2))
    frozen[1, :, 1] = 0.3
    assert judged(frozen).reasons[0].startswith("z[1] never moved in chain 1")


def test_starts_lie_far_apart():
    import torch

    import pyrogeo as pg
    from tests.geometry.metrics import diagonal

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        density = pg.RiemannianUniform(diagonal(30, 2))
    torch.manual_seed(0)
    spreads = [torch.pdist(density.initial(5)).min() for _ in range(20)]
    torch.manual_seed(0)
    assert torch.pdist(density.initial(5)).min() == spreads[0]
    random = [
        torch.pdist(density.metric.centroids[torch.randperm(30)[:5]]).min() for _ in range(20)
    ]
    assert min(spreads) > np.median(random)
    assert len(torch.unique(density.initial(30), dim=0)) == 30

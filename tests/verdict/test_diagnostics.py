import numpy as np
import pytest

from pyrogeo.sampling.draws import to_arviz
from pyrogeo.verdict import diagnose


def autoregressive(rng, rho, chains, draws, d):
    """Stationary chains of N(0, 1) with correlation ρ from draw to draw."""
    noise = rng.normal(size=(draws, chains, d)) * np.sqrt(1 - rho**2)
    x = np.empty((draws, chains, d))
    x[0] = rng.normal(size=(chains, d))
    for t in range(1, draws):
        x[t] = rho * x[t - 1] + noise[t]
    return x.swapaxes(0, 1)


def judged(z, **stats):
    return diagnose(to_arviz({"z": z}, stats))


@pytest.mark.parametrize(
    ("rho", "chains", "draws", "expected"),
    [
        (0.0, 4, 500, {"pass"}),
        (0.5, 4, 500, {"pass", "too short"}),
        (0.9, 4, 500, {"too short", "cannot tell"}),
        (0.99, 4, 500, {"cannot tell"}),
        (0.9, 2, 100, {"cannot tell"}),
        (0.97, 8, 300, {"cannot tell"}),
    ],
)
def test_chains_of_one_law_do_not_disagree(rho, chains, draws, expected):
    """40 sets each; α = 1e-4 a set, so 240 sets hold one "disagree" with probability 0.024."""
    rng = np.random.default_rng(0)
    verdicts = [judged(autoregressive(rng, rho, chains, draws, 2)).verdict for _ in range(40)]
    assert set(verdicts) <= expected


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.9])
def test_separate_modes_are_seen(rho):
    rng = np.random.default_rng(1)
    for _ in range(20):
        z = autoregressive(rng, rho, 4, 500, 2)
        z[rng.integers(1, 4) :] += 6 * rng.choice([-1, 1], size=2)
        found = judged(z)
        assert found.verdict == "disagree"
        assert "separate modes" in found.reasons[0]


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_one_chain_apart_is_seen(rho):
    rng = np.random.default_rng(2)
    for _ in range(20):
        z = autoregressive(rng, rho, 4, 500, 2)
        z[rng.integers(4), :, rng.integers(2)] += 6
        assert judged(z).verdict == "disagree"


def test_heavy_tails_do_not_disagree():
    """40 sets of Student's t with 3 degrees of freedom; α = 1e-4 a set."""
    z = np.random.default_rng(3).standard_t(3, size=(40, 4, 500, 2))
    assert {judged(chains).verdict for chains in z} <= {"pass", "too short"}


@pytest.mark.parametrize(("rho", "expected"), [(0.0, {"pass"}), (0.9, {"pass", "too short"})])
def test_many_short_chains_of_one_law_do_not_disagree(rho, expected):
    """20 sets of 256 chains in 16 groups; α = 1e-4 a set."""
    rng = np.random.default_rng(4)
    sets = [autoregressive(rng, rho, 256, 20, 2) for _ in range(20)]
    found = {diagnose(to_arviz({"z": z}, {}), superchains=16).verdict for z in sets}
    assert found <= expected


@pytest.mark.parametrize("apart", [8, 1])
def test_groups_of_short_chains_in_separate_modes_are_seen(apart):
    rng = np.random.default_rng(5)
    for _ in range(10):
        z = autoregressive(rng, 0.5, 256, 20, 2)
        z[: 16 * apart] += 6
        assert diagnose(to_arviz({"z": z}, {}), superchains=16).verdict == "disagree"


def test_a_different_spread_is_seen():
    z = np.random.default_rng(0).normal(size=(4, 1000, 1))
    z[0] *= 3
    assert judged(z).verdict == "disagree"


def test_a_chain_that_wanders_does_not_hide_the_others_disagreement():
    rng = np.random.default_rng(2)
    z = autoregressive(rng, 0.3, 4, 500, 1)
    z[0] += 8
    z[1] = np.linspace(-5, 12, 500)[:, None]
    assert judged(z).verdict == "disagree"


def test_too_short_says_how_many_more():
    z = autoregressive(np.random.default_rng(0), 0.95, 4, 500, 1)
    first = judged(z)
    assert first.verdict == "cannot tell"  # 13 effective draws of each chain
    more = int(first.reasons[0].split("Draw about ")[1].split(" ")[0].replace(",", ""))
    longer = autoregressive(np.random.default_rng(0), 0.95, 4, 500 + 2 * more, 1)
    assert judged(longer).verdict == "pass"


def test_a_pass_says_what_it_saw():
    found = judged(np.random.default_rng(0).normal(size=(4, 500, 3)))
    assert found.passed
    assert list(found.table.index) == ["z[0]", "z[1]", "z[2]"]
    assert found.reasons[0].startswith("R-hat is at most 1.00")
    assert "verdict: pass" in str(found)


def test_the_log_density_counts_too():
    z = np.random.default_rng(0).normal(size=(4, 500, 1))
    lp = np.random.default_rng(1).normal(size=(4, 500)) + np.arange(4)[:, None] * 3
    found = judged(z, lp=lp)
    assert found.verdict == "disagree"
    assert "lp" in found.reasons[0]


def test_energy_divergences_depth_and_stuck_chains():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 500, 1))
    diverging = np.zeros((4, 500), bool)
    diverging[2, 5:8] = True
    assert judged(z, diverging=diverging).reasons[0].startswith("3 of 2000 transitions diverged")
    slow = np.cumsum(rng.normal(size=(4, 500)), 1)
    found = judged(z, energy=slow)
    assert (found.verdict, "E-BFMI of chains 0, 1, 2, 3" in found.reasons[0]) == ("too short", True)
    deep = to_arviz({"z": z}, {"tree_depth": np.full((4, 500), 10)}, {"max_tree_depth": 10})
    assert "100% of the transitions reached the largest tree depth" in diagnose(deep).reasons[1]
    z[1] = 0.3
    found = judged(z)
    assert found.verdict == "disagree"
    assert found.reasons[0].startswith("chain 1 never moved")


def test_one_chain_has_no_verdict():
    found = judged(np.random.default_rng(0).normal(size=(1, 2000, 2)))
    assert found.verdict == "cannot tell"
    assert "One chain cannot disagree with itself" in found.reasons[0]


def test_sampling_that_was_interrupted_is_said():
    z = np.random.default_rng(0).normal(size=(4, 500, 1))
    assert "interrupted" in diagnose(to_arviz({"z": z}, {}, {"incomplete": True})).reasons[-1]


def test_bad_input():
    z = np.zeros((2, 10, 1))
    z[1, 3] = np.nan
    with pytest.raises(ValueError, match=r"z\[0\] has NaN or infinite draws"):
        judged(z)
    with pytest.raises(ValueError, match="with a posterior group"):
        diagnose({})


def test_chains_frozen_in_one_variable_disagree():
    z = np.random.default_rng(0).normal(size=(4, 500))
    mode = np.repeat(np.arange(4)[:, None], 500, 1)
    found = diagnose(to_arviz({"mode": mode, "z": z}, {}))
    assert found.verdict == "disagree"
    assert found.reasons[0].startswith("mode is constant within every chain")


def test_variables_of_other_kinds():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(4, 500))
    assert diagnose(to_arviz({"z": z, "positive": z > 0}, {})).passed
    found = diagnose(to_arviz({"z": z, "one": np.ones((4, 500))}, {}))
    assert found.verdict == "cannot tell"
    assert found.reasons[0].startswith("one never moved")
    with pytest.raises(ValueError, match="word: expected real numbers"):
        diagnose(to_arviz({"word": np.full((4, 500), "a")}, {}))
    with pytest.raises(ValueError, match="with a posterior group"):
        diagnose(z)

"""Chains whose truth is known, for `verdict.py`: of one law, apart, broken, and right but odd."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy import signal, stats

import pyrogeo as pg
from pyrogeo.sampling.draws import az, to_arviz
from pyrogeo.verdict import Diagnosis
from pyrogeo.verdict.statistics import nested_r_hat

FALSE = "disagree ≤ 0.4%"
SEEN = "disagree 100%"
UNTOLD = "cannot tell 100%"
UNPRAISED = "pass + too short 0%"
SAID = "said 100%"
OFTEN = "said ≥ 98%"
RARE = "said ≤ 2%"


@dataclass(frozen=True)
class Row:
    """A kind of chains: `make(rng)` gives `z` of shape `(chain, draw, d)`, or ArviZ data."""

    name: str
    make: Callable[[np.random.Generator], Any]
    goal: str = ""
    share: float = 1.0  # of the sets asked for
    options: dict = field(default_factory=dict)  # of `diagnose`
    says: str | Callable[[Any, Diagnosis], bool] = ""  # words among the reasons, or a test


def autoregressive(rng, rho=0.0, chains=4, draws=500, d=2) -> np.ndarray:
    """Stationary chains of N(0, 1) with correlation ρ from draw to draw."""
    noise = rng.normal(size=(chains, draws, d)) * math.sqrt(1 - rho**2)
    before = rho * rng.normal(size=(chains, 1, d))
    return signal.lfilter([1.0], [1.0, -rho], noise, axis=1, zi=before)[0]


def heavy(rng, rho=0.0) -> np.ndarray:
    """The same with a Student t law of 3 degrees of freedom."""
    return stats.t.ppf(stats.norm.cdf(autoregressive(rng, rho)), 3)


def jumping(rng, every: int) -> np.ndarray:
    """Stationary chains that change between two modes, 6 standard deviations apart, now and then."""
    jumps = rng.random((4, 500, 1)) < 1 / every
    mode = (jumps.cumsum(1) + rng.integers(2, size=(4, 1, 1))) % 2
    return autoregressive(rng, 0.5) + 6 * mode


def four_modes(rng, rho: float, draws: int = 500) -> np.ndarray:
    """Each chain in a mode of its own: the corners of a square, 6 standard deviations long."""
    corners = np.array([[0, 0], [0, 6], [6, 0], [6, 6]])
    return autoregressive(rng, rho, draws=draws) + rng.permutation(corners)[:, None]


def one_apart(rng, rho: float) -> np.ndarray:
    """One chain of four 6 standard deviations from the others, in one coordinate."""
    z = autoregressive(rng, rho)
    z[rng.integers(4), :, rng.integers(2)] += 6
    return z


def one_wide(rng, rho: float, times: float = 3.0, draws: int = 500) -> np.ndarray:
    """One chain of four so many times as wide as the others."""
    z = autoregressive(rng, rho, draws=draws)
    z[rng.integers(4)] *= times
    return z


def many_short(rng, rho: float, apart: int = 0) -> np.ndarray:
    """256 chains of 20 draws; `apart` of the 16 superchains in another mode."""
    z = autoregressive(rng, rho, chains=256, draws=20)
    far = rng.permutation(16)[:apart]
    z.reshape(16, 16, 20, 2)[far] += 6
    return z


def ring() -> pg.RiemannianUniform:
    """Six isolated modes in the plane."""
    angle = torch.arange(6).double() * math.pi / 3
    centroids = 3 * torch.stack([angle.cos(), angle.sin()], -1)
    variances = torch.full((6, 2), 0.05**2).double()
    variances[::2, 0] *= 4
    return pg.RiemannianUniform(pg.geometry.DiagonalCentroidMetric(centroids, variances, 2.0))


def crowd(d: int, bandwidth: float) -> pg.RiemannianUniform:
    """30 centroids that overlap, so that exact draws are annealed and share ancestors."""
    generator = torch.Generator().manual_seed(30 + d)
    centroids = 0.5 * torch.randn(30, d, generator=generator).double()
    variances = 0.05 + 0.3 * torch.rand(30, d, generator=generator).double()
    return pg.RiemannianUniform(pg.geometry.DiagonalCentroidMetric(centroids, variances, bandwidth))


def exact(rng, density) -> np.ndarray:
    return density.sample((4, 500)).numpy()


def in_modes(rng, density, rho: float, modes: int) -> np.ndarray:
    """Chains that all visit the same few modes of an isolated density, exactly within each."""
    metric = density.metric
    visited = rng.permutation(metric.n_centroids)[:modes]
    index = torch.from_numpy(rng.choice(visited, size=2000))
    noise = torch.from_numpy(autoregressive(rng, rho).reshape(2000, 2))
    width = metric.bandwidth / math.sqrt(metric.dimension)
    z = metric.centroids[index] + width * metric.unwhiten(index, noise)
    return z.reshape(4, 500, 2).numpy()


def rows() -> Iterator[Row]:
    for rho in (0.0, -0.5, 0.5, 0.9, 0.99, 0.999):
        chains = partial(autoregressive, rho=rho)
        yield Row(f"one law, ρ = {rho:g}, 4 × 500", chains, FALSE)
    for rho, n, length in [(0.9, 2, 100), (0.97, 8, 300)]:
        chains = partial(autoregressive, rho=rho, chains=n, draws=length)
        yield Row(f"one law, ρ = {rho:g}, {n} × {length}", chains, FALSE)
    wide = partial(autoregressive, rho=0.5, d=16)
    yield Row("one law, ρ = 0.5, 4 × 500, 16 coordinates", wide, FALSE, 0.3)
    for rho in (0.0, 0.9):
        yield Row(f"one law, Student t₃, ρ = {rho:g}, 4 × 500", partial(heavy, rho=rho), FALSE)
    for every in (50, 500):
        name = f"two modes, a jump every {every} draws, 4 × 500"
        yield Row(name, partial(jumping, every=every), "", 0.3)
    yield from separated()
    yield from beside_exact_draws()
    yield from superchains()
    yield from broken()
    yield from without_moments()
    yield from right()


def separated() -> Iterator[Row]:
    for rho in (0.0, 0.9, 0.95):
        goal = SEEN if rho < 0.9 else UNPRAISED
        for name, make in {"four modes": four_modes, "one chain apart": one_apart}.items():
            yield Row(f"{name}, ρ = {rho:g}, 4 × 500", partial(make, rho=rho), goal, 0.3)
    yield Row(
        "one chain three times as wide, ρ = 0.5, 4 × 500", partial(one_wide, rho=0.5), SEEN, 0.3
    )


def beside_exact_draws() -> Iterator[Row]:
    density = ring()
    cases = [
        ("6 isolated modes", density, 1.0),
        ("a crowd, d = 8", crowd(8, 2.0), 0.3),
        ("a dense crowd, d = 16", crowd(16, 3.0), 0.1),
    ]
    for name, drawn, share in cases:
        make = partial(exact, density=drawn)
        yield Row(f"exact draws of {name}, beside others", make, FALSE, share, {"density": drawn})
    for rho, modes in [(0.0, 1), (0.9, 1), (0.0, 5)]:
        make = partial(in_modes, density=density, rho=rho, modes=modes)
        name = f"{modes} of 6 modes visited by all, ρ = {rho:g}"
        yield Row(name, make, SEEN, 0.3, {"density": density}, "Modes are missed")


def superchains() -> Iterator[Row]:
    options = {"superchains": 16}
    for rho in (0.0, 0.9):
        make = partial(many_short, rho=rho)
        yield Row(f"one law, ρ = {rho:g}, 256 × 20 in 16 groups", make, FALSE, 1.0, options)
    for apart in (8, 1):
        make = partial(many_short, rho=0.5, apart=apart)
        yield Row(f"{apart} of 16 groups apart, ρ = 0.5, 256 × 20", make, SEEN, 0.3, options)

    for name, make in {"joined from two runs": joined, "8 of 16 chains": sliced}.items():
        yield Row(f"groups of chains, {name}", make, SAID, 0.3, {}, has_right_groups)


def noted_groups(rng) -> Any:
    """16 chains in four groups that lie apart a little, as `sample` notes them."""
    z = rng.normal(size=(16, 40, 1)) + np.repeat(rng.normal(size=(4, 1, 1)), 4, axis=0) / 3
    facts = {"superchain": np.repeat(range(4), 4), "seed": rng.integers(2**31)}
    return to_arviz({"z": z}, {"lp": z[..., 0]}, of_chains=facts)


def joined(rng) -> Any:
    return az.concat(noted_groups(rng), noted_groups(rng), dim="chain")


def sliced(rng) -> Any:
    return noted_groups(rng).sel(chain=slice(4, 11))


def has_right_groups(draws: Any, found: Diagnosis) -> bool:
    """Whether R-hat is that of groups of four."""
    z = draws.posterior["z"].to_numpy()[..., 0]
    expected = nested_r_hat(z, np.repeat(np.arange(len(z) // 4), 4))
    return math.isclose(found.table.loc["z[0]", "r_hat"], expected, rel_tol=1e-9)


def broken() -> Iterator[Row]:
    """What is wrong with chains other than their means."""
    copy = "copies of each other"
    yield Row("one chain twice among 4 × 500", partial(copied, of=2), SEEN, 0.3, {}, copy)
    yield Row("one chain four times, 500 draws", partial(copied, of=4), SEEN, 0.3, {}, copy)
    for name, make, goal, says in [
        ("a coordinate constant within chains", constant_within, SEEN, "is constant within every"),
        ("a coordinate that never moves", never_moving, UNTOLD, "z[1] never moved"),
        ("a coordinate that one chain never moves", one_frozen, SEEN, "z[1] never moved in chain"),
        ("a chain that never moves", one_still, SEEN, "never moved: every draw"),
    ]:
        yield Row(f"{name}, ρ = 0.5, 4 × 500", make, goal, 0.3, {}, says)
    wide = partial(one_wide, rho=0.0, times=1.5, draws=1000)
    words = "differ in spread"
    yield Row("one chain 1.5 times as wide, ρ = 0, 4 × 1000", wide, SEEN, 0.3, {}, words)
    words = "E-BFMI is unknown for chain"
    yield Row("one NaN energy, others right", one_missing_energy, SAID, 0.3, {}, words)
    slow = partial(one_missing_energy, slow=True)
    words = "E-BFMI of chain"
    yield Row("one NaN energy, another chain's too slow", slow, SAID, 0.3, {}, words)
    yield Row("a random walk, 4 × 60", random_walk, UNPRAISED)
    few = partial(four_modes, rho=0.5, draws=60)
    yield Row("four modes, ρ = 0.5, 4 × 60", few, UNPRAISED)


def copied(rng, of: int) -> np.ndarray:
    z = autoregressive(rng, 0.5)
    first, *others = rng.permutation(4)[:of]
    z[others] = z[first]
    return z


def constant_within(rng) -> np.ndarray:
    z = autoregressive(rng, 0.5)
    z[..., 1] = rng.normal(size=(4, 1))
    return z


def never_moving(rng) -> np.ndarray:
    z = autoregressive(rng, 0.1)
    z[..., 1] = rng.normal()
    return z


def one_frozen(rng) -> np.ndarray:
    z = autoregressive(rng, 0.5)
    z[rng.integers(4), :, 1] = rng.normal()
    return z


def one_still(rng) -> np.ndarray:
    z = autoregressive(rng, 0.5)
    z[rng.integers(4)] = rng.normal(size=2)
    return z


def one_missing_energy(rng, slow: bool = False) -> Any:
    energy = rng.normal(size=(4, 500))
    first, second = rng.permutation(4)[:2]
    if slow:
        energy[second] = energy[second].cumsum()
    energy[first, rng.integers(500)] = math.nan
    return to_arviz({"z": autoregressive(rng)}, {"energy": energy})


def random_walk(rng) -> np.ndarray:
    return rng.normal(size=(4, 60, 2)).cumsum(1)


HEAVY = "too heavy for a variance"


def without_moments() -> Iterator[Row]:
    """Laws without a mean, and such that have all that is reported."""
    laws = {
        "Cauchy": (stats.cauchy(), OFTEN),
        "Pareto of index 1.25": (stats.pareto(0.8), OFTEN),
        "Student t₂": (stats.t(2), ""),
        "Student t₃": (stats.t(3), ""),
        "normal": (stats.norm(), RARE),
        "Student t₅": (stats.t(5), RARE),
        "exponential": (stats.expon(), RARE),
        "log-normal, σ = ½": (stats.lognorm(0.5), RARE),
        "log-normal, σ = 1": (stats.lognorm(1), RARE),
    }
    for name, (law, goal) in laws.items():
        for rho in (0.0, 0.9):
            make = partial(of_law, law=law, rho=rho)
            goal = "" if rho and goal == OFTEN else goal
            yield Row(f"tails: {name}, ρ = {rho:g}, 4 × 500", make, goal, 1.0, {}, HEAVY)


def of_law(rng, law, rho: float) -> np.ndarray:
    return law.ppf(stats.norm.cdf(autoregressive(rng, rho, d=1)))


STILL = "never moved"


def right() -> Iterator[Row]:
    """Chains that stand still, or are equal, as their law has it."""
    yield Row("a lazy chain, 5% moves, 4 × 500", lazy, RARE, 1.0, {}, STILL)
    short = partial(lazy, moves=0.1, chains=256, draws=20)
    options = {"superchains": 16}
    yield Row("lazy chains, 10% moves, 256 × 20", short, RARE, 0.3, options, STILL)
    yield Row("an atom at 0 of 98%, 4 × 500", atom, RARE, 1.0, {}, STILL)
    short = partial(atom, rate=0.1, chains=256, draws=20)
    yield Row("an atom at 0 of 90%, 256 × 20", short, RARE, 0.3, options, STILL)
    yield Row("a coin, 4 × 4", partial(coin, draws=4), RARE, 1.0, {}, "copies")
    yield Row("a coin, 4 × 20", partial(coin, draws=20), RARE, 1.0, {}, "copies")
    rare = partial(coin, draws=500, heads=0.01)
    yield Row("a coin of 1% heads, 4 × 500", rare, RARE, 1.0, {}, "copies")


def lazy(rng, moves: float = 0.05, chains: int = 4, draws: int = 500) -> np.ndarray:
    """Independent draws of N(0, 1), each repeated until the chain moves."""
    fresh = rng.normal(size=(chains, draws, 1))
    moved = rng.random((chains, draws)) < moves
    moved[:, 0] = True
    last = np.maximum.accumulate(np.where(moved, np.arange(draws), 0), axis=1)
    return np.take_along_axis(fresh, last[..., None], axis=1)


def atom(rng, rate: float = 0.02, chains: int = 4, draws: int = 500) -> np.ndarray:
    """A coordinate that is 0 but for a share of the draws, beside a normal one."""
    z = rng.normal(size=(chains, draws, 2))
    z[..., 1] *= rng.random((chains, draws)) < rate
    return z


def coin(rng, draws: int, heads: float = 0.5) -> np.ndarray:
    return (rng.random((4, draws, 1)) < heads).astype(float)

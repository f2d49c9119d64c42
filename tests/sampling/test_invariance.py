"""Every move leaves its target as it is: the law of exact draws is the law after one and ten transitions.

The comparison is paired: a feature's mean change, in units of its standard error.
"""

from collections.abc import Callable
from functools import cache, partial

import pytest
import torch
from scipy.stats import norm
from torch import Tensor

import pyrogeo as pg
from pyrogeo import annealing, moves
from pyrogeo._random import forked
from pyrogeo.distributions.mixture import StartingLaw
from pyrogeo.distributions.smc import VolumeElement
from pyrogeo.geometry import CentroidMetric
from pyrogeo.moves import State
from tests.distributions.test_exact_draws import Expansion, by_rejection, pairs
from tests.geometry.metrics import diagonal, full
from tests.test_moves import banana

ALPHA = 1e-6
N = 200_000
FEATURES = 20
# For the largest |z| of all features after one and after ten transitions.
LIMIT = norm.isf(ALPHA / 2 / (2 * FEATURES))
COVARIANCE = torch.tensor([[1.0, 1.6], [1.6, 4.0]], dtype=torch.float64)


class Target:
    """A log-density with its gradient, exact independent draws from it, and its metric if it has one."""

    def __init__(
        self, value_and_grad: Callable, exact: Tensor, metric: CentroidMetric | None = None
    ):
        self.value_and_grad, self.exact, self.metric = value_and_grad, exact, metric
        self.state = State(exact, *value_and_grad(exact))
        self.features = self.features_at(exact)

    def features_at(self, z):
        """Coordinates, products, log-density and its square, waves: shape `(n, 20)`."""
        value = self.value_and_grad(z)[0][:, None]
        z = (z - self.exact.mean(0)) / self.exact.std(0)
        x, y, last = z[:, :1], z[:, 1:2], z[:, -1:]
        waves = [f(x + k * y) for f in (torch.sin, torch.cos) for k in (-1, 0, 1)]
        waves += [f(2 * a) for f in (torch.sin, torch.cos) for a in (x, y)]
        square = (z * z).sum(1, keepdim=True)
        products = [x * x, x * y, y * y, x * x * y, x * y * y, square]
        return torch.cat([x, last, *products, value, value**2, *waves], 1)

    def score(self, z):
        """The largest |z-value| of the features' changes from the exact draws to z."""
        change = self.features_at(z) - self.features
        assert change.shape[1] == FEATURES
        return (change.mean(0) / change.std(0) * len(z) ** 0.5).abs().max().item()

    def movement(self, z):
        """The share of points that moved, and the mean square they moved, in units of the variance."""
        square = (z - self.exact) ** 2
        return (square.sum(1) > 0).double().mean(), (square.mean(0) / self.exact.var(0)).min()


def gaussian(z):
    """N(0, COVARIANCE)."""
    pull = z @ torch.linalg.inv(COVARIANCE)
    return -0.5 * (z * pull).sum(-1), -pull


def exact_banana():
    x = torch.randn(N, dtype=torch.float64)
    return torch.stack([x, x**2 + torch.randn_like(x) * 0.5**0.5], -1)


def of_metric(metric):
    exact = by_rejection(metric, N) if metric.dimension == 2 else Expansion(metric).sample(N)
    return Target(metric.log_volume_element_and_grad, exact, metric)


def exact_gaussian():
    return torch.randn(N, 2, dtype=torch.float64) @ torch.linalg.cholesky(COVARIANCE).T


TARGETS = {
    "gaussian": lambda: Target(gaussian, exact_gaussian()),
    "banana": lambda: Target(banana, exact_banana()),
    "diagonal": lambda: of_metric(diagonal(6, 2, bandwidth=1.5)),
    "full": lambda: of_metric(full(5, 2)),
    "sixteen dimensions": lambda: of_metric(pairs()),
}


@cache
def target(name):
    with forked(1):  # another stream than the kernels' own
        return TARGETS[name]()


def check_invariance(goal, transition, least=0.1):
    """After one and ten transitions, with proof that every coordinate moves by `least` variances."""
    state = goal.state
    for count in range(1, 11):
        state = transition(state)
        if count in (1, 10):
            share, square = goal.movement(state.z)
            assert share > (0.1 if count == 1 else 0.5)
            assert goal.score(state.z) < LIMIT
    assert square > least


def hamiltonian(goal, step_size, num_steps, scale=1.0):
    return lambda state: moves.hmc(goal.value_and_grad, state, step_size, num_steps, scale)[0]


def batched(goal, potential=None, **options):
    potential = potential or pg.distributions.Potential(goal.metric)
    kernel = pg.BatchHMC(potential, adapt_step_size=False, seed=2, **options)
    kernel.initial_params = {"z": goal.exact}
    kernel.setup(0)
    return lambda state: state._replace(z=kernel.sample({"z": state.z})["z"])


def jump(goal, law, state):
    z = law.sample(len(state.z))
    proposal = State(z, *goal.value_and_grad(z))
    log_prob = law.log_prob(state.z), law.log_prob(z)
    return moves.independence(state, proposal, log_prob)[0]


SCALE = 0.8
SCALES = {
    "scalar": SCALE,
    "vector": torch.tensor([0.7, 1.3], dtype=torch.float64),
    "matrix": torch.tensor([[0.9, 0.0], [0.8, 1.0]], dtype=torch.float64),
}


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", ["gaussian", "banana"])
def test_hmc_on_closed_forms(name, scale):
    """α = 1e-6; a feature whose mean moves by 0.013 standard deviations of its change is seen."""
    goal = target(name)
    check_invariance(goal, hamiltonian(goal, 0.6, 3, SCALES[scale]), 0.3)


@pytest.mark.parametrize("name", ["diagonal", "full"])
def test_hmc_on_metrics(name):
    """With the scales of `anneal`: a vector, and a matrix. α = 1e-6, effect 0.013 as above."""
    goal = target(name)
    scale = StartingLaw(goal.metric).scale
    check_invariance(goal, hamiltonian(goal, 0.8, 2, scale))


def test_a_user_s_potential_by_autograd():
    """α = 1e-6, effect 0.013 as above."""
    goal = target("gaussian")
    potential = lambda params: -gaussian(params["z"])[0]  # noqa: E731
    check_invariance(goal, batched(goal, potential, step_size=0.7, num_steps=4), 0.3)


@pytest.mark.parametrize("name", ["diagonal", "sixteen dimensions"])
def test_batch_hmc_with_its_jitter(name):
    """α = 1e-6, effect 0.013 as above."""
    goal = target(name)
    check_invariance(goal, batched(goal, step_size=0.4, num_steps=2, jitter=0.4))


@pytest.mark.parametrize("name", ["diagonal", "full", "sixteen dimensions"])
def test_jumps_alone(name):
    """α = 1e-6, effect 0.013 as above."""
    goal = target(name)
    check_invariance(goal, partial(jump, goal, StartingLaw(goal.metric)), 1.0)


@pytest.mark.parametrize("name", ["diagonal", "sixteen dimensions"])
def test_batch_hmc_with_jumps(name):
    """A jump after every second trajectory. α = 1e-6, effect 0.013 as above."""
    goal = target(name)
    check_invariance(goal, batched(goal, step_size=0.4, num_steps=1, jump_every=2), 1.0)


def tempered(name):
    """At β = ½ between the starting law and √det G."""
    metric = target(name).metric
    law = StartingLaw(metric)

    def value_and_grad(z):
        ends = zip(law.log_prob_and_grad(z), metric.log_volume_element_and_grad(z), strict=True)
        return tuple(0.5 * (first + last) for first, last in ends)

    with forked(1):
        return Target(value_and_grad, by_rejection(metric, N, 0.5), metric), law


def test_jumps_alone_between_temperatures():
    """α = 1e-6, effect 0.013 as above."""
    goal, law = tempered("diagonal")
    check_invariance(goal, partial(jump, goal, law), 1.0)


def test_the_sweeps_of_sequential_monte_carlo(monkeypatch):
    """One jump and one trajectory at β = ½, as `anneal` makes them but for the trajectory's length.

    The step size follows the acceptance of all points together, a dependence of order 1/N. α = 1e-6,
    effect 0.013 as above.
    """
    monkeypatch.setattr(annealing, "_LEAPFROGS", 2)
    goal, law = tempered("diagonal")
    element = VolumeElement(goal.metric)
    move = lambda z: annealing._move(element, law, z, 0.5, 0.8)[0]  # noqa: E731
    check_invariance(goal, lambda state: state._replace(z=move(state.z)), 1.0)


def without_test(goal, state, gradient=1.0):
    """Every proposal is taken. With `gradient=2` the force is doubled too: while the Metropolis test
    stands, a wrong force is still reversible and breaks nothing."""

    def forced(z):
        value, slope = goal.value_and_grad(z)
        return value, gradient * slope

    start = state._replace(gradient=gradient * state.gradient)
    after = moves.leapfrog(forced, start, torch.randn_like(state.z), 0.6, 2, SCALE)[0]
    return after._replace(gradient=after.gradient / gradient)


def half_momentum(goal, state):
    """Momenta 0.5·N(0, I) under a kinetic energy ½‖p‖², as in the sampler the authors released."""
    p = 0.5 * torch.randn_like(state.z)
    proposal, final = moves.leapfrog(goal.value_and_grad, state, p, 0.6, 2, SCALE)
    kinetic = 0.5 * (final**2 - p**2).sum(-1)
    return moves.metropolis(state, proposal, proposal.value - state.value - kinetic)[0]


def jump_without_its_law(goal, state):
    """As if the proposals were uniform."""
    z = StartingLaw(goal.metric).sample(len(state.z))
    proposal = State(z, *goal.value_and_grad(z))
    return moves.metropolis(state, proposal, proposal.value - state.value)[0]


BROKEN = {
    "no test": without_test,
    "no test and doubled gradient": partial(without_test, gradient=2.0),
    "momentum": half_momentum,
}


def check_broken(goal, kernel):
    """After one transition already, where all the others stay below LIMIT."""
    assert goal.score(kernel(goal, goal.state).z) > 2 * LIMIT


@pytest.mark.parametrize("fault", BROKEN)
@pytest.mark.parametrize("name", TARGETS)
def test_broken_kernels_are_found(name, fault):
    check_broken(target(name), BROKEN[fault])


@pytest.mark.parametrize("name", ["diagonal", "full", "sixteen dimensions"])
def test_a_jump_without_its_law_is_found(name):
    check_broken(target(name), jump_without_its_law)

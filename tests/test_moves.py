import pytest
import torch

from pyrogeo.moves import State, hmc, leapfrog, metropolis


def banana(z):
    """A curved target whose gradient is written by hand."""
    x, y = z[:, 0], z[:, 1] - z[:, 0] ** 2
    gradient = torch.stack([-x + 4 * y * x, -2 * y], -1)
    return -0.5 * x**2 - y**2, gradient


def exact_banana(n):
    x = torch.randn(n, dtype=torch.float64)
    return torch.stack([x, x**2 + torch.randn_like(x) * 0.5**0.5], -1)


def state_at(z):
    return State(z, *banana(z))


def test_leapfrog_is_reversible_and_conserves_volume_and_energy():
    z, p = torch.randn(2, 5, 2, dtype=torch.float64)
    state, momentum = leapfrog(banana, state_at(z), p, 0.01, 20, torch.tensor([0.5, 2.0]))
    back, momentum_back = leapfrog(banana, state, -momentum, 0.01, 20, torch.tensor([0.5, 2.0]))
    torch.testing.assert_close(back.z, z)
    torch.testing.assert_close(-momentum_back, p)
    energy = [(s.value - 0.5 * (q**2).sum(-1)) for s, q in ((state_at(z), p), (state, momentum))]
    torch.testing.assert_close(*energy, rtol=0, atol=1e-2)

    def flow(zp):
        state, momentum = leapfrog(banana, state_at(zp[None, :2]), zp[None, 2:], 0.1, 5)
        return torch.cat([state.z[0], momentum[0]])

    jacobian = torch.autograd.functional.jacobian(flow, torch.cat([z[0], p[0]]))
    assert torch.linalg.det(jacobian).item() == pytest.approx(1, abs=1e-10)


def invariance(transition):
    """Paired z-values of some features before and after; below 5.4 with probability 1 − 1e-6."""
    before = state_at(exact_banana(200_000))
    after = transition(before)
    assert (after.z != before.z).any(-1).double().mean() > 0.3

    def features(s):
        z = s.z
        waves = [torch.sin(k * z[:, :1]) for k in (1, 2)] + [
            torch.cos(k * z[:, 1:]) for k in (1, 2)
        ]
        return torch.cat(
            [z, z**2, z[:, :1] * z[:, 1:], s.value[:, None], s.value[:, None] ** 2, *waves], 1
        )

    difference = features(after) - features(before)
    return (difference.mean(0) / difference.std(0) * len(difference) ** 0.5).abs().max()


def broken_without_test(state):
    return leapfrog(banana, state, torch.randn_like(state.z), 0.4, 1)[0]


def broken_momentum(state):
    p = 0.5 * torch.randn_like(state.z)
    proposal, final = leapfrog(banana, state, p, 0.2, 5)
    kinetic = 0.5 * (final**2 - p**2).sum(-1)
    return metropolis(state, proposal, proposal.value - state.value - kinetic)[0]


def test_hmc_leaves_the_target_invariant():
    assert invariance(lambda s: hmc(banana, s, 0.5, 5, torch.tensor([0.7, 1.3]))[0]) < 5.4


@pytest.mark.parametrize("broken", [broken_without_test, broken_momentum])
def test_the_test_finds_broken_kernels(broken):
    assert invariance(broken) > 10


def test_a_proposal_that_is_nan_is_refused():
    state = state_at(torch.zeros(3, 2, dtype=torch.float64))
    nowhere = State(state.z + 1, state.value * torch.nan, state.gradient)
    after, probability = metropolis(state, nowhere, nowhere.value - state.value)
    assert torch.equal(after.z, state.z)
    assert (probability == 0).all()

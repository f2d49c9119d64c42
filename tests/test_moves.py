import pytest
import torch

from pyrogeo.moves import State, leapfrog, metropolis


def banana(z):
    """A curved target whose gradient is written by hand."""
    x, y = z[:, 0], z[:, 1] - z[:, 0] ** 2
    gradient = torch.stack([-x + 4 * y * x, -2 * y], -1)
    return -0.5 * x**2 - y**2, gradient


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


def test_a_proposal_that_is_nan_is_refused():
    state = state_at(torch.zeros(3, 2, dtype=torch.float64))
    nowhere = State(state.z + 1, state.value * torch.nan, state.gradient)
    after, probability = metropolis(state, nowhere, nowhere.value - state.value)
    assert torch.equal(after.z, state.z)
    assert (probability == 0).all()

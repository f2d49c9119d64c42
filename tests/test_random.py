import pytest
import torch

from pyrogeo._random import derived_seed, forked, fresh_seed


def test_forked_leaves_the_caller_s_state():
    state = torch.get_rng_state()
    with forked(1):
        a = torch.rand(3)
    with forked(1):
        b = torch.rand(3)
    assert torch.equal(a, b)
    assert torch.equal(torch.get_rng_state(), state)
    with forked(None):
        torch.rand(3)
    assert not torch.equal(torch.get_rng_state(), state)


def test_seeds():
    assert len({derived_seed(i, j) for i in range(20) for j in range(20)}) == 400
    torch.manual_seed(0)
    a = fresh_seed(None)
    torch.manual_seed(0)
    assert fresh_seed(None) == a
    assert fresh_seed(5) == 5
    for bad in (-1, 2**32, 2.0, True, "1"):
        with pytest.raises(ValueError, match="integer from 0 to"):
            fresh_seed(bad)

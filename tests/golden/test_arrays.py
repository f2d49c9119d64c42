"""Structure may change; with explicit seeds, one thread and float64, results do not."""

import numpy as np
import pytest

from tests.golden.arrays import FILE, made

KEPT = dict(np.load(FILE))


@pytest.fixture(scope="module")
def found():
    return made()


@pytest.mark.parametrize("name", KEPT)
def test_nothing_moved(found, name):
    np.testing.assert_allclose(found[name], KEPT[name], rtol=1e-9, atol=1e-9)


def test_nothing_was_left_out(found):
    assert found.keys() == KEPT.keys()

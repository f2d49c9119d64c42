import pytest
import torch

from pyrogeo import _threads
from tests.geometry.metrics import diagonal


@pytest.fixture(autouse=True)
def _two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("points", "free", "expected"), [(10, 2, 1), (10**6, 2, 2), (10**6, 1, 1), (10, 0, 1)]
)
def test_one_thread_for_small_work_or_busy_cores(points, free, expected, monkeypatch):
    monkeypatch.setattr(_threads, "_free_cores", lambda: free)
    with _threads.threads_for(points, diagonal(20, 4)):
        assert torch.get_num_threads() == expected
    assert torch.get_num_threads() == 2  # the caller's number is put back


def test_put_back_after_an_error():
    with pytest.raises(ZeroDivisionError), _threads.one_thread():
        _ = 1 / 0
    assert torch.get_num_threads() == 2


def test_free_cores_are_a_number():
    assert -1000 < _threads._free_cores() <= 4096

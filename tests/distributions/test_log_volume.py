import math

import numpy as np
import pytest
import torch
from scipy.stats import t as student

from pyrogeo.distributions import RiemannianUniform, uniform
from tests.geometry.metrics import diagonal


@pytest.fixture(scope="module")
def runs():
    """100 volumes, off by how much and with what error, of a density known by quadrature.

    Populations of 512 in the place of 2,048, which makes the errors twice as large and the test quick;
    `benchmarks/log_volume.py` does it 1,000 times, with the real ones, and in more dimensions.
    """
    metric = diagonal(5, 1, bandwidth=1.0)
    x = torch.linspace(-40, 40, 3001, dtype=torch.float64)
    truth = metric.log_volume_element(x[:, None]).logsumexp(0).item() + math.log(80 / 3000)
    density = RiemannianUniform(metric)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uniform, "_SMALLEST_POPULATION", 512)
        volumes = [density.estimate_volume(seed) for seed in range(100)]
    return np.array([(found.log_volume - truth, found.error) for found in volumes]).T


def test_the_interval_of_the_log_volume_covers_the_truth(runs):
    """At 95% coverage fewer than 85 of 100 have α = 4e-5; at 70% they have 99.95%."""
    off, error = runs
    assert (abs(off) <= student.ppf(0.975, 7) * error).sum() >= 85


def test_the_stated_error_is_the_spread_of_the_runs(runs):
    """The ratio has a standard error of 8%: α = 1e-4 or less; errors twice or half as large are seen."""
    off, error = runs
    assert 0.7 < math.sqrt((error**2).mean()) / off.std(ddof=1) < 1.4


def test_the_log_volume_is_not_biased(runs):
    """t with 99 degrees of freedom: α = 1e-4; an offset of half a run's standard error is seen."""
    off, _ = runs
    assert abs(off.mean()) < 4.05 * off.std(ddof=1) / math.sqrt(len(off))

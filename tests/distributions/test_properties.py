"""What holds for any metric: centroids, covariances and constants as they come."""

import pickle
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrogeo.distributions import RiemannianUniform, crossing, survey, uniform
from pyrogeo.geometry import DiagonalCentroidMetric, FullCentroidMetric

pytestmark = pytest.mark.filterwarnings("ignore::pyrogeo.errors.VacuumWarning")
FORTY = settings(max_examples=40, derandomize=True, deadline=None)


def rotations(n, d, generator):
    noise = torch.randn(n, d, d, generator=generator, dtype=torch.float64)
    return torch.linalg.qr(noise).Q


@st.composite
def metrics(draw, most_centroids=50, highest_dimension=20):
    """Diagonal and full; each covariance has eigenvalues from 10⁻³ to 10³, in any order."""
    k = draw(st.integers(1, most_centroids))
    d = draw(st.integers(1, highest_dimension))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    centroids = torch.randn(k, d, generator=generator, dtype=torch.float64)
    centroids *= 10.0 ** draw(st.integers(-2, 2))
    variances = 10 ** (6 * torch.rand(k, d, generator=generator, dtype=torch.float64) - 3)
    constants = {
        "bandwidth": 10.0 ** draw(st.floats(-1, 1)),
        "regularization": draw(st.sampled_from([0.0, 1e-4, 1e-2, 1.0])),
        "decay": draw(st.sampled_from([None, 1e-3, 0.1, 10.0])),
    }
    if draw(st.booleans()):
        return DiagonalCentroidMetric(centroids, variances, **constants)
    q = rotations(k, d, generator)
    covariances = q @ torch.diag_embed(variances) @ q.mT
    return FullCentroidMetric(centroids, 0.5 * (covariances + covariances.mT), **constants)


def points(metric, seed):
    """Centroids, points between and near them, and points up to 10³ of the largest scale away."""
    generator = torch.Generator().manual_seed(seed)
    c = metric.centroids
    scale = c.abs().max() + 1e3**0.5 * metric.bandwidth
    direction = torch.randn(12, metric.dimension, generator=generator, dtype=torch.float64)
    direction = direction / direction.norm(dim=1, keepdim=True)
    far = torch.logspace(-3, 3, 12, dtype=torch.float64)[:, None] * scale * direction
    return torch.cat([c[:10], 0.5 * (c[:10] + c[-1]), far])


@FORTY
@given(metrics(), st.integers(0, 2**31))
def test_values_and_gradients_are_finite_and_autograd_s(metric, seed):
    """Everywhere, and the gradient to 1e-6 relative to 1 + its norm.

    At a centroid the gradient is a small difference of terms up to 10⁸ here (centroids 10² from
    their mean, precisions of 10³, ρ = 0.1), hence not to rounding: 600 examples gave 6e-8 at most.
    """
    z = points(metric, seed)
    value, gradient = metric.log_volume_element_and_grad(z)
    assert torch.isfinite(value).all()
    assert torch.isfinite(gradient).all()
    leaf = z.clone().requires_grad_()
    again = metric.log_volume_element(leaf)
    (expected,) = torch.autograd.grad(again.sum(), leaf)
    torch.testing.assert_close(value, again.detach(), rtol=1e-9, atol=1e-9)
    difference = (gradient - expected).norm(dim=1) / (1 + expected.norm(dim=1))
    assert difference.max() < 1e-6


@FORTY
@given(metrics(), st.integers(0, 2**31))
def test_the_potential_survives_a_pickle(metric, seed):
    z = points(metric, seed)
    potential = RiemannianUniform(metric).potential
    copy = pickle.loads(pickle.dumps(potential))
    assert torch.equal(copy({"z": z}), potential({"z": z}))
    for ours, theirs in zip(potential.value_and_grad(z), copy.value_and_grad(z), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.filterwarnings("ignore:centroids overlap so strongly")
@pytest.mark.filterwarnings("ignore:exact draws start from a law that may miss")
@FORTY
@given(metrics(), st.integers(0, 2**31))
def test_draws_are_finite_and_of_the_shape_asked_for(metric, seed):
    """With populations of 128, and as many points in surveys, for time."""
    torch.manual_seed(seed)
    with (
        patch.object(uniform, "_SMALLEST_POPULATION", 128),
        patch.object(crossing, "_PILOT", 128),
        patch.object(survey, "_POINTS", 128),
        patch.object(survey, "_WANDERERS", 16),
    ):
        density = RiemannianUniform(metric)
        for shape in [(), (3,), (4, 50)]:
            z = density.sample(shape)
            assert z.shape == (*shape, metric.dimension)
            assert torch.isfinite(z).all()
            assert torch.isfinite(density.log_density(z)).all()

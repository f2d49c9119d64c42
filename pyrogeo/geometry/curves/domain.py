"""Whether a metric is one at the points that a curve is to pass."""

import torch
from torch import Tensor

from pyrogeo.errors import NotPositiveDefiniteError
from pyrogeo.geometry.metrics.base import Metric

__all__ = ["check_inside", "check_metric"]


def check_inside(metric: Metric, z: Tensor, name: str = "") -> None:
    """Points `(*, d)` of the metric's domain, where `check_metric` finds nothing wrong, or an error.

    Raises:
        ValueError, NotPositiveDefiniteError
    """
    outside = ~metric.contains(z)
    if outside.any():
        raise ValueError(f"{name}{z[outside][0].tolist()} lies outside the metric's domain")
    check_metric(metric, z)


def check_metric(metric: Metric, z: Tensor) -> None:
    """Finite symmetric positive definite matrices of the right shape at points `(*, d)`, or an error
    that names the first point without one.

    Raises:
        ValueError, NotPositiveDefiniteError
    """
    with torch.no_grad():
        g = metric(z)
    if g.shape != (*z.shape, z.shape[-1]):
        expected = (*z.shape, z.shape[-1])
        raise ValueError(f"the metric maps {tuple(z.shape)} to {tuple(g.shape)}, not to {expected}")
    size = g.abs().amax((-2, -1))
    for bad, quality in (
        (~torch.isfinite(g).all(-1).all(-1), "finite"),
        ((g - g.mT).abs().amax((-2, -1)) > 1e-5 * size, "symmetric"),
        (torch.linalg.cholesky_ex(g).info > 0, "positive definite"),
    ):
        if bad.any():
            where = z[bad][0].tolist()
            raise NotPositiveDefiniteError(f"the metric is not {quality} at z = {where}")

"""Metrics: a symmetric positive definite matrix at every latent point, in several makes."""

from pyrogeo.geometry.metrics.base import Metric
from pyrogeo.geometry.metrics.centroid import (
    CentroidMetric,
    DiagonalCentroidMetric,
    FullCentroidMetric,
)
from pyrogeo.geometry.metrics.conformal import Conformal, volume_seeking
from pyrogeo.geometry.metrics.constant import Constant, Euclidean
from pyrogeo.geometry.metrics.learned import LearnedMetric
from pyrogeo.geometry.metrics.pullback import Pullback

__all__ = [
    "CentroidMetric",
    "Conformal",
    "Constant",
    "DiagonalCentroidMetric",
    "Euclidean",
    "FullCentroidMetric",
    "LearnedMetric",
    "Metric",
    "Pullback",
    "volume_seeking",
]

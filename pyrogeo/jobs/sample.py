"""Draws into a run, with a metric of its posteriors: what `pyrogeo sample` decides."""

import os
from typing import Any

from pyrogeo.geometry import Metric
from pyrogeo.run import Run
from pyrogeo.sampling.methods import Method, chosen

__all__ = ["sample_run"]


def sample_run(
    folder: str | os.PathLike[str],
    num_samples: int,
    method: str | Method | Any = "nuts",
    *,
    name: str | None = None,
    replace: bool = False,
    n_centroids: int | None = None,
    shape: dict[str, float] | None = None,
    settings: dict[str, Any] | None = None,
    seed: int = 0,
    progress: bool = True,
) -> tuple[Metric | None, Any, str]:
    """Makes a metric of a run's posteriors, draws with it, and keeps both.

    Args:
        folder: of the run.
        num_samples: of each chain.
        method, name, replace: as of `Run.sample`.
        n_centroids: by default 100, or all where there are fewer.
        shape: `bandwidth`, `regularization` and `decay` of the metric.
        settings: of the method.
        seed: of centroids and draws.
        progress: show bars.

    Returns:
        the metric, or None where the run makes none and the method needs none; the draws; their name.

    Raises:
        ValueError: for a setting that the method has not, and as `Run.sample` does.
    """
    run, record = Run(folder), chosen(method)
    name = record.name if name is None else name
    settings = {**(settings or {})}
    settings |= {
        k: v for k, v in {"seed": seed, "progress": progress}.items() if k in record.settings
    }
    metric = None
    if run.has_covariances or "metric" in record.needs:
        metric = run.make_metric(n_centroids, **(shape or {}), seed=seed)
    draws = run.sample(num_samples, record, name=name, metric=metric, replace=replace, **settings)
    return metric, draws, name

"""The uniform distribution on the manifold: density ∝ √det G(z) with respect to dz."""

import math
import warnings
from typing import ClassVar

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.smc import anneal, warn_if_hard
from pyrogeo.errors import VacuumWarning
from pyrogeo.geometry import CentroidMetric, Metric

__all__ = ["RiemannianUniform"]

_SMALLEST_POPULATION = 2048
_ISLANDS = 8
_VACUUM_LIMIT = 0.05


class RiemannianUniform(TorchDistribution):
    """U(z) = √det G(z) / ∫ √det G(z) dz (slides, *New Sampling Procedure*).

    `potential` goes to any Pyro kernel, `sample` draws exactly (by sequential Monte Carlo, see
    `pyrogeo.distributions.smc`), `log_prob` is normalised by `log_volume`.

    A `CentroidMetric` must make the density proper: with τ = 0 and λ > 0 the volume of ℝᵈ is
    infinite. One whose λ term alone, the vacuum, holds more than 5% of the volume warns: those draws
    lie where no training point does.

    Args:
        metric: any `Metric`.
        dimension: d, for a metric without an attribute `dimension`.

    Raises:
        ValueError: for a metric of infinite volume, or of unknown dimension.
        NotImplementedError: in `sample`, `log_prob` and whatever needs the volume, for a metric that is
            no `CentroidMetric`; `pyrogeo.sample` makes chains.

    Warns:
        VacuumWarning: when the vacuum holds more than 5% of the volume.

    >>> from torch.distributions import Normal
    >>> posterior = Normal(torch.eye(2).double(), torch.full((2, 2), 0.1).double())
    >>> density = RiemannianUniform(CentroidMetric.from_posterior(posterior, None))
    >>> density.log_density(torch.eye(2).double())
    tensor([4.6052, 4.6052], dtype=torch.float64)
    >>> density.sample((5,)).shape
    torch.Size([5, 2])
    """

    arg_constraints: ClassVar[dict] = {}
    support = constraints.real_vector

    def __init__(
        self, metric: Metric, dimension: int | None = None, validate_args: bool | None = None
    ):
        if not isinstance(metric, Metric):
            raise ValueError(f"expected a Metric, got {type(metric)}")
        d = getattr(metric, "dimension", dimension)
        if not isinstance(d, int) or d < 1 or dimension not in (None, d):
            raise ValueError(
                f"expected the dimension of {type(metric).__name__}, "
                f"{getattr(metric, 'dimension', 'a positive integer')}; pass dimension=..., got "
                f"{dimension!r}"
            )
        if isinstance(metric, CentroidMetric) and metric.log_vacuum_volume == math.inf:
            raise ValueError(
                "with decay τ = 0 and regularization λ > 0 the manifold has infinite volume and no "
                "uniform distribution; use decay=None, or τ > 0"
            )
        self.metric = metric
        self._cache: dict[str, Tensor] = {}
        self._cached_for: tuple | None = None
        super().__init__(event_shape=(d,), validate_args=validate_args)
        self._warn_of_vacuum()

    @property
    def potential(self) -> Potential:
        """−½ log det G, for `HMC(potential_fn=density.potential)`."""
        return Potential(self.metric)

    def log_density(self, z: Tensor) -> Tensor:
        """½ log det G(z), the log-density up to `log_volume`, for points `(*, d)`, shape `(*,)`."""
        return self.metric.log_volume_element(z)

    def log_prob(self, value: Tensor) -> Tensor:
        """The normalised log-density; the first call estimates the volume."""
        if self._validate_args:
            self._validate_sample(value)
        return self.log_density(value) - self.log_volume

    @property
    def log_volume(self) -> float:
        """log ∫ √det G dz: the logarithm of the mean of eight independent islands' estimates."""
        volumes = self._island_log_volumes()
        return (volumes.logsumexp(0) - math.log(_ISLANDS)).item()

    @property
    def log_volume_error(self) -> float:
        """Standard error of `log_volume` by the delta method; Student's t with 7 degrees of freedom."""
        relative = (self._island_log_volumes() - self.log_volume).exp()
        return (relative.std() / math.sqrt(_ISLANDS)).item()

    @property
    def vacuum_share(self) -> float:
        """W / volume: the share of the λ term alone, which knows no data."""
        return math.exp(self._mixture_metric().log_vacuum_volume - self.log_volume)

    @property
    def may_be_void(self) -> bool:
        """Whether the vacuum may hold more than 5% of the volume, told without estimating that.

        For d ≥ 2 the volume is at least V + W, the centroids' share and the vacuum's (Minkowski).
        """
        metric = self._mixture_metric()
        odds = metric.log_vacuum_volume - metric.log_mixture_volume
        limit = (
            -math.inf if metric.dimension == 1 else math.log(_VACUUM_LIMIT / (1 - _VACUUM_LIMIT))
        )
        return odds > limit

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Exact draws of shape `(*sample_shape, d)`.

        Small requests are served without replacement from a population that is kept, and made
        anew when used up; a population has at least 2,048 points.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        n = shape[:-1].numel()
        if n >= _SMALLEST_POPULATION:
            return self._population(n).reshape(shape)
        cache = self._current_cache()
        if len(cache.get("pool", ())) < n:
            cache["pool"] = self._population(_SMALLEST_POPULATION)
        draws, cache["pool"] = cache["pool"][:n], cache["pool"][n:]
        return draws.reshape(shape)

    def _population(self, n: int) -> Tensor:
        population = anneal(self._mixture_metric(), n)
        warn_if_hard([population])
        return population.particles

    @property
    def num_starts(self) -> int:
        """How many different starts `initial` has.

        Raises:
            ValueError: for a metric without centroids.
        """
        if not isinstance(self.metric, CentroidMetric):
            raise ValueError(
                f"{type(self.metric).__name__} has no centroids; pass initial_params=..."
            )
        return len(torch.unique(self.metric.centroids, dim=0))

    def initial(self, n: int) -> Tensor:
        """`n` different centroids, in random order, to start chains from; shape `(n, d)`.

        Raises:
            ValueError: for more starts than there are, or a metric without centroids.
        """
        if not isinstance(self.metric, CentroidMetric):
            raise ValueError(
                f"{type(self.metric).__name__} has no centroids; pass initial_params=..."
            )
        starts = torch.unique(self.metric.centroids, dim=0)
        if n < 1:
            raise ValueError(f"expected a positive number of starts, got {n}")
        if n > len(starts):
            raise ValueError(
                f"{n} chains need {n} different starts, the metric has {len(starts)} different "
                "centroids; pass initial_params=..."
            )
        return starts[torch.randperm(len(starts), device=starts.device)[:n]]

    def _island_log_volumes(self) -> Tensor:
        cache = self._current_cache()
        if "log_volumes" not in cache:
            metric = self._mixture_metric()
            islands = [
                anneal(metric, _SMALLEST_POPULATION, volume_only=True) for _ in range(_ISLANDS)
            ]
            volumes = [island.log_volume for island in islands]
            cache["log_volumes"] = torch.tensor(volumes, dtype=torch.float64)
        return cache["log_volumes"]

    def _current_cache(self) -> dict[str, Tensor]:
        """Populations and volumes, forgotten when the metric was moved, cast or loaded anew."""
        tensors = self.metric.state_dict().values()
        state = tuple((t.data_ptr(), t._version, t.dtype, t.device) for t in tensors)
        if state != self._cached_for:
            self._cache, self._cached_for = {}, state
        return self._cache

    def _mixture_metric(self) -> CentroidMetric:
        if isinstance(self.metric, CentroidMetric):
            return self.metric
        raise NotImplementedError(
            f"exact draws start from the Gaussian mixture of a CentroidMetric, which "
            f"{type(self.metric).__name__} has not; use pyrogeo.sample(density, ...) for chains"
        )

    def _warn_of_vacuum(self) -> None:
        metric = self.metric
        if not isinstance(metric, CentroidMetric):
            return
        if not self.may_be_void:
            return
        with forked(derived_seed(fresh_seed(None), 1)):  # not the stream that draws will come from
            share = self.vacuum_share
        if share > _VACUUM_LIMIT:
            warnings.warn(
                f"the vacuum, the λ term far from all centroids, holds {share:.1%} of the volume; "
                "decay=None, or a larger τ, makes it less",
                VacuumWarning,
                stacklevel=3,
            )

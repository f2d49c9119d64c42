"""The uniform distribution on the manifold: density ∝ √det G(z) with respect to dz."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import Distribution, constraints

from pyrogeo._checks import as_tensor
from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo._threads import threads_for
from pyrogeo.annealing import Population, Proposal, anneal
from pyrogeo.distributions._kept import Kept, seed_of
from pyrogeo.distributions.crossing import crossing_law
from pyrogeo.distributions.potential import Potential
from pyrogeo.distributions.proposal import agreed_dimension, as_proposal, proposal_of
from pyrogeo.distributions.smc import VolumeElement, warn_if_hard, warn_if_in_doubt
from pyrogeo.distributions.starts import different_centroids, farthest_first
from pyrogeo.distributions.survey import Overlap, overlap_of
from pyrogeo.distributions.terms import atoms
from pyrogeo.errors import VacuumWarning
from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.geometry.precision import floating_point

__all__ = ["RiemannianUniform", "VolumeEstimate"]

_SMALLEST_POPULATION = 2048
_ISLANDS = 8
_VACUUM_LIMIT = 0.05


class VolumeEstimate(NamedTuple):
    """What `RiemannianUniform.estimate_volume` found.

    Attributes:
        log_volume: the logarithm of the mean of eight independent islands' estimates.
        error: its standard error by the delta method; Student's t with 7 degrees of freedom.

    >>> print(VolumeEstimate(18.25117, 0.0031))
    log-volume 18.2512 ± 0.0031 (standard error)
    """

    log_volume: float
    error: float

    def __str__(self) -> str:
        return f"log-volume {self.log_volume:.4f} ± {self.error:.2g} (standard error)"


class RiemannianUniform(TorchDistribution):
    """U(z) = √det G(z) / ∫ √det G(z) dz (slides, *New Sampling Procedure*).

    `potential` goes to any Pyro kernel, `sample` draws exactly (by sequential Monte Carlo, see
    `pyrogeo.annealing`), `log_prob` is normalised by `log_volume`.

    **Who can be drawn exactly.** A `CentroidMetric` brings its proposal, a mixture of Gaussians for single
    centroids, the vacuum and where centroids cross. Any other metric takes one from the user: a distribution
    over points that covers the density, or any `Proposal`. `overlap` says how well it does, by the weights
    of its draws and, with centroids, by a probe for mass that none of them hit; where that leaves
    doubt, drawing and estimating warn. For a metric without centroids, mass where the proposal has none is lost
    unseen.

    **The vacuum.** A metric's λ term must leave the density proper: with τ = 0 and λ > 0 the volume of
    ℝᵈ is infinite. One whose λ term alone, the vacuum, may hold more than 5% of the volume warns: such
    draws lie where no training point does. The warning goes by a bound in closed form, `vacuum_bound`;
    `vacuum_share` estimates the share itself.

    **Randomness.** Only `sample` uses torch's global state. Volumes are estimated when first asked for,
    with a seed that depends on the metric's numbers alone: the same metric has the same `log_volume`.

    **Copies.** A deep copy or pickle keeps the volume that was estimated. The draws that are kept for
    small requests stay with the original, so that no draw is served twice.

    **Precision.** The density is computed in the metric's precision.

    Args:
        metric: any `Metric`.
        dimension: d, for a metric without an attribute `dimension` and a proposal that does not tell.
        proposal: a distribution of event shape `(d,)`, or a `Proposal`; None takes the metric's own.
        dtype: of draws and `log_prob`; None takes the metric's for draws, the points' for `log_prob`.

    Raises:
        ValueError: for a metric of infinite volume or of unknown dimension, a proposal of another
            dimension or without what it needs, and a dtype that is not floating-point.
        NotImplementedError: in `sample`, `log_prob` and whatever needs the volume, without a proposal;
            `pyrogeo.sample` makes chains.

    Warns:
        VacuumWarning: when the vacuum may hold more than 5% of the volume.
        SamplingWarning: when drawing or estimating the volume, if the proposal may miss mass of the
            density, and when drawing, if the way between them is long.

    >>> from torch.distributions import Normal
    >>> from pyrogeo.geometry import CentroidMetric
    >>> posterior = Normal(torch.eye(2).double(), torch.full((2, 2), 0.1).double())
    >>> density = RiemannianUniform(CentroidMetric.from_posterior(posterior, None))
    >>> density.log_density(torch.eye(2).double())
    tensor([4.6052, 4.6052], dtype=torch.float64)
    >>> density.sample((5,)).shape
    torch.Size([5, 2])
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(
        self,
        metric: Metric,
        dimension: int | None = None,
        *,
        proposal: Proposal | Distribution | None = None,
        dtype: torch.dtype | None = None,
        validate_args: bool | None = None,
    ):
        if not isinstance(metric, Metric):
            raise ValueError(f"expected a Metric, got {type(metric)}")
        self.metric, self.dtype = metric, floating_point("dtype", dtype)
        self._own = None if proposal is None else as_proposal(proposal, metric.dtype)
        d = agreed_dimension(metric, self._own, dimension)
        if self._log_vacuum_volume == math.inf:
            raise ValueError(
                "with decay τ = 0 and regularization λ > 0 the manifold has infinite volume and no "
                "uniform distribution; use decay=None, or τ > 0"
            )
        self._kept = Kept(metric)
        super().__init__(event_shape=torch.Size((d,)), validate_args=validate_args)
        self._warn_of_vacuum()

    @property
    def potential(self) -> Potential:
        """−½ log det G, for `HMC(potential_fn=density.potential)`."""
        return Potential(self.metric, self._own)

    @property
    def proposal(self) -> Proposal | None:
        """What exact draws start from; None without any.

        The user's proposal, or else the metric's own; for a `CentroidMetric`, a mixture that covers √det G where
        centroids cross, too (`crossing_law`), made when first asked for and seeded by the metric's numbers.
        """
        if self._own is not None or not self._has_atoms:
            return proposal_of(self.metric) if self._own is None else self._own
        return self._kept.aid("law", self._crossing_law)

    @property
    def overlap(self) -> Overlap:
        """How well what exact draws start from covers the density, as a survey saw it; seeded by the metric.

        Raises:
            NotImplementedError: without a proposal.
        """
        return self._kept.fact("overlap", self._overlap)

    def log_density(self, z: Tensor) -> Tensor:
        """½ log det G(z), the log-density up to `log_volume`, for points `(*, d)`, shape `(*,)`."""
        value = self.metric.log_volume_element(z)
        return value.to(self.dtype or value.dtype)

    def log_prob(self, value: Tensor) -> Tensor:
        """The normalised log-density; the first call estimates the volume."""
        value = as_tensor("value", value)
        if self._validate_args:
            self._validate_sample(value)
        return self.log_density(value) - self.log_volume

    @property
    def log_volume(self) -> float:
        """log ∫ √det G dz as last estimated, if need be now; the same for the same metric."""
        return self._volume().log_volume

    @property
    def log_volume_error(self) -> float:
        """Standard error of `log_volume` by the delta method; Student's t with 7 degrees of freedom."""
        return self._volume().error

    def estimate_volume(self, seed: int | None = None) -> VolumeEstimate:
        """Estimates log ∫ √det G dz by eight independent islands, and keeps it as `log_volume`.

        Where `overlap` is in doubt, its error is added to theirs.

        Args:
            seed: None takes one that depends on the metric's numbers alone. Torch's global state is
                left as it is.

        Raises:
            NotImplementedError: without a proposal.
            ValueError: for a seed that is no integer from 0 to 2³² − 1.
        """
        seed = seed_of(self.metric) if seed is None else fresh_seed(seed)
        with forked(seed, self.device):
            runs = [self._anneal(_SMALLEST_POPULATION, True) for _ in range(_ISLANDS)]
        volumes = torch.tensor([run.log_normalizer for run in runs], dtype=torch.float64)
        mean = (volumes.logsumexp(0) - math.log(_ISLANDS)).item()
        error = ((volumes - mean).exp().std() / math.sqrt(_ISLANDS)).item()
        warn_if_in_doubt(self.overlap)
        self._kept.keep("volume", VolumeEstimate(mean, math.hypot(error, self.overlap.error)))
        return self._volume()

    @property
    def vacuum_share(self) -> float:
        """W / volume, estimated: the share of the λ term alone, which knows no data; at most 1."""
        return math.exp(min(0.0, self._log_vacuum_volume - self.log_volume))

    @property
    def vacuum_bound(self) -> float:
        """An upper bound of `vacuum_share` in closed form.

        With the centroids' volume V and the vacuum's W, the volume is for d ≥ 2 at least V + W
        (Minkowski), and for d = 1 at least V/√K and (V + W)/√(K + 1) (Cauchy and Schwarz).
        """
        log_w = self._log_vacuum_volume
        if log_w == -math.inf:
            return 0.0
        metric: Any = self.metric  # one with a vacuum has centroids
        log_v, k = metric.log_mixture_volume, metric.n_centroids
        least = max(log_v, log_w) + math.log1p(math.exp(-abs(log_v - log_w)))
        if self.event_shape[0] == 1:
            least = max(log_v - 0.5 * math.log(k), least - 0.5 * math.log(k + 1), log_w)
        return math.exp(log_w - least)

    @property
    def may_be_void(self) -> bool:
        """Whether the vacuum may hold more than 5% of the volume, told without estimating that."""
        return self.vacuum_bound > _VACUUM_LIMIT

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Exact draws of shape `(*sample_shape, d)`.

        Small requests are served without replacement from a population that is kept, and made
        anew when used up; a population has at least 2,048 points.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        n = shape[:-1].numel()
        z = self._drawn(n) if n >= _SMALLEST_POPULATION else self._kept.draws(n, self._drawn)
        return z.reshape(shape).to(self.dtype or z.dtype)

    def population(self, n: int) -> Population:
        """One run of sequential Monte Carlo: at least 2,048 points and at least n, with what happened.

        Args:
            n: how many points are wanted; they are drawn with torch's global generator.

        Raises:
            NotImplementedError: without a proposal.
        """
        return self._anneal(max(n, _SMALLEST_POPULATION))

    @property
    def device(self) -> torch.device:
        """Where draws are made: the metric's device, and if it has none the proposal's."""
        scale = getattr(self._own, "scale", None)
        return scale.device if torch.is_tensor(scale) else self.metric.device or torch.device("cpu")

    @property
    def num_starts(self) -> int:
        """How many different starts `initial` has.

        Raises:
            ValueError: for a metric without centroids.
        """
        return len(different_centroids(self.metric))

    def initial(self, n: int) -> Tensor:
        """`n` different centroids that lie far apart, to start chains from; shape `(n, d)`.

        Farthest first: one at random, by torch's global generator, then again and again the one that is
        farthest from all before it.

        Raises:
            ValueError: for more starts than there are, or a metric without centroids.
        """
        return farthest_first(different_centroids(self.metric), n)

    def _volume(self) -> VolumeEstimate:
        return self._kept.fact("volume", self.estimate_volume)

    @property
    def _log_vacuum_volume(self) -> float:
        return getattr(self.metric, "log_vacuum_volume", -math.inf)

    def _drawn(self, n: int = 0) -> Tensor:
        population = self.population(n)
        warn_if_hard([population], self.proposal, stacklevel=5)
        warn_if_in_doubt(self.overlap, stacklevel=5)
        return population.particles

    def _anneal(self, n: int, volume_only: bool = False) -> Population:
        proposal = self._start()
        with threads_for(n, self.metric):
            return anneal(VolumeElement(self.metric), proposal, n, normalizer_only=volume_only)

    def _start(self) -> Proposal:
        proposal = self.proposal
        if proposal is None:
            raise NotImplementedError(
                f"exact draws start from a proposal, such as the Gaussian mixture of a CentroidMetric; "
                f"{type(self.metric).__name__} has none: pass proposal=..., or use "
                "pyrogeo.sample(density, ...) for chains"
            )
        return proposal

    @property
    def _has_atoms(self) -> bool:
        """Whether √det G has terms in closed form: a metric of centroids that brings no law of its own."""
        return isinstance(self.metric, CentroidMetric) and not hasattr(self.metric, "proposal")

    def _crossing_law(self) -> Proposal:
        assert isinstance(self.metric, CentroidMetric)
        threads = threads_for(_SMALLEST_POPULATION, self.metric)
        with forked(seed_of(self.metric), self.device), threads:
            return crossing_law(self.metric)

    @torch.no_grad()
    def _overlap(self) -> Overlap:
        law, metric = self._start(), self.metric
        of = atoms(metric) if isinstance(metric, CentroidMetric) else None
        threads = threads_for(_SMALLEST_POPULATION, metric)
        with forked(derived_seed(seed_of(metric), 1), self.device), threads:
            return overlap_of(VolumeElement(metric), law, of)

    def _warn_of_vacuum(self) -> None:
        if self.may_be_void:
            warnings.warn(
                "the vacuum, the λ term far from all centroids, may hold up to "
                f"{self.vacuum_bound:.1%} of the volume: a bound, of which vacuum_share estimates the "
                "truth; decay=None, or a larger τ, makes it less",
                VacuumWarning,
                stacklevel=3,
            )

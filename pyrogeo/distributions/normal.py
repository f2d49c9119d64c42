"""The Riemannian Gaussian: density ∝ exp(−dist(z, μ)² / 2σ) with respect to the volume √det G dz."""

import math
import warnings
from typing import Any, ClassVar, NamedTuple

import torch
from pyro.distributions import MultivariateNormal, MultivariateStudentT, TorchDistribution
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import constraints

from pyrogeo.distributions.mixture import GeometricMixture, StartingLaw
from pyrogeo.errors import GeodesicWarning, NonFiniteDensityError, SamplingWarning
from pyrogeo.geometry import CentroidMetric, Curve, Metric, geodesic
from pyrogeo.geometry.curves.domain import check_inside

__all__ = ["RiemannianNormal"]

_PROPOSALS_PER_DRAW = 4
_SMALLEST_ESS = 0.1
_NEGLIGIBLE, _LINE_SEGMENTS = 30.0, 16
_WIDER, _DEGREES = 2.0, 4.0  # scale and degrees of freedom of Student's t, for the tails


class RiemannianNormal(TorchDistribution):
    """N(z | μ, σ) ∝ exp(−dist_G(z, μ)² / 2σ) √det G(z) with respect to dz (slides, Eq. 3).

    With a constant G it is N(μ, σ G⁻¹). Elsewhere the constant is not known: `log_density` leaves it
    out, `log_prob` takes the estimate `log_normalizer`.

    **Cost.** Each value of the density takes a geodesic, hundreds to thousands of which are solved in a
    second; fewer segments, such as `solver=Newton(num_segments=16)`, make them cheaper. The first `log_prob` or
    `sample` solves `num_proposals` of them, and so does each further `num_proposals / 4` draws.

    **Draws** are resampled by their importance from equal shares of N(μ, σ G(μ)⁻¹), a Student t twice as
    wide, and, of a `CentroidMetric`, the geometric mixture with the vacuum's Gaussian, which lies
    where √det G does. Four proposals are made for each draw, and a draw is repeated only if it weighs
    more than four times the mean. The error vanishes as `num_proposals` grows; `importance_ess` says
    how good the proposals are.

    **Gradients.** `log_density` and `log_prob` are differentiable in z, once, by ∇½dist² = −♭ log_z(μ),
    from the same geodesic: NUTS and SVI can use it as a prior. μ and σ are constants.

    The distance is the length of a geodesic, which may be longer than the shortest. Where one did not
    converge, or a way through infinity is shorter, a `GeodesicWarning` says how many did; the density is
    that of the curve that was found. Outside the metric's domain the density is zero.

    Args:
        metric: any `Metric` that autograd can differentiate twice.
        loc: μ, shape `(d,)`, in the metric's dtype.
        sigma: σ > 0, the square of a length: for small σ the variance along each direction.
        num_proposals: for one population.
        options: of `geodesic`, such as `solver=`.

    Raises:
        ValueError: for a σ that is not positive, a μ of another shape or dtype or outside the metric's
            domain, and for options out of range.
        NotPositiveDefiniteError: if G(μ) is not symmetric positive definite.
        NonFiniteDensityError: when first drawn from or normalised, if no proposal has a finite density.

    Warns:
        SamplingWarning: when the effective sample size of the proposals is below 10%.

    >>> from pyrogeo.geometry import Euclidean
    >>> RiemannianNormal(Euclidean(), torch.zeros(2), 0.5).log_density(torch.tensor([1.0, 1.0]))
    tensor(-2.0000)
    """

    arg_constraints: ClassVar[dict] = {}
    support = constraints.real_vector

    def __init__(
        self,
        metric: Metric,
        loc: Tensor,
        sigma: float = 1.0,
        *,
        num_proposals: int = 4096,
        validate_args: bool | None = None,
        **options: Any,
    ):
        _check(metric, loc, sigma, num_proposals)
        self.metric, self.loc, self.sigma = metric, loc.detach().clone(), float(sigma)
        self.num_proposals, self.options = num_proposals, options
        _check_options(metric, self.loc[None], options)
        self._population: _Population | None = None
        self._pool = self.loc.new_empty(0, len(loc))
        self._cached_for = self._metric_state()
        super().__init__(event_shape=loc.shape, validate_args=validate_args)

    def log_density(self, z: Tensor) -> Tensor:
        """−dist(z, μ)² / 2σ + ½ log det G(z), the log-density up to `log_normalizer`.

        Args:
            z: points `(*, d)`; a geodesic is solved for each.

        Returns:
            shape `(*,)`; −∞ outside the metric's domain.

        Raises:
            ValueError: for points of another dimension.
        """
        if z.shape[-1:] != self.event_shape:
            raise ValueError(f"expected points (*, {len(self.loc)}), got {tuple(z.shape)}")
        flat = z.reshape(-1, len(self.loc))
        inside = self.metric.contains(flat)
        value = torch.full_like(flat[:, 0], -torch.inf)
        if inside.any():
            value = value.masked_scatter(inside, self._log_density(flat[inside]))
        return value.reshape(z.shape[:-1])

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density with its estimated constant, whose error is `log_normalizer_error`."""
        if self._validate_args:
            self._validate_sample(value)
        return self.log_density(value) - self.log_normalizer

    @property
    def log_normalizer(self) -> float:
        """log ∫ exp(−dist(z, μ)² / 2σ) √det G dz, estimated by importance sampling.

        The proposals' laws are control variates, which make it exact if G is constant.
        """
        return self._current_population().log_normalizer

    @property
    def log_normalizer_error(self) -> float:
        """Standard error of `log_normalizer`, by the delta method."""
        return self._current_population().error

    @property
    def importance_ess(self) -> float:
        """Effective sample size of the proposals, as a share of them."""
        return self._current_population().ess

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:
        """Draws of shape `(*sample_shape, d)`.

        They are taken without replacement from populations that are kept until they are used up.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        n = shape[:-1].numel()
        self._current_population()
        while len(self._pool) < n:
            self._pool = torch.cat([self._pool, self._populate().draws])
        draws, self._pool = self._pool[:n], self._pool[n:]
        return draws.reshape(shape)

    def _log_density(self, z: Tensor) -> Tensor:
        energy = _HalfSquaredDistance.apply(z, self.loc, self.metric, self.options)
        return self.metric.log_volume_element(z) - energy / self.sigma

    def _metric_state(self) -> tuple:
        tensors = self.metric.state_dict().values()
        return tuple((t.data_ptr(), t._version, t.dtype, t.device) for t in tensors)

    def _current_population(self) -> "_Population":
        """The first one, which is forgotten when the metric was changed."""
        state = self._metric_state()
        if self._population is None or state != self._cached_for:
            self._population, self._cached_for = self._populate(), state
            self._pool = self._population.draws
        return self._population

    @torch.no_grad()
    def _populate(self) -> "_Population":
        laws = self._laws()
        counts = [len(part) for part in torch.arange(self.num_proposals).tensor_split(len(laws))]
        z = torch.cat([law.sample((n,)) for law, n in zip(laws, counts, strict=True)])
        components = torch.stack([law.log_prob(z) for law in laws], 1)
        log_q = components.logsumexp(1) - math.log(len(laws))
        log_weights = torch.full_like(log_q, -torch.inf)
        some = self._may_matter(z, log_q)
        log_weights[some] = self.log_density(z[some]) - log_q[some]
        if not (log_weights < torch.inf).all() or log_weights.max() == -torch.inf:
            raise NonFiniteDensityError(f"the density of {self} is not finite at some proposals")
        value, error = _log_mean(log_weights, (components[:, 1:] - log_q[:, None]).exp() - 1)
        ess = (2 * log_weights.logsumexp(0) - (2 * log_weights).logsumexp(0)).exp().item() / len(z)
        _warn_of(ess, len(z))
        draws = z[_systematic(log_weights, max(1, len(z) // _PROPOSALS_PER_DRAW))]
        return _Population(draws, value, error, ess)

    def _may_matter(self, z: Tensor, log_q: Tensor) -> Tensor:
        """Which proposals may weigh more than e⁻³⁰ of the heaviest: a distance lies between zero and the
        length of a straight line. The others, often far away, take no geodesic."""
        inside = self.metric.contains(z)
        near = z[inside]
        most = self.metric.log_volume_element(near) - log_q[inside]
        line = Curve.line(self.loc, near, _LINE_SEGMENTS).length(self.metric)
        least = most - 0.5 * line.nan_to_num(torch.inf) ** 2 / self.sigma
        return inside.masked_scatter(inside, most > least.max() - _NEGLIGIBLE)

    def _laws(self) -> list:
        """The proposals, in equal shares: the first is right if G is constant, the second has heavy
        tails, the third knows where the volume is."""
        precision = self.metric.cholesky(self.loc)
        factor = torch.linalg.cholesky(self.sigma * torch.cholesky_inverse(precision))
        degrees = torch.tensor(_DEGREES).to(self.loc)
        laws = [
            MultivariateNormal(self.loc, scale_tril=factor, validate_args=False),
            MultivariateStudentT(degrees, self.loc, _WIDER * factor, validate_args=False),
        ]
        if not isinstance(self.metric, CentroidMetric):
            return laws
        if self.metric.log_vacuum_volume == math.inf:
            return [*laws, GeometricMixture(self.metric, validate_args=False)]
        return [*laws, _Start(self.metric)]


class _Population(NamedTuple):
    draws: Tensor
    log_normalizer: float
    error: float
    ess: float


class _Start(StartingLaw):
    def sample(self, shape: tuple[int]) -> Tensor:
        return super().sample(*shape)


class _HalfSquaredDistance(torch.autograd.Function):
    """½ dist(z, μ)², whose gradient is G(z) γ'(1), where γ is the geodesic from μ to z."""

    @staticmethod
    def forward(ctx, z: Tensor, loc: Tensor, metric: Metric, options: dict[str, Any]) -> Tensor:
        found = geodesic(metric, loc, z, **options)
        if ctx.needs_input_grad[0]:
            velocity = found.curve.velocity(1.0)
            speed = metric.norm(z, velocity)
            scale = torch.where(speed > 0, found.length / speed, 0.0)
            ctx.save_for_backward(metric.flat(z, scale[..., None] * velocity))
        return 0.5 * found.length**2

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor, None, None, None]:
        return upstream[..., None] * ctx.saved_tensors[0], None, None, None


def _log_mean(log_weights: Tensor, controls: Tensor) -> tuple[float, float]:
    """The logarithm of the weights' mean and its standard error, by regression on variables `(n, c)` of
    mean zero.

    Source: Owen, Zhou, *Safe and effective importance sampling*, 2000.
    """
    shift = log_weights.max()
    y = (log_weights - shift).exp().double()
    x = torch.cat([torch.ones_like(y)[:, None], controls.double()], 1)
    coefficients = torch.linalg.lstsq(x, y[:, None]).solution[:, 0]
    mean, rest = coefficients[0], y - x @ coefficients
    if mean <= 0:
        mean, rest = y.mean(), y - y.mean()
    error = rest.std() / math.sqrt(len(y)) / mean
    return (shift + mean.log()).item(), error.item()


def _systematic(log_weights: Tensor, n: int) -> Tensor:
    """`n` indices in proportion to the weights, in random order."""
    cumulative = log_weights.double().softmax(0).cumsum(0)
    comb = (torch.arange(n).to(cumulative) + torch.rand(()).to(cumulative)) / n
    index = torch.searchsorted(cumulative, comb).clamp(max=len(cumulative) - 1)
    return index[torch.randperm(n).to(index)]


def _warn_of(ess: float, n: int) -> None:
    if ess < _SMALLEST_ESS:
        warnings.warn(
            f"the proposals' effective sample size is {ess * n:.0f} of {n} ({ess:.1%}): draws repeat, and "
            "log_normalizer is uncertain; a smaller sigma, or more proposals, helps",
            SamplingWarning,
            stacklevel=6,
        )


def _check_options(metric: Metric, z: Tensor, options: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GeodesicWarning)
        geodesic(metric, z, z, **options)


def _check(metric: Metric, loc: Tensor, sigma: float, num_proposals: int) -> None:
    if not isinstance(metric, Metric):
        raise ValueError(f"expected a Metric, got {type(metric)}")
    if not torch.is_tensor(loc) or not loc.is_floating_point() or loc.dim() != 1 or len(loc) == 0:
        got = tuple(loc.shape) if torch.is_tensor(loc) else type(loc)
        raise ValueError(f"loc: expected a floating-point tensor of shape (d,), got {got}")
    if loc.requires_grad:
        raise ValueError("loc: expected a constant, got a tensor that requires a gradient")
    if getattr(metric, "dimension", len(loc)) != len(loc):
        raise ValueError(f"loc: expected shape ({metric.dimension},), got {tuple(loc.shape)}")
    if isinstance(sigma, bool) or not 0 < float(sigma) < math.inf:
        raise ValueError(f"sigma: expected a positive number, got {sigma}")
    if not isinstance(num_proposals, int) or num_proposals < 64:
        raise ValueError(f"num_proposals: expected an integer of at least 64, got {num_proposals}")
    for tensor in metric.state_dict().values():
        if tensor.is_floating_point() and tensor.dtype != loc.dtype:
            raise ValueError(f"loc is {loc.dtype}, the metric {tensor.dtype}; expected one dtype")
    check_inside(metric, loc, "loc: ")

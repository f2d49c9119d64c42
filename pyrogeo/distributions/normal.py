"""The Riemannian Gaussian: density ∝ exp(−dist(z, μ)² / 2σ) with respect to the volume √det G dz."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, ClassVar, NamedTuple

import torch
from pyro.distributions import MultivariateNormal, MultivariateStudentT, TorchDistribution
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, constraints

from pyrogeo._checks import as_tensor, positive, whole
from pyrogeo._numbers import is_far_out
from pyrogeo._random import forked, fresh_seed
from pyrogeo.annealing import Proposal, effective_share, systematic
from pyrogeo.distributions._kept import Kept, seed_of
from pyrogeo.distributions.proposal import FromDistribution, as_proposal, proposal_of
from pyrogeo.errors import GeodesicWarning, NonFiniteDensityError, SamplingWarning
from pyrogeo.geometry import Curve, Metric, geodesic
from pyrogeo.geometry.curves.domain import check_inside

__all__ = ["NormalizerEstimate", "RiemannianNormal"]

_PROPOSALS_PER_DRAW = 4
_SMALLEST_ESS = 0.1
_NEGLIGIBLE, _LINE_SEGMENTS = 30.0, 16
_WIDER, _DEGREES = 2.0, 4.0  # scale and degrees of freedom of Student's t, for the tails


class NormalizerEstimate(NamedTuple):
    """What `RiemannianNormal.estimate_normalizer` found.

    Attributes:
        log_normalizer: log ∫ exp(−dist(z, μ)² / 2σ) √det G dz.
        error: its standard error, by the delta method.
        ess: effective sample size of the proposals, as a share of them.

    >>> print(NormalizerEstimate(1.83788, 0.021, 0.4))
    log-normalizer 1.8379 ± 0.021 (standard error)
    """

    log_normalizer: float
    error: float
    ess: float

    def __str__(self) -> str:
        return f"log-normalizer {self.log_normalizer:.4f} ± {self.error:.2g} (standard error)"


class RiemannianNormal(TorchDistribution):
    """N(z | μ, σ) ∝ exp(−dist_G(z, μ)² / 2σ) √det G(z) with respect to dz (slides, Eq. 3).

    With a constant G it is N(μ, σ G⁻¹). Elsewhere the constant is not known: `log_density` leaves it
    out, `log_prob` takes the estimate `log_normalizer`.

    **Cost.** Each value of the density takes a geodesic, hundreds to thousands of which are solved in a
    second; fewer segments, such as `solver=Newton(num_segments=16)`, make them cheaper. The first
    `log_prob` solves `num_proposals` of them, and so does each `num_proposals / 4` draws.

    **Draws** are resampled by their importance from equal shares of N(μ, σ G(μ)⁻¹), a Student t twice as
    wide, and the user's `proposal` or the metric's: of a `CentroidMetric`, the geometric mixture with the
    vacuum's Gaussian, which lies where √det G does. Four proposals are made for each draw, and a draw is repeated only if it weighs
    more than four times the mean. The error vanishes as `num_proposals` grows; `importance_ess` says
    how good the proposals are.

    **Gradients.** `log_density` and `log_prob` are differentiable in z, once, by ∇½dist² = −♭ log_z(μ),
    from the same geodesic: NUTS and SVI can use it as a prior. μ and σ are constants.

    The distance is the length of a geodesic, which may be longer than the shortest. Where one did not
    converge, or a way through infinity is shorter, a `GeodesicWarning` says how many did; the density is
    that of the curve that was found. Outside the metric's domain the density is zero.

    **Randomness.** Only `sample` uses torch's global state. `log_normalizer` comes from a population of
    its own, with a seed that depends on the metric's numbers, μ and σ alone. A deep copy or pickle keeps it; the
    draws that are kept for small requests stay with the original, so that no draw is served twice.

    **Precision.** It is computed in the metric's precision, draws come in it, and densities come back in that
    of the points.

    Args:
        metric: any `Metric` that autograd can differentiate twice.
        loc: μ, shape `(d,)`; taken in the metric's precision.
        sigma: σ > 0, the square of a length: for small σ the variance along each direction.
        num_proposals: for one population.
        proposal: a distribution of event shape `(d,)`, or a `Proposal`; None takes the metric's own, if it
            has one.
        options: of `geodesic`, such as `solver=`.

    Raises:
        ValueError: for a σ that is not positive, a μ of another shape or outside the metric's domain, a
            proposal that is none, and for options out of range.
        NotPositiveDefiniteError: if G(μ) is not symmetric positive definite.
        NonFiniteDensityError: when first drawn from or normalised, if no proposal has a finite density.

    Warns:
        SamplingWarning: when the effective sample size of the proposals is below 10%.

    >>> from pyrogeo.geometry import Euclidean
    >>> RiemannianNormal(Euclidean(), torch.zeros(2), 0.5).log_density(torch.tensor([1.0, 1.0]))
    tensor(-2.0000)
    """

    arg_constraints: ClassVar[dict[str, constraints.Constraint]] = {}
    support = constraints.real_vector

    def __init__(
        self,
        metric: Metric,
        loc: Tensor,
        sigma: float = 1.0,
        *,
        num_proposals: int = 4096,
        proposal: Proposal | Distribution | None = None,
        validate_args: bool | None = None,
        **options: Any,
    ):
        loc = as_tensor("loc", loc)
        _check(metric, loc)
        wanted = metric.dtype or loc.dtype
        self.metric, self.loc = metric, loc.detach().clone().to(wanted)
        check_inside(metric, self.loc, "loc: ")
        self.sigma = positive("sigma", sigma)
        self.num_proposals = whole("num_proposals", num_proposals, 64)
        self._own = None if proposal is None else as_proposal(proposal, wanted)
        self.options = options
        _check_options(metric, self.loc[None], options)
        self._kept = Kept(metric)
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
        precision = self.metric.dtype or torch.promote_types(z.dtype, self.loc.dtype)
        return self._log_density(flat.to(precision)).to(z.dtype).reshape(z.shape[:-1])

    def log_prob(self, value: Tensor) -> Tensor:
        """The log-density with its estimated constant, whose error is `log_normalizer_error`."""
        value = as_tensor("value", value)
        if self._validate_args:
            self._validate_sample(value)
        return self.log_density(value) - self.log_normalizer

    @property
    def log_normalizer(self) -> float:
        """log ∫ exp(−dist(z, μ)² / 2σ) √det G dz, estimated by importance sampling.

        The proposals' laws are control variates, which make it exact if G is constant.
        """
        return self._normalizer().log_normalizer

    @property
    def log_normalizer_error(self) -> float:
        """Standard error of `log_normalizer`, by the delta method."""
        return self._normalizer().error

    @property
    def importance_ess(self) -> float:
        """Effective sample size of the proposals, as a share of them."""
        return self._normalizer().ess

    def estimate_normalizer(self, seed: int | None = None) -> NormalizerEstimate:
        """Estimates the constant with a population of its own, and keeps it as `log_normalizer`.

        Args:
            seed: None takes one that depends on the metric's numbers, μ and σ alone. Torch's global state is
                left as it is.

        Raises:
            ValueError: for a seed that is no integer from 0 to 2³² − 1.
        """
        if seed is None:
            seed = seed_of(self.metric, self.loc, self.sigma)
        else:
            seed = fresh_seed(seed)
        with forked(seed, self.loc.device):
            self._kept.keep("normalizer", self._populate()[1])
        return self._normalizer()

    def _normalizer(self) -> NormalizerEstimate:
        return self._kept.fact("normalizer", self.estimate_normalizer)

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """Draws of shape `(*sample_shape, d)`.

        They are taken without replacement from populations that are kept until they are used up.
        """
        shape = self._extended_shape(torch.Size(sample_shape))
        return self._kept.draws(shape[:-1].numel(), lambda: self._populate()[0]).reshape(shape)

    def _log_density(self, z: Tensor) -> Tensor:
        inside = self._has_mass(z)
        everywhere = torch.ones_like(inside)
        value = z[:, 0].masked_fill(everywhere, -torch.inf)  # whose gradient in z is zero
        if not inside.any():
            return value
        z = z[inside]
        energy = _HalfSquaredDistance.apply(z, self.loc, self.metric, self.options)
        return value.masked_scatter(inside, self.metric.log_volume_element(z) - energy / self.sigma)

    @torch.no_grad()
    def _has_mass(self, z: Tensor) -> Tensor:
        """Which points lie in the domain, and not so far out that squares overflow or G is zero, as far as
        numbers go: the density is zero there, and no curve can be measured."""
        inside = self.metric.contains(z) & ~is_far_out(z)
        size = self.metric(z[inside]).diagonal(dim1=-2, dim2=-1).amax(-1)
        vanishes = size.abs() <= torch.finfo(z.dtype).tiny
        return inside.masked_scatter(inside, ~vanishes)

    @torch.no_grad()
    def _populate(self) -> tuple[Tensor, NormalizerEstimate]:
        laws = self._laws()
        counts = [len(part) for part in torch.arange(self.num_proposals).tensor_split(len(laws))]
        z = torch.cat([law.sample(n) for law, n in zip(laws, counts, strict=True)])
        components = torch.stack([law.log_prob(z) for law in laws], 1)
        log_q = components.logsumexp(1) - math.log(len(laws))
        log_weights = torch.full_like(log_q, -torch.inf)
        some = self._may_matter(z, log_q)
        log_weights[some] = self._log_density(z[some]) - log_q[some]
        if not (log_weights < torch.inf).all() or log_weights.max() == -torch.inf:
            raise NonFiniteDensityError(f"the density of {self} is not finite at some proposals")
        value, error = _log_mean(log_weights, (components[:, 1:] - log_q[:, None]).exp() - 1)
        ess = effective_share(log_weights)
        _warn_of(ess, len(z))
        draws = z[systematic(log_weights, max(1, len(z) // _PROPOSALS_PER_DRAW))]
        return draws, NormalizerEstimate(value, error, ess)

    def _may_matter(self, z: Tensor, log_q: Tensor) -> Tensor:
        """Which proposals may weigh more than e⁻³⁰ of the heaviest: a distance lies between zero and the
        length of a straight line. The others, often far away, take no geodesic."""
        inside = self.metric.contains(z)
        near = z[inside]
        most = self.metric.log_volume_element(near) - log_q[inside]
        line = Curve.line(self.loc, near, _LINE_SEGMENTS).length(self.metric)
        least = most - 0.5 * line.nan_to_num(torch.inf) ** 2 / self.sigma
        return inside.masked_scatter(inside, most > least.max() - _NEGLIGIBLE)

    def _laws(self) -> list[Proposal]:
        """The proposals, in equal shares: the first is right if G is constant, the second has heavy
        tails, the third, if there is one, knows where the volume is."""
        precision = self.metric.cholesky(self.loc)
        factor = torch.linalg.cholesky(self.sigma * torch.cholesky_inverse(precision))
        degrees = torch.tensor(_DEGREES).to(self.loc)
        normal = MultivariateNormal(self.loc, scale_tril=factor, validate_args=False)
        wide = MultivariateStudentT(degrees, self.loc, _WIDER * factor, validate_args=False)
        own = proposal_of(self.metric) if self._own is None else self._own
        laws: list[Proposal] = [FromDistribution(normal), FromDistribution(wide, scale=1.0)]
        return laws if own is None else [*laws, own]


class _HalfSquaredDistance(torch.autograd.Function):
    """½ dist(z, μ)², whose gradient is G(z) γ'(1), where γ is the geodesic from μ to z."""

    @staticmethod
    def forward(
        ctx: Any, z: Tensor, loc: Tensor, metric: Metric, options: dict[str, Any]
    ) -> Tensor:
        found = geodesic(metric, loc, z, **options)
        if ctx.needs_input_grad[0]:
            velocity = found.curve.velocity(1.0)
            speed = metric.norm(z, velocity)
            scale = torch.where(speed > 0, found.length / speed, 0.0)
            ctx.save_for_backward(metric.flat(z, scale[..., None] * velocity))
        return 0.5 * found.length**2

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None, None]:
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


def _check(metric: Metric, loc: Tensor) -> None:
    if not isinstance(metric, Metric):
        raise ValueError(f"expected a Metric, got {type(metric)}")
    if not loc.is_floating_point() or loc.dim() != 1 or len(loc) == 0:
        raise ValueError(
            f"loc: expected a floating-point tensor of shape (d,), got {tuple(loc.shape)} of {loc.dtype}"
        )
    if loc.requires_grad:
        raise ValueError("loc: expected a constant, got a tensor that requires a gradient")
    if getattr(metric, "dimension", len(loc)) != len(loc):
        raise ValueError(f"loc: expected shape ({metric.dimension},), got {tuple(loc.shape)}")

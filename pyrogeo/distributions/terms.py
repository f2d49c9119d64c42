"""Gaussian terms of √det G: exact ones of single centroids, bounds of pairs from above, tangents from below.

G(z) = Σᵢ κᵢ Aᵢ ωᵢ(z) with ωᵢ = exp(−(z − cᵢ)ᵀ Aᵢ (z − cᵢ)) over centroids, Aᵢ = Σᵢ⁻¹/ρ² and κᵢ = ρ², and over the
vacuum, A₀ = τ I and κ₀ = λ/τ: the *atoms*. Every term is a product Πᵢ ωᵢ^{αᵢ/2} with Σᵢ αᵢ = d and a coefficient,
and so a Gaussian of precision Σᵢ αᵢ Aᵢ whose mass has a closed form.

- One atom: √det(κᵢ Aᵢ ωᵢ), α = d.
- A pair: with μₑ the eigenvalues of κᵢ Aᵢ relative to κⱼ Aⱼ, det G ≥ |κⱼ Aⱼ| Πₑ (μₑ ωᵢ + ωⱼ) =
  |κⱼ Aⱼ| Σₖ eₖ(μ) ωᵢᵏ ωⱼ^{d−k}, eₖ the elementary symmetric polynomials; the root of a sum is at most the sum of
  the roots, so √det of a pair is at most d + 1 terms.
- A tangent: det G is a polynomial in the ωᵢ with coefficients that are not negative (mixed discriminants), so
  ½ log det G is convex in log ω and lies above its tangent at any z: the term with αᵢ = tr(G⁻¹ κᵢ Aᵢ ωᵢ(z)) is
  nowhere above √det G and touches it at z. The sum over disjoint regions of such terms bounds the volume from
  below.

Diagonal and full covariances alike.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from pyrogeo.geometry import CentroidMetric, DiagonalCentroidMetric, FullCentroidMetric

__all__ = [
    "MANY_CENTROIDS",
    "Atoms",
    "Terms",
    "atoms",
    "log_masses",
    "pairs",
    "peaks",
    "shapes",
    "singles",
    "tangents",
]

_ALL_PAIRS = 5_000  # up to which all pairs of atoms are looked at
MANY_CENTROIDS = (
    4_096  # above which none are, nor is more than singles: it costs more than it brings
)
_BLOCK = 1_000  # pairs, or points, at once
_MOST_ATOMS = 48  # in a tangent
_NEGLIGIBLE = 1e-4  # of all mass, which the pairs left out may hold


class Atoms(NamedTuple):
    """The terms of G, in float64.

    Attributes:
        centres: cᵢ, shape `(A, d)`; the vacuum, if there is one, comes last.
        precisions: Aᵢ, shape `(A, d)` for diagonal ones, `(A, d, d)` for full ones.
        log_scales: log κᵢ, shape `(A,)`.
        log_dets: log det Aᵢ, shape `(A,)`.
    """

    centres: Tensor
    precisions: Tensor
    log_scales: Tensor
    log_dets: Tensor

    @property
    def is_full(self) -> bool:
        """Whether the precisions are matrices."""
        return self.precisions.dim() == 3


class Terms(NamedTuple):
    """Products of powers of ω.

    Attributes:
        atoms: which there are in each term, shape `(T, m)`.
        exponents: their α, shape `(T, m)`; they sum to d.
        log_coefficients: shape `(T,)`.
    """

    atoms: Tensor
    exponents: Tensor
    log_coefficients: Tensor


def atoms(metric: CentroidMetric) -> Atoms:
    """The atoms of a metric whose vacuum, if it has one, decays.

    Args:
        metric: diagonal or full.

    >>> law = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)
    >>> atoms(law).precisions
    tensor([[1., 1.]], dtype=torch.float64)
    """
    double = torch.float64
    c, rho = metric.centroids.to(double), metric.bandwidth.to(double)
    if isinstance(metric, FullCentroidMetric):
        sigma = metric.covariances.to(double)
        a = torch.cholesky_inverse(torch.linalg.cholesky(sigma)) / rho**2
    elif isinstance(metric, DiagonalCentroidMetric):
        a = 1 / (metric.variances.to(double) * rho**2)
    else:
        raise NotImplementedError(f"{type(metric).__name__} is neither diagonal nor full")
    log_dets = -metric.log_det_covariances().to(double) - 2 * c.shape[1] * rho.log()
    log_scales = (2 * rho.log()).expand(len(c))
    lam, tau, d = metric.regularization.item(), metric.decay.item(), metric.dimension
    if lam > 0:
        vacuum = tau * (torch.eye(d).to(a) if a.dim() == 3 else torch.ones(d).to(a))
        c, a = torch.cat([c, c.new_zeros(1, d)]), torch.cat([a, vacuum[None]])
        log_dets = torch.cat([log_dets, log_dets.new_tensor([d * math.log(tau)])])
        log_scales = torch.cat([log_scales, log_scales.new_tensor([math.log(lam / tau)])])
    return Atoms(c, a, log_scales, log_dets)


def singles(of: Atoms) -> Terms:
    """Each atom by itself: √det(κᵢ Aᵢ) ωᵢ^{d/2}.

    Args:
        of: A atoms.

    Returns:
        A terms.
    """
    count, d = of.centres.shape
    index = torch.arange(count, device=of.centres.device)[:, None]
    exponents = torch.full_like(index, d, dtype=of.centres.dtype)
    return Terms(index, exponents, 0.5 * (d * of.log_scales + of.log_dets))


def pairs(of: Atoms, most: int) -> Terms:
    """The heaviest terms of pairs, which bound √det of a pair from above together with the singles.

    Up to 5,000 pairs all are looked at; of more, each atom with its nearest in units of a typical
    deviation; with more than 4,096 atoms none.

    Args:
        of: A atoms in d dimensions.
        most: how many terms at most; fewer where the others weigh nothing.
    """
    d = of.centres.shape[1]
    none = torch.zeros(0, 2, dtype=torch.long, device=of.centres.device)
    found = none if len(of.centres) > MANY_CENTROIDS or d == 0 else _near_pairs(of)
    parts = [_pair_terms(of, block) for block in found.split(_BLOCK)] if len(found) else []
    if not parts:
        empty = of.centres.new_zeros(0)
        return Terms(none, empty.reshape(0, 2), empty)
    terms = Terms(*(torch.cat(part) for part in zip(*(part[0] for part in parts), strict=True)))
    masses = torch.cat([part[1] for part in parts])
    order = masses.argsort(descending=True)[:most]
    total = torch.logaddexp(masses.logsumexp(0), log_masses(of, singles(of)).logsumexp(0))
    left = masses[order].flip(0).logcumsumexp(0).flip(0)  # from each one on
    order = order[left > total + math.log(_NEGLIGIBLE)]
    return Terms(*(part[order] for part in terms))


def tangents(of: Atoms, z: Tensor) -> Terms:
    """The terms that touch √det G at points `(n, d)` from below.

    With more than 48 atoms, the tangents of the sum over the 48 heaviest at each point, which is less
    than G.

    Args:
        of: the atoms.
        z: where, in float64.
    """
    parts = [_tangents(of, block) for block in z.split(_BLOCK)]
    return Terms(*(torch.cat(part) for part in zip(*parts, strict=True)))


def peaks(of: Atoms, z: Tensor, sizes: tuple[int, ...] = (2, 3, 4, 6, 8, 12, 16)) -> Tensor:
    """Where products of ω peak: of the atoms that are heaviest at each point, so many as `sizes` says.

    Args:
        of: the atoms.
        z: points `(n, d)`.
        sizes: how many atoms meet; those above their number are left out.

    Returns:
        shape `(n·s, d)` for s sizes.
    """
    sizes = tuple(size for size in sizes if size <= len(of.centres))
    if not sizes:
        return z[:0]
    heaviest = _log_omega(of, z).topk(sizes[-1], -1).indices
    found = []
    for size in sizes:
        index = heaviest[:, :size]
        ones = torch.ones_like(index, dtype=z.dtype)
        found.append(shapes(of, Terms(index, ones, z.new_zeros(len(z))))[0])
    return torch.cat(found)


def shapes(of: Atoms, terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
    """Means `(T, d)`, precisions `(T, d)` or `(T, d, d)`, and log-heights `(T,)` of the terms' Gaussians."""
    parts = [
        _shapes(of, Terms(*block))
        for block in zip(*(part.split(_BLOCK) for part in terms), strict=True)
    ]
    means, precisions, heights = (torch.cat(part) for part in zip(*parts, strict=True))
    return means, precisions, heights


def log_masses(of: Atoms, terms: Terms) -> Tensor:
    """log ∫ of each term, shape `(T,)`.

    >>> metric = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)
    >>> its = atoms(metric)
    >>> log_masses(its, singles(its)), metric.log_mixture_volume  # log π
    (tensor([1.1447], dtype=torch.float64), 1.1447298858494002)
    """
    _, precisions, heights = shapes(of, terms)
    return heights + 0.5 * of.centres.shape[1] * math.log(2 * math.pi) - 0.5 * _log_det(precisions)


def _near_pairs(of: Atoms) -> Tensor:
    """Pairs of atoms `(n, 2)` that may have a term of weight."""
    count, device = len(of.centres), of.centres.device
    if count * (count - 1) // 2 <= _ALL_PAIRS:
        return torch.combinations(torch.arange(count, device=device))
    near = max(2, _ALL_PAIRS // count)
    units = of.precisions.diagonal(dim1=-2, dim2=-1) if of.is_full else of.precisions
    scaled = of.centres * (0.5 * units.log().mean(0)).exp()
    first = torch.arange(count, device=device)
    second = [
        torch.cdist(block, scaled).topk(near + 1, largest=False).indices
        for block in scaled.split(512)
    ]
    both = torch.stack([first[:, None].expand(-1, near + 1), torch.cat(second)], -1).reshape(-1, 2)
    both = both[both[:, 0] != both[:, 1]].sort(-1).values
    unique: Tensor = torch.unique(both, dim=0)
    return unique


def _pair_terms(of: Atoms, pair: Tensor) -> tuple[Terms, Tensor]:
    """The d − 1 mixed terms of each pair, and their log-masses without forming the Gaussians."""
    d = of.centres.shape[1]
    i, j = pair.T
    mu, x = _relative(of, i, j)
    e = _log_symmetric(mu.log() + (of.log_scales[i] - of.log_scales[j])[:, None])[:, 1:d]
    k = torch.arange(1, d, device=mu.device, dtype=mu.dtype)
    coefficient = 0.5 * (d * of.log_scales[j] + of.log_dets[j])[:, None] + 0.5 * e
    blend = k[:, None] * mu[:, None] + (d - k)[:, None]  # (n, d − 1, d)
    fall = (x**2 * mu)[:, None] * (k * (d - k))[:, None] / blend
    mass = coefficient + 0.5 * (
        d * math.log(2 * math.pi) - of.log_dets[j][:, None] - (blend.log() + fall).sum(-1)
    )
    index = pair[:, None].expand(-1, d - 1, 2).reshape(-1, 2)
    exponents = torch.stack([k, d - k], -1).expand(len(pair), -1, 2).reshape(-1, 2)
    return Terms(index, exponents, coefficient.reshape(-1)), mass.reshape(-1)


def _relative(of: Atoms, i: Tensor, j: Tensor) -> tuple[Tensor, Tensor]:
    """Eigenvalues μ of Aᵢ relative to Aⱼ, and cᵢ − cⱼ in the coordinates where both are diagonal, Aⱼ = I."""
    away = of.centres[i] - of.centres[j]
    if not of.is_full:
        return of.precisions[i] / of.precisions[j], away * of.precisions[j].sqrt()
    factor = torch.linalg.cholesky(of.precisions[j])
    half = torch.linalg.solve_triangular(factor, of.precisions[i], upper=False)
    whole = torch.linalg.solve_triangular(factor, half.mT, upper=False)
    values, vectors = torch.linalg.eigh(0.5 * (whole + whole.mT))
    turned = vectors.mT @ (factor.mT @ away[..., None])
    return values.clamp(min=torch.finfo(values.dtype).tiny), turned[..., 0]


def _log_symmetric(log_values: Tensor) -> Tensor:
    """log eₖ of values `(n, d)` for k = 0 … d, shape `(n, d + 1)`, by adding one value after another."""
    n, d = log_values.shape
    e = log_values.new_full((n, d + 1), -torch.inf)
    e[:, 0] = 0
    for column in range(d):
        e[:, 1:] = torch.logaddexp(e[:, 1:], e[:, :-1] + log_values[:, column, None])
    return e


def _log_omega(of: Atoms, z: Tensor) -> Tensor:
    """log ωᵢ of points `(n, d)`, shape `(n, A)`."""
    if of.is_full:
        away = z[:, None] - of.centres
        return -torch.einsum("nad,ade,nae->na", away, of.precisions, away)
    s, c = of.precisions, of.centres
    middle = c.mean(0)
    z, c = z - middle, c - middle
    return 2 * z @ (s * c).T - (z * z) @ s.T - (s * c * c).sum(-1)


def _tangents(of: Atoms, z: Tensor) -> Terms:
    count, d = of.centres.shape
    log_omega = _log_omega(of, z)
    index = (log_omega + of.log_scales + of.log_dets / d).topk(min(count, _MOST_ATOMS), -1).indices
    log_omega = log_omega.gather(1, index)
    log_weights = log_omega + of.log_scales[index]
    shift = log_weights.amax(-1, keepdim=True)
    weights, a = (log_weights - shift).exp(), of.precisions[index]
    if of.is_full:
        g = torch.einsum("nm,nmij->nij", weights, a)
        inverse = torch.linalg.inv(g)
        exponents = weights * torch.einsum("nij,nmij->nm", inverse, a)
        log_det = torch.linalg.slogdet(g).logabsdet
    else:
        g = torch.einsum("nm,nmi->ni", weights, a)
        exponents = weights * (a / g[:, None]).sum(-1)
        log_det = g.log().sum(-1)
    value = 0.5 * (log_det + d * shift[:, 0])
    coefficient = value - 0.5 * (exponents * log_omega).sum(-1)
    return Terms(index, exponents, coefficient)


def _shapes(of: Atoms, terms: Terms) -> tuple[Tensor, Tensor, Tensor]:
    index, alpha = terms.atoms, terms.exponents
    a, middle = of.precisions[index], of.centres.mean(0)
    c = of.centres[index] - middle
    if of.is_full:
        precision = torch.einsum("tm,tmij->tij", alpha, a)
        pull = torch.einsum("tm,tmij,tmj->tmi", alpha, a, c)
        total = pull.sum(1)
        mean = torch.cholesky_solve(total[..., None], torch.linalg.cholesky(precision))[..., 0]
    else:
        precision = torch.einsum("tm,tmi->ti", alpha, a)
        pull = alpha[..., None] * a * c
        total = pull.sum(1)
        mean = total / precision
    # by distances to the mean, as the difference of squares would cancel where precisions are large
    away = c - mean[:, None]
    if of.is_full:
        fall = torch.einsum("tm,tmi,tmij,tmj->t", alpha, away, a, away)
    else:
        fall = torch.einsum("tm,tmi->t", alpha, a * away**2)
    return mean + middle, precision, terms.log_coefficients - 0.5 * fall


def _log_det(precisions: Tensor) -> Tensor:
    if precisions.dim() == 2:
        return precisions.log().sum(-1)
    diagonal = torch.linalg.cholesky(precisions).diagonal(dim1=-2, dim2=-1)
    half: Tensor = diagonal.log().sum(-1)
    return 2 * half

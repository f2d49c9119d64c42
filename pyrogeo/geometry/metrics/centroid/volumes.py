"""Volumes in closed form: of isolated centroids, and the decay that keeps the vacuum small beside them."""

import math

__all__ = ["VACUUM_FRACTION", "log_mixture_volume", "proper_decay"]

VACUUM_FRACTION = 0.01  # what decay=None leaves to the λ term, at most


def log_mixture_volume(k: int, d: int, rho: float) -> float:
    """log V with V = K (2πρ²/d)^{d/2}, the volume of K isolated centroids."""
    return math.log(k) + d / 2 * (math.log(2 * math.pi / d) + 2 * math.log(rho))


def proper_decay(k: int, d: int, rho: float, lam: float) -> float:
    """The τ at which W = f V, so that the vacuum holds at most the fraction f."""
    if lam == 0:
        return 0.0
    log_volume = math.log(VACUUM_FRACTION) + log_mixture_volume(k, d, rho)
    if d == 1:  # the volume may be less than V then, but by Cauchy and Schwarz at least V/√K
        log_volume -= 0.5 * math.log(k)
    log_decay = math.log(2 * math.pi * lam / d) - 2 / d * log_volume
    if abs(log_decay) > 700:
        raise ValueError(f"bandwidth ρ = {rho} leaves no decay τ that fits; pass decay=...")
    return math.exp(log_decay)

"""Whether data are of a size that untrained networks can take: tables in their own units often are not."""

import pyro
import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo.vae.model import VAE
from pyrogeo.vae.objectives.base import is_deterministic

__all__ = ["check_scales"]

_LOOKED_AT = 512


def check_scales(vae: VAE, x: Tensor, what: str = "data") -> None:
    """Looks at what the guide, as it is, makes of some of the data, evenly spaced.

    Args:
        vae: before training.
        x: data of shape `(N, *event)`; those with missing values are left out.
        what: they are, for messages.

    Raises:
        ValueError: where points or variances of q(z|x) are NaN or infinite, or variances 0.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> check_scales(standard_vae((2,), 2), 1e30 * torch.ones(5, 2))
    Traceback (most recent call last):
    ValueError: data: the guide gives variances of 0 or infinity, or no points at all, for numbers from 1e+30 to 1e+30; standardise the columns, as datasets.from_array(x, standardize=True) does
    """
    x = x[~x.isnan().flatten(1).any(1)]
    if not len(x):
        return
    x = x[:: -(-len(x) // _LOOKED_AT)]
    try:
        with pyro.validation_enabled(False):  # which would say it in the words of a parameter
            q = vae.embed(x)
            points, variances = q.sample(), _variances(q)
    except Exception:  # a guide for other data raises what it likes; who asks next says so
        return
    if not (points.isfinite().all() and variances.isfinite().all() and variances.all()):
        size = f"numbers from {x.min():.4g} to {x.max():.4g}"
        how = (
            "standardise the columns, as datasets.from_array(x, standardize=True) does"
            if x.dim() == 2
            else "normalise them, to [0, 1] or to mean 0 and standard deviation 1"
        )
        raise ValueError(
            f"{what}: the guide gives variances of 0 or infinity, or no points at all, for {size}; {how}"
        )


def _variances(q: Distribution) -> Tensor:
    """Those of q; 1 for one that has none: points, and flows, which are only sampled."""
    if is_deterministic(q):
        return torch.ones(())
    try:
        return q.variance
    except NotImplementedError:
        return torch.ones(())

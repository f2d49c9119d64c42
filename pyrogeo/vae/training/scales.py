"""Whether data are of a size that untrained networks can take: tables in their own units often are not."""

import torch
from torch import Tensor
from torch.distributions import Distribution

from pyrogeo.vae.model import VAE

__all__ = ["check_scales"]

_LOOKED_AT = 512


def check_scales(vae: VAE, x: Tensor, what: str = "data") -> None:
    """Looks at what the guide, as it is, makes of some of the data, evenly spaced.

    Args:
        vae: before training.
        x: data of shape `(N, *event)`; those with missing values are left out.
        what: they are, for messages.

    Raises:
        ValueError: where points or variances of q(z|x) are NaN or infinite.

    >>> from pyrogeo.recipes.standard import standard_vae
    >>> check_scales(standard_vae((2,), 2), 1e30 * torch.ones(5, 2))
    Traceback (most recent call last):
    ValueError: data: the guide gives variances of 0 or infinity, or no points at all, for numbers from 1e+30 to 1e+30; standardise the columns, as datasets.from_array(x, standardize=True) does
    """
    x = x[~x.isnan().flatten(1).any(1)]
    if not len(x):
        return
    x = x[:: -(-len(x) // _LOOKED_AT)]
    q = vae.embed(x)
    if not (q.sample().isfinite().all() and _variances(q).isfinite().all()):
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
    try:
        return q.variance
    except NotImplementedError:  # a flow has points only
        return torch.zeros(())

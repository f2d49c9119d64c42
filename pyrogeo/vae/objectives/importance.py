"""The importance-weighted bound."""

import math
from typing import Any

from torch import Tensor

from pyrogeo._checks import whole
from pyrogeo.vae.objectives.base import Objective, Program, is_deterministic

__all__ = ["IWAE"]


class IWAE(Objective):
    """−Σᵢ log (1/K) Σₖ p(xᵢ, zᵢₖ) / q(zᵢₖ|xᵢ), zᵢₖ ~ q(z|xᵢ): one bound for each datum.

    It rises with K from the ELBO (K = 1) to log p(x). `pyro.infer.RenyiELBO` weighs whole batches, so
    that one particle serves all data; here each datum has its own weights. Gradients are those of
    the bound itself, by reparametrisation.

    Args:
        num_particles: K, drawn as one tensor.

    Raises:
        ValueError: from its methods, for β ≠ 1, of which weights know nothing, and for a guide
            whose draws have no density or no gradients.

    Source: Burda, Grosse, Salakhutdinov, *Importance weighted autoencoders*, 2016.

    >>> import torch, pyrogeo as pg
    >>> vae = pg.VAE(pg.priors.StandardNormal(2), pg.guides.DiagonalNormal(pg.networks.mlp(5, 4)),
    ...              pg.likelihoods.Normal(pg.networks.mlp(2, 5)))
    >>> IWAE(8).differentiable_loss(vae.model, vae.guide, torch.zeros(10, 5)).shape
    torch.Size([])
    """

    uses_beta = False

    def __init__(self, num_particles: int = 8):
        num_particles = whole("num_particles", num_particles)
        # Said, as a guess would draw from the random stream and a resumed run would draw once more.
        super().__init__(num_particles, max_plate_nesting=1, vectorize_particles=True)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        ((model_trace, guide_trace),) = self._get_traces(model, guide, args, kwargs)
        p = [site for site in model_trace.nodes.values() if site["type"] == "sample"]
        q = [site for site in guide_trace.nodes.values() if site["type"] == "sample"]
        _check_reparametrised(q)
        scale = _common_scale(p + q)
        log_weight = sum(site["unscaled_log_prob"] for site in p)
        log_weight = log_weight - sum(site["unscaled_log_prob"] for site in q)
        bound = log_weight.reshape(self.num_particles, -1).logsumexp(0)
        value: Tensor = -scale * (bound - math.log(self.num_particles)).sum()
        return value


def _check_reparametrised(sites: list[dict[str, Any]]) -> None:
    # A leapfrog guide ends in a point mass too, and has its density in sites before it.
    if all(is_deterministic(site["fn"]) for site in sites):
        raise ValueError(
            "an importance weight needs the density of the guide's draws, and a deterministic "
            "guide has none; train it with Reconstruction or WassersteinMMD"
        )
    for site in sites:
        if not (site["is_observed"] or site["fn"].has_rsample):
            raise ValueError(
                f"the gradient needs reparametrised draws, and those of the guide's "
                f"{type(site['fn']).__name__} at {site['name']!r} are not"
            )


def _common_scale(sites: list[dict[str, Any]]) -> float:
    scales = {0.0 if site["mask"] is False else float(site["scale"]) for site in sites}
    if len(scales) > 1:
        raise ValueError(
            f"an importance-weighted bound has no β: expected beta=1, got sites scaled by "
            f"{' and '.join(f'{scale:g}' for scale in sorted(scales))}"
        )
    return scales.pop()

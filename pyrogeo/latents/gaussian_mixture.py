"""A Gaussian mixture of embeddings, by scikit-learn's EM."""

import pyro.distributions as dist
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor

from pyrogeo._checks import whole
from pyrogeo._random import fresh_seed
from pyrogeo.latents.embeddings import check_embeddings
from pyrogeo.vae.mixed import Mixed

__all__ = ["fit_gaussian_mixture"]


def fit_gaussian_mixture(
    z: Tensor,
    n_components: int = 10,
    covariance: str = "full",
    *,
    num_starts: int = 1,
    max_iterations: int = 500,
    seed: int | None = 0,
) -> dist.MixtureSameFamily:
    """A Gaussian mixture Σₖ πₖ N(μₖ, Σₖ) by scikit-learn's EM.

    Args:
        z: embeddings of shape `(N, d)`.
        n_components: number of Gaussians, at most N.
        covariance: `"full"`, or `"diag"` for diagonal Σₖ.
        num_starts: runs of EM, of which the best is kept.
        max_iterations: of each; scikit-learn warns if they are too few.
        seed: of the starts; None draws one from torch's global generator.

    Returns:
        a mixture whose `log_prob` is scikit-learn's `score_samples`.

    Raises:
        ValueError: for embeddings of another shape or not finite, and settings out of range.

    >>> mixture = fit_gaussian_mixture(torch.randn(100, 3), 2)
    >>> mixture.sample((5,)).shape, mixture.log_prob(torch.zeros(7, 3)).shape
    (torch.Size([5, 3]), torch.Size([7]))
    """
    check_embeddings(z, at_least=2)
    n_components = whole("n_components", n_components)
    num_starts = whole("num_starts", num_starts)
    max_iterations = whole("max_iterations", max_iterations)
    if n_components > len(z):
        raise ValueError(
            f"n_components: expected at most the {len(z)} embeddings, got {n_components}"
        )
    if covariance not in ("full", "diag"):
        raise ValueError(f"covariance: expected 'full' or 'diag', got {covariance!r}")
    model = GaussianMixture(
        n_components,
        covariance_type=covariance,
        n_init=num_starts,
        max_iter=max_iterations,
        random_state=fresh_seed(seed),
    ).fit(z.detach().cpu().double().numpy())
    weights, means, spread = (
        torch.from_numpy(array) for array in (model.weights_, model.means_, model.covariances_)
    )
    if covariance == "full":  # factored in float64, where ill-conditioned ones still have a factor
        factors = torch.linalg.cholesky(spread).to(z)
        components = dist.MultivariateNormal(means.to(z), scale_tril=factors)
    else:
        components = dist.Normal(means.to(z), spread.sqrt().to(z)).to_event(1)
    return Mixed(dist.Categorical(logits=weights.log().to(z)), components)

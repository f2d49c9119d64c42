"""Distributions fitted to embeddings: what is drawn from in the place of the prior, after training.

Each takes embeddings `(N, d)` and returns a Pyro distribution of event shape `(d,)` in their dtype, with
`sample((n,))` and `log_prob`, frozen and picklable. `priors.Fixed` makes a prior of it. Embeddings are
`posterior.mean`, or, where the decoder is to be fed what it was trained on, one `posterior.sample()`.
"""

import math
from collections.abc import Sequence
from numbers import Integral

import pyro.distributions as dist
import torch
from sklearn.mixture import GaussianMixture
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.distributions.autoregressive import AutoregressiveFlow, FlowNetworks
from pyrogeo.distributions.two_stage import TwoStage
from pyrogeo.errors import NonFiniteLossError
from pyrogeo.vae import VAE, fit, guides, likelihoods, networks, priors

__all__ = ["fit_flow", "fit_gaussian_mixture", "fit_two_stage"]


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
    _check_embeddings(z, at_least=2)
    _check_counts(n_components=n_components, num_starts=num_starts, max_iterations=max_iterations)
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
    return dist.MixtureSameFamily(dist.Categorical(logits=weights.log().to(z)), components)


def fit_flow(
    z: Tensor,
    kind: str = "masked",
    *,
    num_blocks: int = 4,
    hidden: Sequence[int] = (64, 64),
    epochs: int = 200,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    validation: float = 0.1,
    patience: int = 20,
    seed: int | None = 0,
    progress: bool = True,
) -> AutoregressiveFlow:
    """An autoregressive flow by maximum likelihood on standardised embeddings.

    Blocks alternate between an order of the coordinates, drawn at random, and its reverse. The weights of the
    epoch with the best validation likelihood are kept.

    Args:
        z: embeddings of shape `(N, d)` with d ≥ 2, of which no coordinate is constant.
        kind: `"masked"`: one pass to evaluate and to train, d to draw; or `"inverse"`: one to draw, d to
            evaluate and to train.
        num_blocks, hidden: number of blocks, and units of each one's hidden layers, at least d each.
        epochs: at most.
        batch_size, learning_rate: of Adam.
        validation: share of the embeddings held out for early stopping.
        patience: epochs without improvement after which training stops.
        seed: of split, initial weights and shuffles; None draws one from torch's global generator.
        progress: show a bar.

    Raises:
        ValueError: for embeddings of another shape, not finite or constant, and settings out of range.
        NonFiniteLossError: when the loss becomes NaN or infinite.

    Source: Papamakarios, Pavlakou, Murray, *Masked autoregressive flow for density estimation*, 2017;
    Kingma et al., *Improving variational inference with inverse autoregressive flow*, 2016.

    >>> flow = fit_flow(torch.randn(100, 2), epochs=2, progress=False)
    >>> flow.sample((5,)).shape, flow.log_prob(torch.zeros(7, 2)).shape
    (torch.Size([5, 2]), torch.Size([7]))
    """
    _check_embeddings(z, at_least=10)
    d = z.shape[1]
    if kind not in ("masked", "inverse"):
        raise ValueError(f"kind: expected 'masked' or 'inverse', got {kind!r}")
    if d < 2:
        raise ValueError("a flow needs at least 2 dimensions: in one, its coordinate sees no other")
    _check_counts(num_blocks=num_blocks, epochs=epochs, batch_size=batch_size, patience=patience)
    if not hidden or any(not isinstance(n, Integral) or n < d for n in hidden):
        raise ValueError(f"hidden: expected layers of at least d = {d} units, got {hidden!r}")
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate!r}")
    seed, z = fresh_seed(seed), z.detach()
    train, held_out = _split(z, validation, seed)
    with forked(seed, z.device), torch.inference_mode(False), torch.enable_grad():
        flow = FlowNetworks(*_standardisation(train), kind, num_blocks, hidden)
        optimizer = torch.optim.Adam(flow.parameters(), lr=learning_rate)
        _maximise_likelihood(
            flow, optimizer, train, held_out, epochs, batch_size, patience, progress
        )
    return AutoregressiveFlow(flow)


def _maximise_likelihood(
    flow: FlowNetworks,
    optimizer: torch.optim.Optimizer,
    train: Tensor,
    held_out: Tensor,
    epochs: int,
    batch_size: int,
    patience: int,
    progress: bool,
) -> None:
    """Leaves the flow with the weights that explain the held-out points best."""
    best, best_epoch, weights = math.inf, 0, {}
    bar = tqdm(range(1, epochs + 1), desc="flow", disable=not progress)
    for epoch in bar:
        for number, index in enumerate(torch.randperm(len(train)).split(batch_size), 1):
            optimizer.zero_grad()
            loss = -flow.log_prob(train[index.to(train.device)]).mean()
            if not torch.isfinite(loss):
                raise NonFiniteLossError(loss.item(), epoch, number)
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            loss = -flow.log_prob(held_out).mean().item()
        if loss < best:
            best, best_epoch = loss, epoch
            weights = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
        bar.set_postfix_str(f"validation loss {loss:.4g}", refresh=False)
        if epoch - best_epoch >= patience:
            break
    if not weights:
        raise NonFiniteLossError(loss, epoch, 0)
    flow.load_state_dict(weights)


def fit_two_stage(
    z: Tensor,
    *,
    hidden: Sequence[int] = (128, 128),
    latent_dim: int | None = None,
    num_particles: int = 128,
    epochs: int = 200,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    validation: float = 0.1,
    patience: int = 20,
    seed: int | None = 0,
    progress: bool = True,
) -> TwoStage:
    """A second VAE of the embeddings, with standard normal prior and learned noise.

    It is trained by `fit` on standardised embeddings. Draws are those of its program: from its prior,
    through its decoder, plus its noise.

    Args:
        z: embeddings of shape `(N, d)`, of which no coordinate is constant.
        hidden: units of its networks' hidden layers.
        latent_dim: of the second VAE, by default d as in the paper.
        num_particles: P with which `log_prob` is estimated, in expectation from below.
        epochs, batch_size, learning_rate: of `fit`.
        validation: share of the embeddings held out for early stopping.
        patience: epochs without improvement after which training stops.
        seed: of split, weights, training and particles; None draws one from torch's global generator.
        progress: show a bar.

    Raises:
        ValueError: for embeddings of another shape, not finite or constant, and settings out of range.
        NonFiniteLossError: when the loss becomes NaN or infinite.

    Source: Dai, Wipf, *Diagnosing and enhancing VAE models*, 2019.

    >>> second = fit_two_stage(torch.randn(100, 2), epochs=2, progress=False)
    >>> second.sample((5,)).shape, second.log_prob(torch.zeros(7, 2)).shape
    (torch.Size([5, 2]), torch.Size([7]))
    """
    _check_embeddings(z, at_least=10)
    d = z.shape[1]
    latent_dim = d if latent_dim is None else latent_dim
    _check_counts(latent_dim=latent_dim, num_particles=num_particles)
    seed, z = fresh_seed(seed), z.detach()
    train, held_out = _split(z, validation, seed)
    loc, scale = _standardisation(train)
    with forked(seed, z.device):
        vae = VAE(
            priors.StandardNormal(latent_dim),
            guides.DiagonalNormal(networks.mlp(d, *hidden, 2 * latent_dim)),
            # From a scale of 1, that of the data, training stays where the second VAE codes nothing.
            likelihoods.Normal(
                networks.mlp(latent_dim, *reversed(hidden), d), scale=0.3, learn_scale=True
            ),
        ).to(z)
    fit(
        vae,
        (train - loc) / scale,
        (held_out - loc) / scale,
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        patience=patience,
        seed=derived_seed(seed, 1) % 2**32,  # what `fit` takes
        progress=progress,
    )
    return TwoStage(vae, loc, scale, num_particles, derived_seed(seed, 2))


def _check_embeddings(z: Tensor, at_least: int) -> None:
    if not torch.is_tensor(z) or not z.is_floating_point():
        got = z.dtype if torch.is_tensor(z) else type(z)
        raise ValueError(f"z: expected a floating-point tensor of embeddings (N, d), got {got}")
    if z.dim() != 2 or z.shape[1] == 0:
        raise ValueError(f"z: expected embeddings of shape (N, d), got {tuple(z.shape)}")
    if len(z) < at_least:
        raise ValueError(f"z: expected at least {at_least} embeddings, got {len(z)}")
    bad = (~torch.isfinite(z)).sum().item()
    if bad:
        raise ValueError(f"z: expected finite numbers, got {bad} NaN or infinite values")


def _check_counts(**counts: int) -> None:
    for name, value in counts.items():
        if isinstance(value, bool) or not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")


def _split(z: Tensor, share: float, seed: int) -> tuple[Tensor, Tensor]:
    if not 0 < share < 1:
        raise ValueError(f"validation: expected a share between 0 and 1, got {share!r}")
    with forked(seed):
        order = torch.randperm(len(z)).to(z.device)
    n = min(max(1, round(share * len(z))), len(z) - 2)
    return z[order[n:]], z[order[:n]]


def _standardisation(z: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each coordinate."""
    loc, scale = z.mean(0), z.std(0)
    constant = (scale <= torch.finfo(z.dtype).eps * z.abs().amax(0)).nonzero().flatten().tolist()
    if constant:
        raise ValueError(
            f"z: coordinates {constant} have the same value in every embedding, so that there is no "
            "density; leave them out"
        )
    return loc, scale

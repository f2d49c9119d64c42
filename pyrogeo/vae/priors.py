"""Priors: an `nn.Module` whose `forward()` returns a Pyro distribution with event shape `(d,)`."""

import copy
from collections.abc import Sequence

import pyro.distributions as dist
import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from torch import Tensor, nn
from torch.distributions import Transform

from pyrogeo._checks import whole_or_none
from pyrogeo.vae._seen import seen_as
from pyrogeo.vae._transforms import Transformed, Transforms
from pyrogeo.vae.mixed import Mixed

__all__ = ["Fixed", "Flow", "Mixture", "StandardNormal", "Vamp"]


class StandardNormal(nn.Module):
    """N(0, I) in `d` dimensions.

    Raises:
        ValueError: for a d that is no positive integer.

    >>> StandardNormal(3)().log_prob(torch.zeros(3))  # −(3/2) log 2π
    tensor(-2.7568)
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, d: int):
        super().__init__()
        d = _positive("the latent dimension", d)
        self.register_buffer("loc", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def forward(self) -> dist.TorchDistribution:
        normal: dist.TorchDistribution = dist.Normal(self.loc, self.scale).to_event(1)
        return normal

    def extra_repr(self) -> str:
        return str(len(self.loc))


class Fixed(nn.Module):
    """Any Pyro distribution as a prior, without parameters to learn.

    Args:
        distribution: event shape `(d,)`, no batch shape. It stays as it was made and computes in its own
            dtype and on its own device; its draws come in the prior's, as torch's default at first, and
            in the VAE's after `vae.to(...)` or `vae.double()`. Densities are in the dtype of the points.
            Where the two differ, divergences in closed form are not known.

    Raises:
        ValueError: for a distribution that cannot be a Pyro sample site, or of another shape.

    >>> Fixed(dist.Laplace(torch.zeros(2), torch.ones(2)).to_event(1))().event_shape
    torch.Size([2])
    """

    _like: Tensor

    def __init__(self, distribution: dist.TorchDistribution):
        super().__init__()
        if not isinstance(distribution, TorchDistributionMixin):
            raise ValueError(
                f"expected a Pyro distribution, got {type(distribution)}; for torch's own take the "
                "class of the same name in pyro.distributions"
            )
        if len(distribution.event_shape) != 1 or distribution.batch_shape:
            raise ValueError(
                "a prior has event shape (d,) and no batch shape, got event shape "
                f"{tuple(distribution.event_shape)} and batch shape "
                f"{tuple(distribution.batch_shape)}; .to_event(1) moves a dimension"
            )
        self.distribution = distribution
        # Empty, and moved and cast with the VAE, so that it says what the VAE's numbers are like.
        self.register_buffer("_like", torch.empty(0), persistent=False)

    def forward(self) -> dist.TorchDistribution:
        return seen_as(self._like, self.distribution)


class Mixture(nn.Module):
    """Σₖ wₖ N(mₖ, diag sₖ²) with learned weights, means and standard deviations.

    Means start as standard normal draws from torch's global generator, standard deviations at one,
    weights equal.

    Args:
        d: latent dimension.
        n_components: number of normal distributions.

    Raises:
        ValueError: for numbers that are no positive integers.

    >>> Mixture(3, 10)().sample((5,)).shape
    torch.Size([5, 3])
    """

    def __init__(self, d: int, n_components: int):
        super().__init__()
        d = _positive("the latent dimension", d)
        n_components = _positive("n_components", n_components)
        self.loc = nn.Parameter(torch.randn(n_components, d))
        self.log_scale = nn.Parameter(torch.zeros(n_components, d))
        self.logits = nn.Parameter(torch.zeros(n_components))

    def forward(self) -> dist.TorchDistribution:
        components = dist.Normal(self.loc, self.log_scale.exp()).to_event(1)
        return Mixed(dist.Categorical(logits=self.logits), components)

    def extra_repr(self) -> str:
        return f"d={self.loc.shape[1]}, n_components={len(self.loc)}"


class Vamp(nn.Module):
    """Σₘ wₘ q(z|uₘ), the guide's mixture over learned pseudo-inputs uₘ.

    The guide is the VAE's own, `vae.posterior`, which holds its parameters: here it is borrowed, so that
    they are stepped and saved once. A copy of the VAE shares them in the same way; to move or cast,
    move or cast the VAE.

    Args:
        pseudo_inputs: where uₘ start, training data say, shape `(M, *event)`; learned.
        guide: one whose density is known at given points: `DiagonalNormal`, `FullNormal`, or a `Flow`
            that can be inverted.
        learn_weights: whether the wₘ are learned, or 1/M.

    Raises:
        ValueError: for pseudo-inputs that are not finite or that the guide does not take, and for a
            guide without a density.

    Source: Tomczak, Welling, *VAE with a VampPrior*, AISTATS 2018.

    >>> from pyrogeo.vae import guides, networks
    >>> Vamp(torch.rand(20, 5), guides.DiagonalNormal(networks.mlp(5, 16, 2 * 3)))().event_shape
    torch.Size([3])
    """

    def __init__(self, pseudo_inputs: Tensor, guide: nn.Module, learn_weights: bool = False):
        super().__init__()
        _check_pseudo_inputs(pseudo_inputs)
        _check_density(guide, pseudo_inputs)
        self.pseudo_inputs = nn.Parameter(pseudo_inputs.detach().clone())
        logits = pseudo_inputs.new_zeros(len(pseudo_inputs))
        if learn_weights:
            self.logits = nn.Parameter(logits)
        else:
            self.register_buffer("logits", logits)
        self._borrowed = (guide,)  # in a tuple, which torch does not register

    @property
    def guide(self) -> nn.Module:
        """The guide that it shares with the VAE."""
        return self._borrowed[0]

    def forward(self) -> dist.TorchDistribution:
        return Mixed(dist.Categorical(logits=self.logits), self.guide(self.pseudo_inputs))

    def extra_repr(self) -> str:
        return f"pseudo_inputs={tuple(self.pseudo_inputs.shape)}"


class Flow(nn.Module):
    """z = T_K ∘ … ∘ T_1(ε) with ε ~ N(0, I) and learned transforms.

    An ELBO evaluates the density at the guide's points, in a training step of which the transforms run
    backwards. `affine_autoregressive(d).inv` is a masked autoregressive flow, which has its density
    in one pass and draws in d; without `.inv` it is an inverse autoregressive flow, the other way
    round. Coupling flows (`affine_coupling`, `spline_coupling`) do both in one pass.

    Args:
        d: latent dimension.
        transforms: of `pyro.distributions.transforms`, in the order of application to ε.

    Raises:
        ValueError: for transforms that cannot be inverted (planar, radial), need a context, or are
            made for another dimension.

    Source: Papamakarios et al., *Masked autoregressive flow for density estimation*, 2017; Chen et al.,
    *Variational lossy autoencoder*, 2017.

    >>> from pyro.distributions.transforms import affine_autoregressive
    >>> Flow(2, [affine_autoregressive(2).inv])().log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, d: int, transforms: Sequence[Transform]):
        super().__init__()
        d = _positive("the latent dimension", d)
        self.transforms = Transforms(transforms)
        if self.transforms.conditional:
            raise ValueError("transforms: a prior has no context for a conditional transform")
        self.transforms.check_invertible(d)
        self.register_buffer("loc", torch.zeros(d))
        self.register_buffer("scale", torch.ones(d))

    def forward(self) -> dist.TorchDistribution:
        base = dist.Normal(self.loc, self.scale).to_event(1)
        flow: dist.TorchDistribution = Transformed(base, self.transforms())
        return flow


def _positive(name: str, value: int) -> int:
    number = whole_or_none(value)
    if number is None or number < 1:
        raise ValueError(f"{name} is a positive integer, got {value!r}")
    return number


def _check_pseudo_inputs(u: Tensor) -> None:
    if not torch.is_tensor(u) or not u.is_floating_point() or u.dim() < 2 or u.numel() == 0:
        got = (tuple(u.shape), u.dtype) if torch.is_tensor(u) else type(u)
        raise ValueError(
            f"pseudo_inputs: expected floating-point numbers of shape (M, *event), got {got}"
        )
    if not torch.isfinite(u).all():
        raise ValueError("pseudo_inputs: expected finite numbers, got NaN or infinite values")


def _check_density(guide: nn.Module, u: Tensor) -> None:
    """Tries the guide on one pseudo-input, as a copy that a batch norm in it can learn from."""
    if hasattr(guide, "program") or not isinstance(guide, nn.Module):
        raise ValueError(f"a Vamp prior needs a guide with a density, got {type(guide).__name__}")
    guide = copy.deepcopy(guide).eval()
    with torch.no_grad():
        try:
            q = guide(u[:1])
            known = bool(torch.isfinite(q.log_prob(q.sample() + 0.1)).all())
        except (KeyError, NotImplementedError):
            known = False
        except Exception as error:  # a user's network raises what it likes
            raise ValueError(
                f"the guide does not take pseudo-inputs of shape {tuple(u.shape)}: {error}"
            ) from error
    if not known:
        raise ValueError(
            f"a Vamp prior needs a guide whose density is known at given points; that of this "
            f"{type(guide).__name__} is not"
        )

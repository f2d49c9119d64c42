"""Adversarial objectives, which hold their discriminator and its optimiser.

The discriminator maximises log D(real) + log(1 − D(fake)), D = sigmoid of its last number; the programs
minimise −log D(fake), whose gradient does not vanish where the discriminator wins (Goodfellow et
al., 2014). Both are computed from logits and stay finite while these are. `loss_and_grads` steps the
discriminator once and then makes the programs' gradients; `loss` steps nothing.

What is minimised cannot be compared between epochs, since the discriminator moves. So `loss` and the
value of `loss_and_grads` leave its verdict out, and `fit` takes the epoch of the best reconstruction;
`differentiable_loss` is what is minimised. A discriminator that always wins makes that grow from epoch
to epoch (the equilibrium of −log D is log 2): lower its `learning_rate` or its width. One that becomes
NaN makes all three NaN, so that `fit` stops with `NonFiniteLossError` and puts the last good weights
back.
"""

import contextlib
import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from pyro.poutine import Trace
from torch import Tensor, nn
from torch.nn.functional import softplus

from pyrogeo.vae.objectives.base import (
    Objective,
    Program,
    decoded,
    latent_site,
    mean_of,
    observed_site,
)
from pyrogeo.vae.objectives.reconstruction import factor

__all__ = ["DataAdversarial", "LatentAdversarial"]


# With Adam's usual memory of past gradients the two sides overshoot each other (Radford et al., 2016).
_adam = partial(torch.optim.Adam, betas=(0.5, 0.999))


class _Adversarial(Objective):
    """What both have: a discriminator that is stepped, kept and moved with the data."""

    def __init__(
        self,
        discriminator: nn.Module,
        *,
        weight: float,
        optimizer: Callable[..., torch.optim.Optimizer] = _adam,
        learning_rate: float = 1e-3,
    ):
        super().__init__()
        if not isinstance(discriminator, nn.Module):
            raise ValueError(f"the discriminator must be a module, got {type(discriminator)}")
        self.discriminator, self.weight = discriminator, factor("weight", weight)
        rate = factor("learning_rate", learning_rate)
        self.optimizer = optimizer(discriminator.parameters(), lr=rate)

    def state_dict(self) -> dict[str, Any]:
        """Of the discriminator and of its optimiser."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])

    def _like(self, x: Tensor) -> None:
        """Moves the discriminator to the data, and its optimiser's state after it."""
        parameter = next(self.discriminator.parameters())
        if (parameter.device, parameter.dtype) != (x.device, x.dtype):
            self.discriminator.to(x.device, x.dtype)
            self.optimizer.load_state_dict(self.optimizer.state_dict())

    def _step(self, real: Tensor, fake: Tensor) -> None:
        """One step of the discriminator; the programs get no gradients from it."""
        self.optimizer.zero_grad()
        with torch.enable_grad():
            loss = softplus(-self._logits(real.detach())).mean()
            loss = loss + softplus(self._logits(fake.detach())).mean()
            loss.backward()
        self.optimizer.step()

    def _logits(self, x: Tensor) -> Tensor:
        logits: Tensor = self.discriminator(x)
        if logits.numel() != len(x):
            raise ValueError(
                "the discriminator must give one number for each point, got shape "
                f"{tuple(logits.shape)} for {len(x)} points"
            )
        return logits.reshape(len(x))

    @staticmethod
    def _value(comparable: Tensor, minimised: Tensor) -> float:
        """What is reported: not finite where what is minimised is not."""
        value = minimised.item()
        return comparable.item() if math.isfinite(value) else value

    @contextlib.contextmanager
    def _held(self) -> Iterator[None]:
        """The discriminator's own gradients are not wanted, those through it are."""
        wanted = [p.requires_grad for p in self.discriminator.parameters()]
        self.discriminator.requires_grad_(False)
        try:
            yield
        finally:
            for parameter, want in zip(self.discriminator.parameters(), wanted, strict=True):
                parameter.requires_grad_(want)

    @contextlib.contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.discriminator.training
        self.discriminator.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.discriminator.train(training)


class LatentAdversarial(_Adversarial):
    """−Σᵢ log p(xᵢ|zᵢ) − weight Σᵢ log D(zᵢ), D telling the prior's draws from zᵢ ~ q(z|xᵢ).

    The guide may be deterministic; β plays no part, `weight` has its place. `loss` is the first term.

    Args:
        discriminator: from `(B, d)` to `(B, 1)` logits.
        weight: of the adversarial term, against nats of reconstruction.
        options: of the discriminator's training: `learning_rate`, by default 1e-3, and `optimizer`,
            called as `optimizer(discriminator.parameters(), lr=learning_rate)`, by default Adam with
            `betas=(0.5, 0.999)`.

    Raises:
        ValueError: for a discriminator that is none, or bad numbers.

    Source: Makhzani, Shlens, Jaitly, Goodfellow, *Adversarial autoencoders*, 2016.

    >>> import pyrogeo as pg
    >>> objective = LatentAdversarial(pg.networks.mlp(2, 32, 1), weight=1.0)
    >>> sorted(objective.state_dict())
    ['discriminator', 'optimizer']
    """

    uses_beta = False
    needs_entropy = False

    def __init__(self, discriminator: nn.Module, *, weight: float = 1.0, **options: Any):
        super().__init__(discriminator, weight=weight, **options)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        model_trace, _ = self._get_trace(model, guide, args, kwargs)
        return self._minimised(model_trace)

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        with self._evaluating():
            model_trace, _ = self._get_trace(model, guide, args, kwargs)
            return self._value(_reconstruction(model_trace), self._minimised(model_trace))

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        model_trace, _ = self._get_trace(model, guide, args, kwargs)
        z = latent_site(model_trace)
        self._like(z["value"])
        self._step(z["fn"].sample(), z["value"])
        minimised = self._minimised(model_trace)
        minimised.backward()
        return self._value(_reconstruction(model_trace), minimised)

    def _minimised(self, model_trace: Trace) -> Tensor:
        x, z = observed_site(model_trace), latent_site(model_trace)
        self._like(z["value"])
        with self._held():
            fooled = softplus(-self._logits(z["value"])).sum()
        value: Tensor = _reconstruction(model_trace) + x["scale"] * self.weight * fooled
        return value


class DataAdversarial(_Adversarial):
    """β KL(q ‖ p) + ½ Σᵢ ‖f(xᵢ) − f(x̂ᵢ)‖² − weight Σᵢ [log D(x̂ᵢ) + log D(x̃ᵢ)]: D sees data.

    f are the discriminator's features, D its verdict; x̂ᵢ is the mean of p(x|zᵢ) with zᵢ ~ q(z|xᵢ), x̃ᵢ
    that of a draw of the prior. In the adversarial term zᵢ is held, so the guide learns from the
    other two only. The divergence is that of one draw. As Adam does not see a common factor of the
    decoder's terms, `weight` is the paper's 1/γ.

    The features move as well, so `loss` and the value of `loss_and_grads` are −ELBO in data space.

    Args:
        discriminator: a `Sequential` from `(B, *event)` to `(B, 1)` logits, whose last module makes
            them of the features.
        weight: of the adversarial term, against the features' distance.
        options: `optimizer` and `learning_rate`, as in `LatentAdversarial`.

    Raises:
        ValueError: for a discriminator that is none, or bad numbers.

    Source: Larsen, Sønderby, Larochelle, Winther, *Autoencoding beyond pixels using a learned
    similarity metric*, 2016.

    >>> import pyrogeo as pg
    >>> DataAdversarial(pg.networks.mlp((1, 8, 8), 32, 1)).needs_entropy
    True
    """

    def __init__(self, discriminator: nn.Sequential, *, weight: float = 1.0, **options: Any):
        super().__init__(discriminator, weight=weight, **options)
        if not isinstance(discriminator, nn.Sequential) or len(discriminator) < 2:
            raise ValueError(
                "the discriminator must be a Sequential of features and a last module, got "
                f"{type(discriminator).__name__}"
            )

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        traces = self._get_trace(model, guide, args, kwargs)
        return self._minimised(*traces, self._fakes(traces[0], model, args, kwargs))

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        with self._evaluating():
            traces = self._get_trace(model, guide, args, kwargs)
            minimised = self._minimised(*traces, self._fakes(traces[0], model, args, kwargs))
            return self._value(_negative_elbo(*traces), minimised)

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        traces = self._get_trace(model, guide, args, kwargs)
        fakes = self._fakes(traces[0], model, args, kwargs)
        real = observed_site(traces[0])["value"]
        self._like(real)
        self._step(real, fakes.flatten(0, 1))
        minimised = self._minimised(*traces, fakes)
        minimised.backward()
        return self._value(_negative_elbo(*traces), minimised)

    @staticmethod
    def _fakes(
        model_trace: Trace, model: Program, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Tensor:
        """Decoded draws of the guide, held, and of the prior: shape `(2, B, *event)`."""
        z = latent_site(model_trace)
        both = torch.stack([z["value"].detach(), z["fn"].sample()])
        return decoded(model, args, kwargs, z["name"], both)

    def _minimised(self, model_trace: Trace, guide_trace: Trace, fakes: Tensor) -> Tensor:
        x = observed_site(model_trace)
        self._like(x["value"])
        with self._held():
            discriminator: Any = self.discriminator  # a Sequential, as the constructor has checked
            features = discriminator[:-1]
            apart = (features(x["value"]) - features(mean_of(x["fn"]))).square().sum()
            fooled = softplus(-self._logits(fakes.flatten(0, 1))).sum()
        divergence = _negative_elbo(model_trace, guide_trace) + x["log_prob_sum"]
        value: Tensor = divergence + x["scale"] * (0.5 * apart + self.weight * fooled)
        return value


def _negative_elbo(model_trace: Trace, guide_trace: Trace) -> Tensor:
    return torch.as_tensor(guide_trace.log_prob_sum() - model_trace.log_prob_sum())


def _reconstruction(model_trace: Trace) -> Tensor:
    value: Tensor = -observed_site(model_trace)["log_prob_sum"]
    return value

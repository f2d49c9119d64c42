"""Who carries out the steps: where the parts are, and how gradients become a step.

The loop in `fit` knows data, epochs and losses, and asks an `Engine` for the rest. So what spreads a
step over devices, or computes it in another precision, is another engine and the same loop.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import torch
from torch import Tensor, nn

from pyrogeo.vae.model import VAE
from pyrogeo.vae.training.state import Learner

__all__ = ["Engine", "PlainEngine"]


class Engine(Protocol):
    """Carries out steps. All of its methods leave the random stream's seeding to the loop."""

    def prepare(
        self, vae: VAE, make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    ) -> torch.optim.Optimizer:
        """Moves the VAE to where it is trained, and makes the optimiser of its parameters there."""

    def training(self, learner: Learner) -> contextlib.AbstractContextManager[None]:
        """What surrounds the whole of training."""

    def step(self, learner: Learner, batch: Tensor) -> float:
        """One step on a batch of shape `(B, *event)`; the loss before it, a sum in nats.

        Nothing is stepped where the loss is not finite.
        """

    def loss(self, learner: Learner, batch: Tensor) -> float:
        """The loss of a batch, a sum in nats; changes nothing."""


class PlainEngine:
    """One device, in the VAE's own precision.

    Args:
        device: to which the VAE is moved; None leaves it where it is.
    """

    def __init__(self, device: torch.device | str | None = None):
        self.device = device

    def prepare(
        self, vae: VAE, make: Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]
    ) -> torch.optim.Optimizer:
        """As in `Engine`.

        Raises:
            ValueError: for a device that is not here.
        """
        if self.device is not None:
            try:
                vae.to(self.device)
            except (RuntimeError, AssertionError) as error:
                raise ValueError(f"device: {self.device!r} cannot be used here: {error}") from error
        return make([p for p in vae.parameters() if p.requires_grad])

    @contextlib.contextmanager
    def training(self, learner: Learner) -> Iterator[None]:
        """The optimiser steps the parameters, of which the programs then need not tell Pyro."""
        learner.vae.stepped_elsewhere = not learner.traits.reads_parameters
        try:
            yield
        finally:
            learner.vae.stepped_elsewhere = False

    def step(self, learner: Learner, batch: Tensor) -> float:
        vae, optimizer = learner.vae, learner.optimizer
        optimizer.zero_grad()
        loss = float(learner.objective.loss_and_grads(vae.model, vae.guide, _like(vae, batch)))
        if math.isfinite(loss):
            optimizer.step()
        return loss

    def loss(self, learner: Learner, batch: Tensor) -> float:
        vae = learner.vae
        return float(learner.objective.loss(vae.model, vae.guide, _like(vae, batch)))


def _like(vae: VAE, batch: Tensor) -> Tensor:
    return batch.to(vae.device, vae.dtype)

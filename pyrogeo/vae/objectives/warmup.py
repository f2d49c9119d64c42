"""A schedule for the weight of the latent terms."""

import math
from typing import Any

import torch
from pyro.infer import ELBO, Trace_ELBO
from pyro.poutine.messenger import Messenger
from torch import Tensor

from pyrogeo._checks import not_negative, whole
from pyrogeo.vae.objectives.base import Objective, Program, traits_of

__all__ = ["Warmup"]


class Warmup(Objective):
    """Another objective, with its latent terms times w, which rises linearly from `start` to 1.

    With `vae.beta` the factor of the divergence is w β. Only `loss_and_grads` counts steps.
    Its value and that of `loss` are those of the full weight: with the weight of the moment, the first
    epochs, which pay nothing for the divergence, would look like the best.

    Args:
        objective: to be weighted, by default `Trace_ELBO()`.
        steps: until the weight is 1.
        start: first weight, from 0 to 1.

    Raises:
        ValueError: for numbers that are not such, and an objective without latent terms to weigh.

    Source: Bowman et al., *Generating sentences from a continuous space*, 2016; Sønderby et al.,
    *Ladder variational autoencoders*, 2016.

    >>> Warmup(Trace_ELBO(), steps=200, start=0.5).weight
    0.5
    """

    def __init__(self, objective: ELBO | None = None, steps: int = 1000, start: float = 0.0):
        objective = Trace_ELBO() if objective is None else objective
        traits = traits_of(objective)
        if not traits.uses_beta:
            raise ValueError(f"{type(objective).__name__} has no β to warm up")
        steps, start = whole("steps", steps), not_negative("start", start)
        if start > 1:
            raise ValueError(f"start must be from 0 to 1, got {start!r}")
        super().__init__()
        self.objective: Any = objective  # Pyro's base class does not say its methods
        self.steps, self.start = steps, start
        self.needs_entropy, self.reads_parameters = traits.needs_entropy, traits.reads_parameters
        self._step = 0

    @property
    def weight(self) -> float:
        """w of the next step."""
        return self.start + (1 - self.start) * min(1.0, self._step / self.steps)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """With the weight of the moment; counts nothing."""
        weigh = _Weighing(self.weight)
        loss: Tensor = self.objective.differentiable_loss(
            weigh(model), weigh(guide), *args, **kwargs
        )
        return loss

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        loss: float = self.objective.loss(model, guide, *args, **kwargs)
        return loss

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        weigh = _Weighing(self.weight)
        loss: float = self.objective.loss_and_grads(weigh(model), weigh(guide), *args, **kwargs)
        if self.weight < 1 and math.isfinite(loss):
            with torch.no_grad():
                loss = self.objective.loss(model, guide, *args, **kwargs)
        self._step += 1
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The number of steps, and the state of the objective that is weighted."""
        inner: dict[str, Any] = getattr(self.objective, "state_dict", dict)()
        return {"step": self._step, "objective": inner}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes what `state_dict` gave."""
        self._step = state["step"]
        if hasattr(self.objective, "load_state_dict"):
            self.objective.load_state_dict(state["objective"])


class _Weighing(Messenger):
    """Scales what is not observed, which `poutine.scale` cannot tell from what is."""

    def __init__(self, weight: float):
        super().__init__()
        self.weight = weight

    def _pyro_sample(self, message: dict[str, Any]) -> None:
        if message["is_observed"] or self.weight == 1:
            return
        if self.weight == 0:  # a scale of 0 would make NaN of an infinite log-density
            message["mask"] = False
        else:
            message["scale"] = message["scale"] * self.weight

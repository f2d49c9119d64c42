"""Hamiltonian Monte Carlo on many chains at once, as one tensor."""

import math
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from pyro.infer.mcmc.mcmc_kernel import MCMCKernel
from pyro.ops.dual_averaging import DualAveraging
from torch import Tensor

from pyrogeo._checks import positive, share, whole
from pyrogeo._random import continued, fresh_seed
from pyrogeo.annealing import Proposal
from pyrogeo.moves import State, hmc, independence

__all__ = ["BatchHMC"]

_DIVERGENCE = 1000.0  # of the energy, as in Stan and Pyro
_REASONABLE = math.log(0.8)


class BatchHMC(MCMCKernel):
    """A Pyro kernel that moves C independent chains together: one evaluation for all of them.

    Each chain accepts or refuses on its own; the step size is common, adapted by dual averaging on the
    mean acceptance. A whole number of leapfrog steps is taken, of a size that is drawn anew for each
    chain and transition, so that no chain falls into the period of a mode.

    Use it as `pyrogeo.sample(density, 200, kernel=BatchHMC, num_chains=256)`, or in Pyro's
    `MCMC(kernel, num_samples, initial_params={"z": z})` with z of shape `(C, d)` and
    `num_chains=1`, which gives samples of shape `(num_samples, C, d)`.

    Args:
        potential_fn: from `{"z": (C, d)}` to `(C,)`. Its `value_and_grad(z)` is taken where there is
            one, else autograd. It may raise; its own error comes through.
        step_size: at the start, or throughout.
        num_steps: leapfrog steps of each transition.
        adapt_step_size: towards `target_accept_prob`, in warm-up.
        adapt_mass_matrix: take the standard deviations within chains, coordinate by coordinate, as
            scale, in warm-up.
        target_accept_prob: of the mean acceptance.
        jitter: step sizes vary by up to this share.
        jump_every: after so many transitions, each chain is offered an independent draw from the
            potential's `proposal` (Metropolis–Hastings), which carries it between modes: the Gaussian
            mixture of a `CentroidMetric`, or what was passed as `RiemannianUniform(proposal=...)`.
        seed: of the kernel's own generator; None draws one from torch's global generator at setup.

    Raises:
        ValueError: for settings out of range, or jumps without a proposal.

    Source: R. Neal, *MCMC using Hamiltonian dynamics*, 2011; Hoffman, Gelman, *The No-U-Turn
    sampler*, 2014 (dual averaging).

    >>> from pyrogeo.geometry import DiagonalCentroidMetric
    >>> from pyrogeo.distributions import Potential
    >>> metric = DiagonalCentroidMetric(torch.zeros(1, 2), torch.ones(1, 2), 1.0, 0.0)
    >>> kernel = BatchHMC(Potential(metric), seed=0)
    >>> kernel.initial_params = {"z": torch.zeros(5, 2)}
    >>> kernel.setup(warmup_steps=0)
    >>> kernel.sample(kernel.initial_params)["z"].shape
    torch.Size([5, 2])
    """

    batched = True

    def __init__(
        self,
        potential_fn: Callable[..., Any] | None = None,
        step_size: float = 0.1,
        num_steps: int = 10,
        adapt_step_size: bool = True,
        adapt_mass_matrix: bool = False,
        target_accept_prob: float = 0.8,
        *,
        jitter: float = 0.2,
        jump_every: int | None = None,
        seed: int | None = None,
    ):
        if potential_fn is None or not callable(potential_fn):
            raise ValueError(f"potential_fn: expected a function, got {potential_fn!r}")
        self.potential_fn: Any = potential_fn  # which may have a proposal, and a gradient
        self.step_size, self.num_steps = (
            positive("step_size", step_size),
            whole("num_steps", num_steps),
        )
        self.adapt_step_size, self.adapt_mass_matrix = adapt_step_size, adapt_mass_matrix
        self.target_accept_prob = share("target_accept_prob", target_accept_prob)
        self.jitter = jitter if jitter == 0 else share("jitter", jitter)
        self.jump_every = None if jump_every is None else whole("jump_every", jump_every)
        if jump_every is not None and getattr(potential_fn, "proposal", None) is None:
            raise ValueError(
                "jump_every needs a proposal: the potential of a CentroidMetric has one, another "
                "metric's takes it from RiemannianUniform(metric, proposal=...)"
            )
        self.seed = seed
        self.transforms: dict[str, Any] = {}
        self._initial_params: dict[str, Tensor] | None = None
        super().__init__()

    @property
    def jumps(self) -> bool:
        """Whether chains are offered draws that carry them between modes."""
        return self.jump_every is not None

    @property
    def initial_params(self) -> dict[str, Tensor] | None:
        """The points of the chains under the key `"z"`, shape `(C, d)`; None until they are set."""
        return self._initial_params

    @initial_params.setter
    def initial_params(self, params: dict[str, Tensor]) -> None:
        self._initial_params = params

    def setup(self, warmup_steps: int, *args: Any, **kwargs: Any) -> None:
        """Evaluates the starts, and looks for a step size of the right order.

        Raises:
            ValueError: without starts of shape `(C, d)`, or with one of no finite log-density.
        """
        if not self._initial_params or self._initial_params["z"].dim() != 2:
            raise ValueError("BatchHMC needs initial_params={'z': z} with z of shape (C, d)")
        z = self._initial_params["z"].detach()
        self._generator = torch.Generator(z.device)
        self._generator.manual_seed(fresh_seed(self.seed))
        self._warmup_steps, self._count = warmup_steps, 0
        self._scale = torch.ones(z.shape[1], dtype=z.dtype, device=z.device)
        self._state = State(z, *self._value_and_grad(z))
        bad = int((~torch.isfinite(self._state.value)).sum())
        if bad:
            raise ValueError(f"the log-density is not finite at {bad} of {len(z)} starts")
        self._moments = (0, torch.zeros_like(z), torch.zeros_like(z))
        self._law: Proposal | None = None if self.jump_every is None else self.potential_fn.proposal
        self._acceptance, self._jumps = 0.0, 0.0
        if self.adapt_step_size and warmup_steps > 0:
            self._restart_adaptation()

    def sample(self, params: dict[str, Tensor]) -> dict[str, Tensor]:
        """One transition of every chain."""
        if params["z"] is not self._state.z:
            self._state = State(params["z"], *self._value_and_grad(params["z"]))
        size = self.step_size * self._jitters(len(self._state.z))
        self._state, made = hmc(
            self._value_and_grad, self._state, size, self.num_steps, self._scale, self._generator
        )
        self._count += 1
        every = self.jump_every
        if self._law is not None and every is not None and self._count % every == 0:
            self._jump(self._law, every)
        #: what `pyrogeo.sample` keeps of the last transition, by ArviZ's names
        self.statistics = {
            "kinetic": made.kinetic,
            "diverging": ~(made.error < _DIVERGENCE),
            "acceptance_rate": made.probability,
        }
        mean = made.probability.mean().item()
        self._acceptance += (mean - self._acceptance) / self._in_stage()
        if self._count <= self._warmup_steps:
            self._adapt(mean)
        return {"z": self._state.z}

    def _in_stage(self) -> int:
        after = self._count - self._warmup_steps
        return after if after > 0 else self._count

    def _jitters(self, n: int) -> Tensor:
        z = self._state.z
        uniform = torch.rand(n, 1, generator=self._generator, dtype=z.dtype, device=z.device)
        return 1 + self.jitter * (2 * uniform - 1)

    def _jump(self, law: Proposal, jump_every: int) -> None:
        with continued(self._generator):
            z = law.sample(len(self._state.z)).to(self._state.z.dtype)
        proposal = State(z, *self._value_and_grad(z))
        log_prob = law.log_prob(self._state.z), law.log_prob(z)
        self._state, probability = independence(self._state, proposal, log_prob, self._generator)
        self._jumps += (probability.mean().item() - self._jumps) * jump_every / self._count

    def _value_and_grad(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """The log-density and its gradient, in closed form or by autograd."""
        closed_form = getattr(self.potential_fn, "value_and_grad", None)
        if closed_form is not None:
            value, gradient = closed_form(z)
        else:
            with torch.enable_grad():
                z = z.detach().requires_grad_()
                value = self.potential_fn({"z": z})
                self._check_shape(value, z)
                (gradient,) = torch.autograd.grad(value.sum(), z)
        self._check_shape(value, z)
        return -value.detach(), -gradient

    @staticmethod
    def _check_shape(value: Tensor, z: Tensor) -> None:
        if value.shape != z.shape[:1]:
            raise ValueError(
                f"a batched potential maps points {tuple(z.shape)} to {tuple(z.shape[:1])}, got "
                f"{tuple(value.shape)}"
            )

    def _restart_adaptation(self) -> None:
        self._find_step_size()
        self._averaging = DualAveraging(prox_center=math.log(10 * self.step_size))

    def _find_step_size(self) -> None:
        """Doubles or halves until the mean acceptance of one step crosses 0.8."""
        direction = 0
        for _ in range(60):
            made = hmc(
                self._value_and_grad, self._state, self.step_size, 1, self._scale, self._generator
            )[1]
            good = made.probability.mean().item() > math.exp(_REASONABLE)
            if direction and good != (direction > 0):
                return
            direction = 1 if good else -1
            self.step_size *= 2.0**direction

    def _adapt(self, acceptance: float) -> None:
        last = self._count == self._warmup_steps
        if self.adapt_step_size:
            self._averaging.step(self.target_accept_prob - acceptance)
            log_size, average = self._averaging.get_state()
            self.step_size = math.exp(average if last else log_size)
        if self.adapt_mass_matrix:
            self._adapt_scale()

    def _adapt_scale(self) -> None:
        """The spread within chains over the second quarter of warm-up, then over the third."""
        quarter = self._warmup_steps // 4
        if quarter < 5 or not quarter < self._count <= 3 * quarter:
            return
        count, mean, squares = self._moments
        z = self._state.z
        count, change = count + 1, z - mean
        mean = mean + change / count
        self._moments = (count, mean, squares + change * (z - mean))
        if self._count in (2 * quarter, 3 * quarter):
            self._scale = (self._moments[2].mean(0) / (count - 1)).clamp(min=1e-20).sqrt()
            self._moments = (0, torch.zeros_like(z), torch.zeros_like(z))
            if self.adapt_step_size:
                self._restart_adaptation()

    @property
    def inverse_mass_matrix(self) -> dict[tuple[str, ...], Tensor]:
        """The squared scales, under Pyro's key for them."""
        return {("z",): self._scale**2}

    def logging(self) -> OrderedDict[str, str]:
        """For Pyro's progress bar."""
        return OrderedDict(
            [("step size", f"{self.step_size:.2e}"), ("acc. prob", f"{self._acceptance:.3f}")]
        )

    def diagnostics(self) -> dict[str, Any]:
        """Mean acceptance of trajectories, and of jumps if there are any."""
        found = {"acceptance rate": self._acceptance}
        return found | ({"jump acceptance rate": self._jumps} if self.jump_every else {})

    def cleanup(self) -> None:
        """Pyro calls it after a run."""
        vars(self).pop("_state", None)

"""Exact draws as ArviZ data: independent runs of sequential Monte Carlo in the place of chains."""

import json
import warnings
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._checks import whole
from pyrogeo._random import derived_seed, forked, fresh_seed
from pyrogeo.annealing import Population
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.distributions.smc import warn_if_hard, warn_if_in_doubt
from pyrogeo.errors import SamplingWarning
from pyrogeo.sampling.draws import to_arviz

__all__ = ["sample_smc"]


def sample_smc(
    density: RiemannianUniform,
    num_samples: int,
    num_runs: int = 8,
    *,
    seed: int | None = None,
    progress: bool = True,
) -> Any:
    """Exact draws from several independent runs, for `diagnose` to compare.

    Draws within a run are exchangeable but share ancestors; what is independent is the runs. Effective
    sample sizes are therefore those between runs.

    Args:
        density: of a `CentroidMetric`, or one with a proposal.
        num_samples: of each run; a run's population has at least 2,048 points, of which these are a
            random part.
        num_runs: at least two for a verdict.
        seed: None draws one from torch's global generator.
        progress: show a bar.

    Returns:
        ArviZ data with the runs as chains: `posterior` with `z`, `sample_stats` with `lp` (log-density,
        not normalised), and with the dimension `chain` alone, so that it stays with its run, `log_volume`,
        `seed`, `incomplete`, `in_doubt` (whether mass may be missed), and as JSON `temperatures`, `ess`
        and `acceptance` of the run's stages.

    Raises:
        ValueError: for counts out of range, or a density that has no proposal to start from.

    Source: Del Moral, Doucet, Jasra, *Sequential Monte Carlo samplers*, 2006.

    >>> from pyrogeo.geometry import CentroidMetric
    >>> means = torch.eye(2, dtype=torch.float64)
    >>> posterior = torch.distributions.Normal(means, torch.full_like(means, 0.1))
    >>> metric = CentroidMetric.from_posterior(posterior, None)
    >>> draws = sample_smc(RiemannianUniform(metric), 100, num_runs=2, seed=0, progress=False)
    >>> dict(draws.posterior.sizes)
    {'chain': 2, 'draw': 100, 'z_dim': 2}
    """
    num_samples, num_runs = whole("num_samples", num_samples), whole("num_runs", num_runs)
    if getattr(density, "proposal", None) is None:
        of = getattr(density, "metric", density)
        raise ValueError(
            "exact draws need the density of a CentroidMetric, whose mixture they start from, or one "
            f"with proposal=..., got that of {type(of).__name__}; use pyrogeo.sample"
        )
    seed = fresh_seed(seed)
    runs, draws = _run(density, num_samples, num_runs, seed, progress)
    warn_if_hard(runs, density.proposal)
    warn_if_in_doubt(density.overlap)
    z = torch.stack(draws)
    attrs = {"method": "exact", "seed": seed, "incomplete": len(runs) < num_runs}
    of_runs = {
        "seed": seed,
        "incomplete": len(runs) < num_runs,
        "in_doubt": density.overlap.in_doubt,
        "log_volume": [run.log_normalizer for run in runs],
        **{
            name: [json.dumps(getattr(run, name)) for run in runs]
            for name in ("temperatures", "ess", "acceptance")
        },
    }
    lp = density.log_density(z).cpu().numpy()
    return to_arviz({"z": z.cpu().numpy()}, {"lp": lp}, attrs, of_runs)


def _run(
    density: RiemannianUniform, num_samples: int, num_runs: int, seed: int, progress: bool
) -> tuple[list[Population], list[Tensor]]:
    """Whole populations, and a random part of each; as many as were made before Ctrl-C."""
    runs, draws = [], []
    bar = tqdm(range(num_runs), desc="sample", disable=not progress)
    try:
        for run in bar:
            with forked(derived_seed(seed, run), density.device):
                population = density.population(num_samples)
                chosen = torch.randperm(len(population.particles))[:num_samples]
            runs.append(population)
            draws.append(population.particles[chosen.to(population.particles.device)])
            bar.set_postfix_str(f"{len(population.temperatures)} stages", refresh=False)
    except KeyboardInterrupt:
        if not runs:
            raise
        warnings.warn(f"interrupted: {len(runs)} of {num_runs} runs", SamplingWarning, stacklevel=3)
    return runs, draws

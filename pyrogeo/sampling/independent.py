"""Independent points in the place of chains: of a law, and of the paper's protocol."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from pyrogeo._checks import whole
from pyrogeo._random import forked, fresh_seed
from pyrogeo.geometry import Metric
from pyrogeo.sampling.draws import to_arviz
from pyrogeo.sampling.protocol import paper_protocol

__all__ = ["sample_law", "sample_protocol"]


def sample_law(
    law: torch.distributions.Distribution,
    num_samples: int,
    num_chains: int,
    method: str,
    metric: Metric | None = None,
    seed: int | None = None,
) -> Any:
    """Draws of a distribution as ArviZ data: independent, and cut into equal chains.

    Args:
        law: of event shape `(d,)`.
        num_samples, num_chains: size of the rectangle.
        method: by which the draws say that they were made.
        metric: of which `lp` = ½ log det G is kept; None keeps none.
        seed: None draws one from torch's global generator.

    Raises:
        ValueError: for counts below 1, or what is no distribution of points.
    """
    num_samples, num_chains = whole("num_samples", num_samples), whole("num_chains", num_chains)
    shapes = getattr(law, "batch_shape", None), getattr(law, "event_shape", ())
    if shapes[0] != () or len(shapes[1]) != 1:
        raise ValueError(
            f"expected a distribution of event shape (d,) and no batch shape, got {law!r}"
        )
    seed = fresh_seed(seed)
    with forked(seed, _device(law, metric)), torch.no_grad():
        z = law.sample((num_chains, num_samples))
    return _as_draws(metric, z, {"method": method, "seed": seed})


def sample_protocol(
    metric: Metric,
    num_samples: int,
    num_chains: int = 4,
    *,
    starts: Tensor,
    seed: int | None = None,
    **options: Any,
) -> Any:
    """`paper_protocol`'s points as ArviZ data, cut into equal chains.

    Args:
        metric: G; τ may be 0.
        num_samples, num_chains: size of the rectangle; each of its points is the last state of a
            short chain of its own.
        starts: training embeddings of shape `(N, d)`.
        seed: None draws one from torch's global generator.
        options: of `paper_protocol`.

    Returns:
        ArviZ data as `sample` returns it, with `lp` = ½ log det G and attribute `method="protocol"`.

    Raises:
        ValueError: for counts below 1, and as `paper_protocol` does.
    """
    num_samples, num_chains = whole("num_samples", num_samples), whole("num_chains", num_chains)
    seed = fresh_seed(seed)
    starts = _as_of(metric, starts)
    z = paper_protocol(metric, starts, num_chains * num_samples, seed=seed, **options)
    z = z.reshape(num_chains, num_samples, -1)
    return _as_draws(metric, z, {"method": "protocol", "seed": seed})


def _as_draws(metric: Metric | None, z: Tensor, attrs: dict[str, Any]) -> Any:
    statistics = {}
    if metric is not None:
        with torch.no_grad():
            lp = metric.log_volume_element(_as_of(metric, z))
        statistics = {"lp": lp.cpu().numpy()}
    return to_arviz({"z": z.cpu().numpy()}, statistics, attrs, {"seed": attrs["seed"]})


def _as_of(metric: Metric, z: Any) -> Any:
    """Points on the device and in the precision of the metric's tensors, if it has any."""
    floats = [t for t in metric.state_dict().values() if t.is_floating_point()]
    return z.to(floats[0]) if torch.is_tensor(z) and floats else z


def _device(*things: Any) -> torch.device:
    """Where a law draws, by the first tensor in it."""
    tensors = _tensors(things)
    return next((tensor.device for tensor in tensors), torch.device("cpu"))


def _tensors(things: Iterable[Any]) -> Iterator[Tensor]:
    for thing in things:
        if torch.is_tensor(thing):
            yield thing
        elif isinstance(thing, nn.Module):
            yield from chain(thing.parameters(), thing.buffers())
        elif isinstance(thing, torch.distributions.Distribution):
            yield from _tensors(vars(thing).values())

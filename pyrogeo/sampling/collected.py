"""What chains emit, as it comes in: the bar that it moves, and the ArviZ data that it becomes."""

import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo.errors import SamplingWarning
from pyrogeo.sampling.chains import Draw
from pyrogeo.sampling.draws import to_arviz

__all__ = ["Collected", "CollectedBatch", "assembled"]


class Collected:
    """Draws by chain as they come in, and the progress bar they move."""

    def __init__(self, num_chains: int, warmup_steps: int, num_samples: int, progress: bool):
        self.draws: list[list[Draw]] = [[] for _ in range(num_chains)]
        self.before: list[np.ndarray | None] = [None] * num_chains
        self.interrupted = False
        self.num_samples = num_samples
        self.divergences = 0
        total = num_chains * (warmup_steps + num_samples)
        self.bar = tqdm(total=total, desc="sample", disable=not progress)

    def __call__(self, chain: int, warmup: bool, draw: Draw) -> None:
        if warmup:
            self.before[chain] = draw.z
        else:
            self.draws[chain].append(draw)
            self.divergences += draw.diverging
        self._show(f"chain {chain}", warmup, draw.step_size)

    def _show(self, who: str, warmup: bool, step_size: float) -> None:
        self.bar.set_postfix_str(
            f"{who}{' (warm-up)' if warmup else ''}, step size {step_size:.2e}, "
            f"{self.divergences} divergences",
            refresh=False,
        )
        self.bar.update()

    def rectangle(self, starts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, list[int]]:
        """Columns of shape `(chain, draw, …)` of as many draws as make a rectangle, the points from which
        the chains came to their first draws, and which chains they are."""
        lengths = [len(draws) for draws in self.draws]
        if max(lengths) == 0:
            raise KeyboardInterrupt
        keep, n = _largest_rectangle(lengths)
        columns = {
            name: np.array([[getattr(draw, name) for draw in self.draws[i][:n]] for i in keep])
            for name in Draw._fields
        }
        befores = [self.before[i] for i in keep]
        origins = [starts[i] if z is None else z for i, z in zip(keep, befores, strict=True)]
        return columns, np.stack(origins), keep


class CollectedBatch(Collected):
    """The same for a kernel that moves all chains at once: a draw holds arrays."""

    def __init__(self, num_chains: int, warmup_steps: int, num_samples: int, progress: bool):
        super().__init__(1, warmup_steps, num_samples, progress)

    def __call__(self, chain: int, warmup: bool, draw: Draw) -> None:
        if warmup:
            self.before[0] = draw.z
        else:
            self.draws[0].append(draw)
            self.divergences += int(np.sum(draw.diverging))
        self._show(f"{len(draw.z)} chains", warmup, draw.step_size)

    def rectangle(self, starts: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray, list[int]]:
        draws, chains = self.draws[0], len(starts)
        if not draws:
            raise KeyboardInterrupt
        columns = {
            name: np.stack(
                [
                    np.broadcast_to(
                        getattr(draw, name), (chains, *np.shape(getattr(draw, name))[1:])
                    )
                    for draw in draws
                ],
                1,
            )
            for name in Draw._fields
        }
        origins = starts if self.before[0] is None else self.before[0]
        return columns, origins, list(range(chains))


def assembled(
    density: Any,
    starts: Tensor,
    collected: "Collected",
    attrs: dict[str, Any],
    of_chains: dict[str, Any],
) -> Any:
    """ArviZ data of what was collected, with the log-density and the energy of each draw.

    `of_chains` has for each of the chains that were started an entry, or one for all.
    """
    columns, origins, kept = collected.rectangle(starts.cpu().numpy())
    facts = {name: np.resize(np.asarray(x), len(starts))[kept] for name, x in of_chains.items()}
    z, kinetic, tree_depth = (columns.pop(name) for name in ("z", "kinetic", "tree_depth"))
    if collected.interrupted:
        warnings.warn(
            f"interrupted: {z.shape[0]} chains of {z.shape[1]} draws are returned, of {len(starts)} "
            f"chains of {collected.num_samples}",
            SamplingWarning,
            stacklevel=3,
        )
    path = torch.from_numpy(np.concatenate([origins[:, None], z], 1)).to(starts)
    lp = density.log_density(path).detach().cpu().numpy()
    stats = {"lp": lp[:, 1:], "energy": kinetic - lp[:, :-1], **columns}
    stats = {name: value for name, value in stats.items() if not np.isnan(value).all()}
    if not np.isnan(tree_depth).any():
        stats["tree_depth"] = tree_depth.astype(int)
    return to_arviz({"z": z}, stats, attrs, facts)


def _largest_rectangle(lengths: list[int]) -> tuple[list[int], int]:
    """The chains to keep, and their common length, for the most draws in all."""
    n = max(lengths, key=lambda m: m * sum(length >= m for length in lengths))
    return [i for i, length in enumerate(lengths) if length >= n], n

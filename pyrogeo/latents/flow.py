"""An autoregressive flow fitted to embeddings by maximum likelihood."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm.auto import tqdm

from pyrogeo._checks import positive, whole, whole_or_none
from pyrogeo._random import forked, fresh_seed
from pyrogeo.errors import NonFiniteLossError
from pyrogeo.latents.autoregressive import AutoregressiveFlow, FlowNetworks
from pyrogeo.latents.embeddings import check_embeddings, split, standardisation

__all__ = ["fit_flow"]


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
    check_embeddings(z, at_least=10)
    d = z.shape[1]
    if kind not in ("masked", "inverse"):
        raise ValueError(f"kind: expected 'masked' or 'inverse', got {kind!r}")
    if d < 2:
        raise ValueError("a flow needs at least 2 dimensions: in one, its coordinate sees no other")
    num_blocks = whole("num_blocks", num_blocks)
    training: dict[str, Any] = {
        "learning_rate": positive("learning_rate", learning_rate),
        "epochs": whole("epochs", epochs),
        "batch_size": whole("batch_size", batch_size),
        "patience": whole("patience", patience),
    }
    units = [n for n in map(whole_or_none, hidden) if n is not None and n >= d]
    if not units or len(units) < len(hidden):
        raise ValueError(f"hidden: expected layers of at least d = {d} units, got {hidden!r}")
    seed, z = fresh_seed(seed), z.detach()
    train, held_out = split(z, validation, seed)
    with forked(seed, z.device), torch.inference_mode(False), torch.enable_grad():
        flow = FlowNetworks(*standardisation(train), kind, num_blocks, units)
        _maximise_likelihood(flow, train, held_out, progress=progress, **training)
    return AutoregressiveFlow(flow)


def _maximise_likelihood(
    flow: FlowNetworks,
    train: Tensor,
    held_out: Tensor,
    *,
    learning_rate: float,
    epochs: int,
    batch_size: int,
    patience: int,
    progress: bool,
) -> None:
    """Leaves the flow with the weights that explain the held-out points best."""
    optimizer = torch.optim.Adam(flow.parameters(), lr=learning_rate)
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
            missed = -flow.log_prob(held_out).mean().item()
        if missed < best:
            best, best_epoch = missed, epoch
            weights = {name: tensor.clone() for name, tensor in flow.state_dict().items()}
        bar.set_postfix_str(f"validation loss {missed:.4g}", refresh=False)
        if epoch - best_epoch >= patience:
            break
    if not weights:
        raise NonFiniteLossError(missed, epoch, 0)
    flow.load_state_dict(weights)

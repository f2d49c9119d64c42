"""Chains and training: what happened, step by step."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.stats import rankdata

from pyrogeo.distributions import BandwidthChoice
from pyrogeo.plots._plane import PALETTE, plain
from pyrogeo.vae import History
from pyrogeo.verdict.diagnosis import series

__all__ = ["bandwidth", "chains", "history"]


def chains(draws: Any, rows: int = 4, bins: int = 20) -> Figure:
    """Rank and trace plots of the quantities whose chains agree least, and of the log-density.

    Chains that draw from one law have flat rank histograms. Each chain's ranks among all draws are
    counted in bins, and shown beside its trace in the same colour and line style.

    Args:
        draws: ArviZ data.
        rows: quantities to show at most; those with the largest R-hat are taken.
        bins: of the rank histograms.

    Returns:
        a figure with a row for each quantity.

    Raises:
        ValueError: as `diagnose` does.

    >>> from pyrogeo.sampling.draws import to_arviz
    >>> z = np.random.default_rng(0).normal(size=(4, 100, 2))
    >>> figure = chains(to_arviz({"z": z}, {}))
    >>> [ax.get_ylabel() for ax in figure.axes[:2]]
    ['z[0]: draws', 'z[0]']
    """
    quantities, table = series(draws)
    lp = [name for name in quantities if name == "lp"]
    order = table["r_hat"].drop(lp).sort_values(ascending=False, kind="stable").index
    names = [*sorted(order[: rows - len(lp)], key=list(quantities).index), *lp]
    figure, axes = plt.subplots(
        len(names), 2, figsize=(11, 2.1 * len(names)), squeeze=False, layout="constrained"
    )
    for (rank_ax, trace_ax), name in zip(axes, names, strict=True):
        x = quantities[name]
        _ranks(x, bins, rank_ax)
        for chain, values in enumerate(x):
            trace_ax.plot(values, lw=0.6, alpha=0.85, color=PALETTE[chain % len(PALETTE)])
        label = "log √det G" if name == "lp" else plain(name)
        trace_ax.set(
            ylabel=label, title=f"R-hat {table.loc[name, 'r_hat']:.3f}", xlim=(0, x.shape[1])
        )
        rank_ax.set(ylabel=f"{label}: draws")
    axes[0, 0].set_title("ranks: flat where chains agree")
    axes[-1, 0].set_xlabel("rank among all draws")
    axes[-1, 1].set_xlabel("draw")
    if 1 < len(x) <= 8:
        handles, _ = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, [f"chain {i}" for i in range(len(x))], loc="outside upper right", ncols=8
        )
    return figure


def _style(chain: int) -> dict[str, Any]:
    line = ["-", "--", "-.", ":"][chain % 4]
    return {"color": PALETTE[chain % len(PALETTE)], "linestyle": line}


def _ranks(x: np.ndarray, bins: int, ax: Axes) -> None:
    ranks = rankdata(x).reshape(x.shape)
    edges = np.linspace(0, x.size, bins + 1)
    for chain, values in enumerate(ranks):
        counts, _ = np.histogram(values, edges)
        ax.stairs(counts, edges, lw=1.4, label=f"chain {chain}", **_style(chain))
    ax.axhline(x.shape[1] / bins, color="black", lw=0.8, ls=(0, (1, 2)))
    ax.set(ylim=(0, None), xlim=(0, x.size))


def bandwidth(choice: BandwidthChoice, ax: Axes | None = None) -> Axes:
    """The held-out log-likelihood of the geometric mixture at each bandwidth searched.

    Args:
        choice: what `choose_bandwidth` returned.
        ax: to draw into.

    >>> choice = BandwidthChoice(1.0, -2.0, np.array([0.5, 1.0, 2.0]), np.array([-3.0, -2.0, -2.5]))
    >>> bandwidth(choice).get_legend().get_texts()[0].get_text()
    'chosen: ρ = 1'
    """
    ax = ax or plt.subplots(figsize=(6, 4), layout="constrained")[1]
    ax.plot(choice.bandwidths, choice.curve, "o-", ms=3, color=PALETTE[0])
    ax.axvline(
        choice.bandwidth, color="black", lw=0.8, ls=":", label=f"chosen: ρ = {choice.bandwidth:.3g}"
    )
    # Small bandwidths fall off a cliff, which would flatten everything else.
    bottom = max(choice.curve.min(), choice.log_likelihood - 60)
    ax.set(
        xscale="log",
        xlabel="bandwidth ρ",
        ylabel="held-out log-likelihood, nats per point",
        ylim=(bottom, choice.log_likelihood + 0.1 * (choice.log_likelihood - bottom)),
    )
    ax.legend(fontsize=8, frameon=False)
    return ax


def history(training: History, ax: Axes | None = None) -> Axes:
    """The losses of each epoch; the dotted line marks the one whose weights were kept.

    Args:
        training: what `fit` returned.
        ax: to draw into.

    >>> import pandas as pd
    >>> losses = {"loss": [3.0, 2.0], "validation_loss": [3.1, 2.4], "learning_rate": [1e-3, 1e-3]}
    >>> training = History(pd.DataFrame(losses, index=[1, 2]), best_epoch=2, stopped="early", seed=0)
    >>> history(training).get_title()
    'stopped: early'
    """
    ax = ax or plt.subplots(figsize=(6, 4), layout="constrained")[1]
    table = training.table
    ax.plot(table.index, table["loss"], color=PALETTE[0], label="training data")
    if table["validation_loss"].notna().any():
        ax.plot(
            table.index, table["validation_loss"], "--", color=PALETTE[1], label="validation data"
        )
    if training.best_epoch:
        ax.axvline(
            training.best_epoch, color="black", lw=0.8, ls=":", label=f"kept: {training.best_epoch}"
        )
    for epoch in table.index[1:][table["learning_rate"].diff().iloc[1:] < 0]:
        ax.axvline(epoch, ymax=0.03, color="grey", lw=1)
    losses = table[["loss", "validation_loss"]].to_numpy()
    if np.nanmax(np.abs(losses)) > 1e3 * np.nanmedian(np.abs(losses)):
        ax.set_yscale("symlog")  # one explosion would flatten all else
    title = "" if training.stopped == "finished" else f"stopped: {plain(training.stopped)}"
    ax.set(
        xlabel="epoch (ticks at the bottom: a lower learning rate)", ylabel="−ELBO, nats per datum"
    )
    ax.set_title(title, fontsize=9)
    ax.legend(fontsize=8, frameon=False)
    return ax

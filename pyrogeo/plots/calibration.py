"""Calibration: ranks beside what chance allows."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes

from pyrogeo.plots._plane import PALETTE, plain
from pyrogeo.verdict import RankCheck

__all__ = ["calibration"]


def calibration(checks: Mapping[str, RankCheck], ax: Axes | None = None) -> Axes:
    """How far the distribution functions of ranks are from uniform, with the band that chance allows.

    A hump above zero says that draws lie too high, a trough that they lie too low. A line that crosses zero in
    the middle says that their spread is wrong: first above and then below, too narrow; first below, too wide.

    Args:
        checks: what `check_ranks` returned, by the name of the quantity; all of one number of ranks and
            draws, and of one level.
        ax: to draw into.

    Raises:
        ValueError: for no checks, or checks with different bands.

    >>> from pyrogeo.verdict import check_ranks
    >>> ranks = np.random.default_rng(0).integers(0, 64, 300)
    >>> calibration({"z[0]": check_ranks(ranks, 63)}).get_ylabel()
    'difference to the uniform distribution function'
    """
    bands = [check.band for check in checks.values()]
    if len({(b.n_ranks, b.n_draws, b.level, len(b.points)) for b in bands}) != 1:
        raise ValueError(
            "expected checks of one number of ranks, draws and points, and of one level, got "
            + (
                ", ".join(f"{b.n_ranks} among {b.n_draws} at {b.level:.3g}" for b in bands)
                or "none"
            )
        )
    ax = ax or plt.subplots(figsize=(6, 4), layout="constrained")[1]
    band = bands[0]
    x = np.concatenate([[0.0], band.points, [1.0]])
    lower, upper = (_ended(share - band.points) for share in (band.lower, band.upper))
    words = f"{100 * (1 - band.level):.4g}% of uniform ranks stay within"
    ax.fill_between(x, lower, upper, color="0.88", lw=0, label=words)
    ax.axhline(0, color="black", lw=0.8, ls=":")
    for i, (name, check) in enumerate(checks.items()):
        color, style = PALETTE[i % len(PALETTE)], ["-", "--", "-.", ":"][i % 4]
        label = plain(name) + ("" if check.calibrated else " (outside)")
        ax.plot(x, _ended(check.ecdf - band.points), style, lw=1.4, color=color, label=label)
    ax.set(
        xlim=(0, 1),
        xlabel=f"rank among {band.n_draws} draws, as a share",
        ylabel="difference to the uniform distribution function",
        title=f"{band.n_ranks} replicates",
    )
    ax.legend(fontsize=8, frameon=False)
    return ax


def _ended(difference: np.ndarray) -> np.ndarray:
    """Before the first rank and after the last there is no difference."""
    return np.concatenate([[0.0], difference, [0.0]])

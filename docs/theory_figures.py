"""The pictures of docs/theory.md, from scikit-learn's digits in 2 and 16 latent dimensions.

    python docs/theory_figures.py

Writes theory-*.png beside itself in two or three minutes on one core, the same at each run on one machine.
"""

import argparse
import math
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import pyrogeo as pg
from pyrogeo import plots
from pyrogeo._random import forked
from pyrogeo.distributions import StartingLaw
from pyrogeo.geometry import DiagonalCentroidMetric
from pyrogeo.recipes import standard_vae
from pyrogeo.sampling import paper_protocol

BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, "#56B4E9", "black")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    parser.add_argument("--epochs", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    digits = pg.datasets.digits()
    posteriors = {d: trained(digits, d, options.epochs) for d in (2, 16)}
    metrics = {
        d: pg.CentroidMetric.from_posterior(posterior, n_centroids=100, seed=0)
        for d, posterior in posteriors.items()
    }
    labels = digits.train_labels
    figures = {
        "metric": draw_metric(),
        "vacuum": draw_vacuum(metrics),
        "isolated": draw_isolated(),
        "modes": draw_modes(metrics),
        "exact": draw_exact(posteriors[16], metrics[16]),
        "crowd": draw_crowd(posteriors[16], labels),
        "infinity": draw_infinity(),
    }
    for name, figure in figures.items():
        figure.savefig(options.out / f"theory-{name}.png", dpi=100)


def trained(digits: pg.datasets.Dataset, d: int, epochs: int):
    """q(z|x) of the training digits, with the paper's loss and its β for MNIST."""
    with forked(0):
        vae = standard_vae((1, 8, 8), d, likelihood="squared-error", beta=0.01)
    pg.fit(vae, digits.train, validation=digits.validation, epochs=epochs, seed=0, progress=False)
    return vae.embed(digits.train)


def draw_metric() -> Figure:
    """Four posteriors, and the metric that continues them."""
    centroids = torch.tensor([[-1.5, -0.6], [0.0, 0.9], [1.6, 0.3], [0.6, -1.2]]).double()
    variances = torch.tensor([[0.06, 0.3], [0.25, 0.05], [0.08, 0.08], [0.3, 0.12]]).double()
    metric = DiagonalCentroidMetric(centroids, variances, bandwidth=1.9, regularization=0.3)
    figure, axes = plt.subplots(1, 2, figsize=(12, 6), layout="constrained")
    plots.latent_space(metric, ax=axes[0])
    plots.indicatrices(metric, centroids, axes[0], scale=1.0)
    axes[0].set_title("what the VAE gives: a covariance at each centroid", fontsize=11)
    plots.latent_space(metric, ax=axes[1])
    nodes = torch.cartesian_prod(*(torch.linspace(-2.2, 2.2, 12).double(),) * 2)
    short = torch.linalg.eigvalsh(metric(nodes))[:, 0].rsqrt() < 1.2
    plots.indicatrices(metric, nodes[short], axes[1], scale=0.25)
    axes[1].set_title("what Eq. 4 makes of it: a metric everywhere", fontsize=11)
    return figure


def draw_vacuum(metrics: dict[int, pg.CentroidMetric]) -> Figure:
    """W / (V + W), an upper bound of the vacuum's share, against τ."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    decays = np.geomspace(1e-6, 10, 300)
    for (d, metric), colour in zip(metrics.items(), COLOURS, strict=False):
        log_w = d / 2 * np.log(2 * np.pi * metric.regularization.item() / (decays * d))
        share = 1 / (1 + np.exp(metric.log_mixture_volume - log_w))
        ax.semilogx(decays, share, color=colour, label=f"d = {d}")
        chosen = metric.decay.item()
        ax.plot(chosen, 0.01, "o", color=colour, label=f"decay=None: τ = {chosen:.2g}")
    ax.set(xlabel="τ", ylabel="share of the vacuum, W / (V + W)", ylim=(-0.02, 1.02))
    ax.set_title("digits, 100 centroids, λ = 0.01", fontsize=11)
    ax.legend()
    return figure


def draw_isolated() -> Figure:
    """The volume of two equal centroids beside that of two isolated ones, by quadrature."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    apart = torch.linspace(0, 8, 161).double()
    x = torch.linspace(-40, 40, 16001).double()
    for d, colour in zip((1, 2, 4, 8, 16), COLOURS, strict=False):
        # x in units of ρσ/√d, a mode's standard deviation: ω = exp(−x²/d).
        logs = torch.stack([-((x - s * apart[:, None] / 2) ** 2) / d for s in (-1, 1)])
        volume = (d / 2 * logs.logsumexp(0)).exp().sum(-1) * (x[1] - x[0])
        ax.semilogy(apart, volume / (2 * math.sqrt(2 * math.pi)), color=colour, label=f"d = {d}")
    ax.set(
        xlabel="distance of two centroids, in standard deviations of a mode",
        ylabel="volume / V",
    )
    ax.set_title("two centroids: the law of isolated centroids, and where it ends", fontsize=11)
    ax.legend()
    return figure


def draw_modes(metrics: dict[int, pg.CentroidMetric]) -> Figure:
    """The potential on straight lines from each centroid to the nearest other one."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4), layout="constrained")
    t = torch.linspace(0, 1, 101).double()
    for ax, (d, metric) in zip(axes, metrics.items(), strict=True):
        c = metric.centroids
        nearest = (torch.cdist(c, c) + torch.diag(c.new_full((len(c),), torch.inf))).argmin(1)
        lines = c[:, None] + t[:, None] * (c[nearest] - c)[:, None]
        potential = -metric.log_volume_element(lines)
        barrier = potential - torch.maximum(potential[:, :1], potential[:, -1:])
        ax.plot(t, barrier.T, color=BLUE, lw=0.5, alpha=0.3)
        ax.plot(t, barrier.median(0).values, color=ORANGE, lw=2, label="median of 100 lines")
        height = barrier.amax(1).median().item()
        ax.set_title(f"d = {d}: median barrier {height:.1f} nats", fontsize=11)
        ax.set(xlabel="from a centroid (0) to the nearest other (1)")
        ax.set_ylabel("−½ log det G − the higher of its ends")
        ax.legend()
    return figure


def draw_exact(posterior, metric: pg.CentroidMetric) -> Figure:
    """Tempering as centroids overlap more and more; how each procedure spreads over the centroids."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    crowd = pg.CentroidMetric.from_posterior(posterior, n_centroids=None)
    for factor, colour in zip((1, 1.5, 2, 3), COLOURS, strict=False):
        wider = crowd.with_bandwidth(factor * crowd.bandwidth.item())
        law = pg.RiemannianUniform(wider, proposal=StartingLaw(wider))
        with forked(0):
            run = law.population(2048)
        beta = (0, *run.temperatures)
        axes[0].plot(
            range(len(beta)), beta, "o-", ms=4, color=colour, label=f"bandwidth {factor:g}ρ"
        )
    axes[0].set(xlabel="stage", ylabel="β: 0 the mixture, 1 √det G")
    axes[0].set_title(f"from mixture to density, K = {crowd.n_centroids}", fontsize=11)
    axes[0].legend()
    density = pg.RiemannianUniform(metric)
    nuts = pg.sample(density, 500, warmup_steps=300, seed=0, progress=False)
    with forked(0):
        sets = {
            "NUTS, 4 chains": torch.from_numpy(nuts.posterior["z"].to_numpy()).flatten(0, 1),
            "paper protocol": paper_protocol(metric, posterior.mean.double(), 2000),
            "geometric mixture": pg.GeometricMixture(metric).sample((2000,)),
            "exact": density.sample((2000,)),
        }
    for (name, z), colour in zip(sets.items(), COLOURS, strict=False):
        count = torch.bincount(metric.squared_distances(z).argmin(-1), minlength=metric.n_centroids)
        share = (count / len(z)).sort(descending=True).values
        axes[1].step(range(1, len(share) + 1), share, where="mid", color=colour, lw=1.8, label=name)
    axes[1].set(
        xlabel="centroid, by rank", ylabel="share of 2,000 draws", yscale="log", xscale="log"
    )
    axes[1].set_title(
        f"where the draws of each procedure are, K = {metric.n_centroids}", fontsize=11
    )
    axes[1].legend()
    return figure


def draw_crowd(posterior, labels: Tensor) -> Figure:
    """n centroids in one place among others, in closed form; and the classes of exact draws."""
    figure, axes = plt.subplots(1, 2, figsize=(12, 4.4), layout="constrained")
    n = np.arange(1, 101)
    for d, colour in zip((1, 2, 4, 8, 16), COLOURS, strict=False):
        axes[0].plot(n, n ** (d / 2) / (n ** (d / 2) + 100), color=colour, label=f"d = {d}")
    axes[0].set(
        xlabel="n centroids in one place, beside 100 isolated ones",
        ylabel="share of the volume",
        ylim=(0, 1),
    )
    axes[0].set_title("a crowd takes the mass", fontsize=11)
    axes[0].legend()
    metric = pg.CentroidMetric.from_posterior(posterior, n_centroids=None)
    width = 0.27
    laws = {
        "uniform at ρ": pg.RiemannianUniform(metric),
        "uniform at 2ρ": pg.RiemannianUniform(metric.with_bandwidth(2 * metric.bandwidth.item())),
        "mixture at 2ρ": pg.GeometricMixture(metric.with_bandwidth(2 * metric.bandwidth.item())),
    }
    for i, ((name, law), colour) in enumerate(zip(laws.items(), COLOURS, strict=False)):
        with forked(0):
            z = law.sample((2048,))
        nearest = metric.squared_distances(z).argmin(-1)
        share = torch.bincount(labels[nearest], minlength=10) / len(z)
        axes[1].bar(np.arange(10) + (i - 1) * width, share, width, color=colour, label=name)
    axes[1].set(xlabel="class of the nearest centroid", ylabel="share of draws", ylim=(0, 1))
    axes[1].set_xticks(range(10))
    title = f"digits, d = 16, all {metric.n_centroids} training points as centroids"
    axes[1].set_title(title, fontsize=11)
    axes[1].legend()
    return figure


def draw_infinity() -> Figure:
    """The length of a ray from the origin in the vacuum λ exp(−τ‖z‖²) I."""
    figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
    r = np.linspace(0, 60, 600)
    for tau, colour in zip((1e-4, 1e-3, 1e-2), COLOURS, strict=False):
        whole = math.sqrt(0.01 * math.pi / (2 * tau))
        length = whole * np.array([math.erf(x * math.sqrt(tau / 2)) for x in r])
        ax.plot(r, length, color=colour, label=f"τ = {tau:g}")
        ax.axhline(whole, color=colour, ls=":", lw=1)
    ax.set(xlabel="‖z‖", ylabel="length of the ray from the origin")
    ax.set_title("λ = 0.01; dotted: the distance of infinity, √(λπ / 2τ)", fontsize=11)
    ax.legend()
    return figure


if __name__ == "__main__":
    main()

"""What `fit` costs above plain PyTorch: one training step of each, same networks, same optimiser.

    python benchmarks/svi_step.py

Prints the median time of a step and the ratio, on one thread. Goals: at most 1.5 with two hidden
layers of 256 units, at most 1.15 with 1,000.
"""

import argparse
import statistics
import time

import torch
from torch.nn.functional import binary_cross_entropy_with_logits

import pyrogeo as pg


def networks(width: int, d: int = 16):
    torch.manual_seed(0)
    encoder = pg.networks.mlp((1, 8, 8), width, width, 2 * d)
    return encoder, pg.networks.mlp(d, width, width, (1, 8, 8))


def plain_epochs(x: torch.Tensor, width: int, epochs: int) -> float:
    """Seconds for `epochs` of a hand-written loop: Bernoulli likelihood, closed-form entropy-free ELBO."""
    encoder, decoder = networks(width)
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
    start = time.perf_counter()
    for _ in range(epochs):
        for index in torch.randperm(len(x)).split(100):
            optimizer.zero_grad()
            batch = x[index]
            loc, log_variance = encoder(batch).chunk(2, -1)
            z = loc + (0.5 * log_variance).exp() * torch.randn_like(loc)
            reconstruction = binary_cross_entropy_with_logits(decoder(z), batch, reduction="sum")
            kl = 0.5 * (loc**2 + log_variance.exp() - 1 - log_variance).sum()
            loss = reconstruction + kl
            loss.backward()
            if not torch.isfinite(loss):
                raise ArithmeticError
            optimizer.step()
    return time.perf_counter() - start


def fit_epochs(x: torch.Tensor, width: int, epochs: int) -> float:
    encoder, decoder = networks(width)
    vae = pg.VAE(
        pg.priors.StandardNormal(16),
        pg.guides.DiagonalNormal(encoder),
        pg.likelihoods.Bernoulli(decoder),
    )
    start = time.perf_counter()
    pg.fit(vae, x, epochs=epochs, seed=0, progress=False, scheduler=None)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9, help="pairs of timings for each width")
    parser.add_argument("--epochs", type=int, default=10, help="epochs in one timing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    x = torch.rand(1000, 1, 8, 8)
    steps = 10 * args.epochs
    print(f"{'hidden':>7} {'plain ms':>9} {'fit ms':>9} {'ratio':>6}   range of the ratio")
    for width in (256, 1000):
        plain_epochs(x, width, 2), fit_epochs(x, width, 2)
        pairs = [
            (plain_epochs(x, width, args.epochs), fit_epochs(x, width, args.epochs))
            for _ in range(args.repeats)
        ]
        ratios = sorted(b / a for a, b in pairs)
        plain, ours = (1e3 * statistics.median(p) / steps for p in zip(*pairs, strict=True))
        print(
            f"{width:>7} {plain:>9.3f} {ours:>9.3f} {statistics.median(ratios):>6.2f}   "
            f"{ratios[0]:.2f} to {ratios[-1]:.2f}"
        )


if __name__ == "__main__":
    main()

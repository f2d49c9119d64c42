import hypothesis
import matplotlib
import pytest
import torch

import pyrogeo as pg

matplotlib.use("Agg")
# The same examples every time; `--hypothesis-seed` and `--hypothesis-profile=default` look for others.
hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None)
hypothesis.settings.load_profile("seeded")
# The tests' products are small: a second thread gains nothing, and under another process's load the
# two wait for each other most of the time.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)
    yield
    import matplotlib.pyplot as plt

    plt.close("all")


def small_vae(d: int = 2, event: tuple[int, ...] = (1, 8, 8), width: int = 32, **options) -> pg.VAE:
    return pg.VAE(
        pg.priors.StandardNormal(d),
        pg.guides.DiagonalNormal(pg.networks.mlp(event, width, 2 * d)),
        pg.likelihoods.Bernoulli(pg.networks.mlp(d, width, event)),
        **options,
    )


@pytest.fixture(scope="session")
def digits():
    return pg.datasets.digits()


@pytest.fixture(scope="session")
def embedded(digits):
    """Posteriors of the digits in 2 and 16 dimensions after some training."""
    posteriors = {}
    for d in (2, 16):
        torch.manual_seed(0)
        vae = small_vae(d, width=128)
        pg.fit(vae, digits.train, epochs=15, seed=0, progress=False)
        posteriors[d] = vae.embed(digits.train)
    return posteriors

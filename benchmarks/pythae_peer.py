"""The same systems in Pythae: same networks and initial weights, same data, batches of 100, Adam, epochs.

`families.py` prints what comes of it. Pythae's trained weights are put into our VAE of the same parts, so
that one and the same code evaluates both. What cannot be made the same is in each `Pair`'s `note`.
"""

import copy
import logging
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

import pyrogeo as pg
from pyrogeo.vae import objectives

__all__ = ["PAIRS", "Pair", "compare"]

D, WIDTH = 16, 256
EVENT = (1, 8, 8)
BATCH = 87  # of which 1,131 images make thirteen, without a smaller one left over
SQUARED = 0.5**0.5  # standard deviation at which −log p(x|z) is ‖x − x̂‖², up to a constant


@dataclass(frozen=True)
class Pair:
    """One system in both libraries.

    Attributes:
        ours: from encoder, decoder and data to `(vae, objective)`.
        model: Pythae's class, by name.
        config: its settings.
        outputs: of the encoder, for each latent dimension: 1, or 2 with log-variances.
        note: where the two differ by design.
    """

    ours: Callable[[nn.Module, nn.Module, Tensor], tuple[pg.VAE, object]]
    model: str
    config: dict
    outputs: int
    note: str = ""


def _deterministic(objective: Callable[[], object], beta: float):
    def make(encoder, decoder, x):
        parts = pg.guides.Deterministic(encoder), pg.likelihoods.Normal(decoder, SQUARED)
        return pg.VAE(pg.priors.StandardNormal(D), *parts, beta=beta), objective()

    return make


def _normal(objective: Callable[[], object] = TraceMeanField_ELBO, likelihood=None, beta=1.0):
    likelihood = likelihood or pg.likelihoods.Bernoulli

    def make(encoder, decoder, x):
        parts = pg.guides.DiagonalNormal(encoder), likelihood(decoder)
        return pg.VAE(pg.priors.StandardNormal(D), *parts, beta=beta), objective()

    return make


def _vamp(encoder, decoder, x):
    guide = pg.guides.DiagonalNormal(encoder)
    prior = pg.priors.Vamp(x[:50], guide)
    return pg.VAE(prior, guide, pg.likelihoods.Bernoulli(decoder)), Trace_ELBO()


def imq(x: Tensor, y: Tensor) -> Tensor:
    """Pythae's kernel: a sum over seven scales."""
    squares = torch.cdist(x, y) ** 2
    scales = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]
    return sum(2 * D * s / (2 * D * s + squares) for s in scales)


BCE = {"reconstruction_loss": "bce"}

PAIRS = {
    "AE": Pair(_deterministic(objectives.Reconstruction, 0.0), "AE", {}, 1),
    "VAE": Pair(_normal(), "VAE", BCE, 2),
    "β-VAE": Pair(
        _normal(likelihood=pg.likelihoods.Normal, beta=0.05), "BetaVAE", {"beta": 0.05}, 2
    ),
    "IWAE": Pair(
        _normal(lambda: objectives.IWAE(5)),
        "IWAE",
        BCE | {"number_samples": 5},
        2,
        "Pythae reports Σ w̃ log w, which is not the bound; the gradients agree",
    ),
    "WAE-MMD": Pair(
        _deterministic(lambda: objectives.WassersteinMMD(imq, weight=1.0), 1.0),
        "WAE_MMD",
        {"reg_weight": 1.0, "scales": [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0]},
        1,
        "the same kernel, passed to ours as a function",
    ),
    "VAMP": Pair(
        _vamp,
        "VAMP",
        BCE | {"number_components": 50},
        2,
        "ours starts pseudo-inputs at data, Pythae at noise, cut to [0, 1]",
    ),
    "RAE-L2": Pair(
        _deterministic(lambda: objectives.Reconstruction(weight_decay=5e-5), beta=0.01),
        "RAE_L2",
        {"embedding_weight": 0.01, "reg_weight": 1e-4},
        1,
        "Pythae's weight decay is its optimiser's, of the gradient of a batch's mean: ½ ‖θ‖² times it",
    ),
    "RAE-GP": Pair(
        _deterministic(
            lambda: objectives.Reconstruction(gradient_penalty=1e-4, directions=1), beta=0.01
        ),
        "RAE_GP",
        {"embedding_weight": 0.01, "reg_weight": 1e-4},
        1,
        "ours penalises the decoder's Jacobian, as the paper does, along one random direction for each "
        "datum; Pythae the gradient of Σ x̂ by x, through both networks",
    ),
}


def compare(name: str, data: pg.datasets.Dataset, epochs: int, seed: int = 0) -> dict:
    """Trains both and evaluates both on the test images with our code.

    Returns:
        for `ours` and `pythae`: `loss` (the system's, in nats per image, less the constant of a normal
        likelihood), `reconstruction` (squared error per
        image), `bound` (importance-weighted, 100 particles; NaN for point masses) and `seconds` (of
        processor time per epoch, on one thread).
    """
    pair = PAIRS[name]
    torch.manual_seed(seed)
    encoder = pg.networks.mlp(EVENT, WIDTH, WIDTH, pair.outputs * D)
    decoder = pg.networks.mlp(D, WIDTH, WIDTH, EVENT)
    vae, objective = pair.ours(copy.deepcopy(encoder), copy.deepcopy(decoder), data.train)
    twin, _ = pair.ours(encoder, decoder, data.train)
    _warm_up()
    start = time.process_time()
    pg.fit(
        vae,
        data.train,
        data.validation,
        objective=objective,
        scheduler=None,
        epochs=epochs,
        batch_size=BATCH,
        seed=seed,
        progress=False,
    )
    ours = (time.process_time() - start) / epochs
    theirs = _train_pythae(pair, twin, data, epochs, seed) / epochs
    return {
        "ours": _evaluate(vae, objective, data.test) | {"seconds": ours},
        "pythae": _evaluate(twin, objective, data.test) | {"seconds": theirs},
        "note": pair.note,
    }


def _warm_up() -> None:
    """What torch and Pyro do once, at the first training, is nobody's time per epoch."""
    vae, objective = _normal()(pg.networks.mlp(4, 8), pg.networks.mlp(2, 4), None)
    vae.prior = pg.priors.StandardNormal(4)
    vae.likelihood = pg.likelihoods.Bernoulli(pg.networks.mlp(4, 4))
    pg.fit(vae, torch.rand(20, 4), objective=objective, epochs=2, seed=0, progress=False)


def _evaluate(vae: pg.VAE, objective, x: Tensor) -> dict[str, float]:
    torch.manual_seed(0)
    with vae.evaluating():
        losses = [objective.loss(vae.model, vae.guide, x) / len(x) for _ in range(20)]
    deterministic = isinstance(vae.posterior, pg.guides.Deterministic)
    bound = float("nan") if deterministic else vae.log_likelihood(x, seed=0).mean().item()
    squares = ((vae.decode(vae.embed(x).mean).mean - x) ** 2).flatten(1).sum(1)
    return {
        "loss": sum(losses) / len(losses) - _constant(vae, x),
        "reconstruction": squares.mean().item(),
        "bound": bound,
    }


def _constant(vae: pg.VAE, x: Tensor) -> float:
    """What a normal likelihood adds to the loss whatever it decodes, and hides relative differences."""
    if not isinstance(vae.likelihood, pg.likelihoods.Normal):
        return 0.0
    perfect = vae.decode(torch.zeros(1, D))
    return -perfect.log_prob(perfect.mean).item()


def _train_pythae(
    pair: Pair, twin: pg.VAE, data: pg.datasets.Dataset, epochs: int, seed: int
) -> float:
    """Trains Pythae's model of `twin`'s networks, leaves the result in them; seconds of the training."""
    from pythae import models, trainers
    from pythae.data.datasets import BaseDataset

    logging.disable(logging.INFO)
    squash = nn.Sigmoid() if pair.config.get("reconstruction_loss") == "bce" else nn.Identity()
    parts = twin.posterior.network, twin.likelihood.network
    encoder, decoder = _wrapped(*parts, pair.outputs, squash)
    config = getattr(models, pair.model + ("_Config" if "_" in pair.model else "Config"))
    settings = config(input_dim=EVENT, latent_dim=D, **pair.config)
    model = getattr(models, pair.model)(settings, encoder=encoder, decoder=decoder)
    train, held_out = (BaseDataset(x, torch.zeros(len(x))) for x in (data.train, data.validation))
    common = {
        "num_epochs": epochs,
        "per_device_train_batch_size": BATCH,
        "per_device_eval_batch_size": 1024,
        "learning_rate": 1e-3,
        "no_cuda": True,
        "seed": seed,
    }
    with tempfile.TemporaryDirectory() as folder:
        if pair.model == "RAE_L2":  # two optimisers, the decoder's with weight decay
            rates = {"encoder_learning_rate": 1e-3, "decoder_learning_rate": 1e-3}
            decay = {"decoder_optimizer_params": {"weight_decay": pair.config["reg_weight"]}}
            config = trainers.CoupledOptimizerTrainerConfig(folder, **common, **rates, **decay)
            trainer = trainers.CoupledOptimizerTrainer(model, train, held_out, config)
        else:
            trainer = trainers.BaseTrainer(
                model, train, held_out, trainers.BaseTrainerConfig(folder, **common)
            )
        seconds = _quietly(trainer)
    best = trainer._best_model
    twin.posterior.network.load_state_dict(best.encoder.network.state_dict())
    twin.likelihood.network.load_state_dict(best.decoder.network.state_dict())
    if pair.model == "VAMP":
        with torch.no_grad():
            twin.prior.pseudo_inputs.copy_(best.pseudo_inputs(best.idle_input).reshape(-1, *EVENT))
    return seconds


def _quietly(trainer) -> float:
    """Processor time of the training, without the bars, which cost time and print."""
    prepare = trainer.prepare_training

    def prepared() -> None:
        prepare()
        trainer.callback_handler.callbacks = []

    trainer.prepare_training = prepared
    start = time.process_time()
    trainer.train()
    return time.process_time() - start


def _wrapped(
    encoder: nn.Module, decoder: nn.Module, outputs: int, squash: nn.Module
) -> tuple[nn.Module, nn.Module]:
    """Networks as Pythae wants them."""
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.network = encoder

        def forward(self, x):
            embedding, *log_covariance = self.network(x).chunk(outputs, -1)
            if not log_covariance:
                return ModelOutput(embedding=embedding)
            return ModelOutput(embedding=embedding, log_covariance=log_covariance[0])

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.network = decoder

        def forward(self, z):
            return ModelOutput(reconstruction=squash(self.network(z)))

    return Encoder(), Decoder()

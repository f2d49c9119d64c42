"""One folder for a run: what was asked for, what was trained, what was drawn::

    run.json                        the manifest: steps that happened, their files, digests and settings
    vae/                            words and weights of the VAE
    history.json                    losses of each epoch
    posterior.safetensors           q(z|x) of the training data, their labels, and a few test data
    training.safetensors            the training data, evenly thinned to 64 MiB, to hold samples against
    draws/NAME.nc                   a set of draws, as NetCDF
    draws/NAME.metric.safetensors   the metric that they were drawn with
    draws/NAME.verdict.json         the verdict on them
    decoded/NAME.npz                what they decode to
    figures/                        pictures

Sets of draws have names; where none is given, the last one is meant. Nothing is pickled, nothing is replaced
unless it is asked for, and paths within are relative, so a folder can be moved.
"""

import os
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.distributions import Distribution

from pyrogeo import recipes
from pyrogeo._checks import whole
from pyrogeo._random import forked
from pyrogeo.datasets import Dataset
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.run import kept
from pyrogeo.run.folder import Folder
from pyrogeo.run.sets import Sets, check_settings, checked_name
from pyrogeo.sampling.draws import read_draws, write_draws
from pyrogeo.sampling.methods import Method, chosen, record_of
from pyrogeo.vae import VAE, History, fit
from pyrogeo.verdict import Diagnosis, diagnose

__all__ = ["Run"]

_CHECKPOINT = "checkpoint.safetensors"


class Run:
    """A run folder, read and extended step by step.

    Each step is whole or has not happened: one that was interrupted leaves what was there before, and
    the same call does it again.

    Args:
        folder: of an existing run; `Run.create` makes one.

    Raises:
        ValueError: for a folder that holds none, or one of a newer format.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder, purpose="an example")
    ...     run.has("draws"), Run(folder).statement
    (False, {'purpose': 'an example'})
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self._store = Folder(folder)
        self.sets = Sets(self._store)

    @classmethod
    def create(cls, folder: str | os.PathLike[str], **statement: Any) -> "Run":
        """Makes a run folder.

        Args:
            folder: new or empty.
            statement: what was asked for, in JSON's words; the user's own to choose.

        Raises:
            ValueError: for a folder that holds something or cannot be written, and for a statement
                that JSON cannot hold.
        """
        Folder.create(folder, statement)
        return cls(folder)

    @property
    def folder(self) -> Path:
        """Where it is."""
        return self._store.path

    @property
    def statement(self) -> dict[str, Any]:
        """What was asked for when it was made."""
        return self._store.manifest.statement

    @property
    def state(self) -> str:
        """`"empty"`, `"interrupted"` (in training; the same `fit` continues) or `"trained"`."""
        if self._store.has("fit"):
            return "trained"
        return "interrupted" if (self.folder / _CHECKPOINT).exists() else "empty"

    def fit(self, vae: VAE, data: Dataset, **options: Any) -> History:
        """Trains with `pyrogeo.fit`, checkpointed, and keeps VAE, history and posteriors.

        After Ctrl-C, the same call on the same folder continues where it stopped.

        Raises:
            ValueError: where a VAE was trained already, and as `fit` does.
        """
        if self._store.has("fit"):
            raise ValueError(f"{self.folder} holds a trained VAE already; choose a new folder")
        checkpoint = self.folder / _CHECKPOINT
        settings = {"data": {"name": data.name, "classes": list(data.classes)}}
        with self._store.writing():
            history = fit(vae, data.train, data.validation, checkpoint=checkpoint, **options)
            if history.stopped == "interrupted":
                return history
        with self._store.step("fit", settings=settings) as new:
            kept.write_training(new, vae, history, data)
        checkpoint.unlink(missing_ok=True)
        return history

    def has(self, name: str) -> bool:
        """Whether the folder holds something.

        Args:
            name: `"history"`, `"posterior"`, `"draws"`, or, of the last set of draws, `"metric"` or
                `"diagnosis"`.
        """
        if name in ("history", "posterior"):
            return self._store.has("fit")
        if not self.sets.names:
            return False
        return name == "draws" or self.sets.has(name, self.sets.names[-1])

    def vae(self) -> VAE:
        """The trained VAE; one of its author's own parts is built by them, see `recipes.load`."""
        self._trained()
        return recipes.load(self._store.file("vae/vae.json").parent)

    def _trained(self) -> None:
        if not self._store.has("fit"):
            raise ValueError(f"{self.folder} has no posteriors yet; fit first")

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels stand for; empty where they are plain numbers."""
        return tuple(self._store.manifest.steps["fit"].settings["data"]["classes"])

    @property
    def data_name(self) -> str:
        """What the data are."""
        return str(self._store.manifest.steps["fit"].settings["data"]["name"])

    def history(self) -> History:
        """What happened in training."""
        self._trained()
        return kept.read_history(self._store.file("history.json"))

    def _posterior_tensors(self) -> dict[str, Tensor]:
        self._trained()
        return kept.read_posterior(self._store.file("posterior.safetensors"))

    @property
    def has_covariances(self) -> bool:
        """Whether the guide has covariances to make a metric of."""
        return kept.as_distribution(self._posterior_tensors()) is not None

    def posterior(self) -> Distribution:
        """q(z|x) of the N training data, batch shape `(N,)` and event shape `(d,)`.

        Raises:
            ValueError: before `fit`, and for a guide without covariances.
        """
        found = kept.as_distribution(self._posterior_tensors())
        if found is None:
            raise ValueError(f"the guide of {self.folder} has no covariances to make a metric of")
        return found

    def embeddings(self) -> tuple[Tensor, Tensor | None]:
        """Latent locations of the training data, and their labels if they have any.

        Returns:
            shapes `(N, d)` and `(N,)`.
        """
        tensors = self._posterior_tensors()
        return tensors["loc"], tensors.get("labels")

    def examples(self) -> Tensor:
        """A few test data."""
        return self._posterior_tensors()["examples"]

    def training(self) -> tuple[Tensor, int]:
        """The training data, evenly thinned if they are large, and how many there were.

        Raises:
            ValueError: for a run that keeps none.
        """
        if self._store.manifest.digest_of("training.safetensors") is None:
            raise ValueError(f"{self.folder} keeps no training data")
        tensors = kept.read_tensors(self._store.file("training.safetensors"), kept.TRAINING)[0]
        return tensors["data"], len(self.embeddings()[0])

    def metric(self, name: str | None = None) -> CentroidMetric:
        """The metric that a set of draws was made with, by default the last.

        Raises:
            ValueError: for a run without draws, and a metric that no file holds.
        """
        return CentroidMetric.load(self.sets.file(name, "metric"))

    def make_metric(self, n_centroids: int | None = None, **settings: Any) -> CentroidMetric:
        """The metric of the run's posteriors, by `CentroidMetric.from_posterior`.

        Args:
            n_centroids: by default 100, or all where there are fewer.
            settings: as `from_posterior` takes them.
        """
        posterior = self.posterior()
        if n_centroids is None:
            n_centroids = min(100, posterior.batch_shape[0])
        return CentroidMetric.from_posterior(posterior, n_centroids, **settings)

    def draws(self, name: str | None = None) -> Any:
        """A set of draws as ArviZ data, by default the last.

        Raises:
            ValueError: for a run without draws, or without those.
        """
        return read_draws(self.sets.file(name, "draws"))

    def sample(
        self,
        num_samples: int,
        method: str | Method | Any = "nuts",
        *,
        name: str | None = None,
        metric: Metric | None = None,
        vae: VAE | None = None,
        replace: bool = False,
        **settings: Any,
    ) -> Any:
        """Draws by one of `pyrogeo.methods`, and keeps draws and metric under a name.

        Args:
            num_samples: of each chain.
            method: a name in `pyrogeo.methods`, a record of one's own, or a function
                `(metric, num_samples, **settings) -> ArviZ data`.
            name: of the set, by default that of the method.
            metric: by default that of the last draws, or else `make_metric()`; none where a guide without
                covariances makes none and the method needs none.
            vae: of one's own parts, whose prior is drawn from; by default the folder's.
            replace: a set of that name.
            settings: of the method.

        Returns:
            the draws.

        Raises:
            ValueError: where there is such a set, without `replace`; for a setting that the method has
                not; and as the method does.
        """
        record, num_samples = chosen(method), whole("num_samples", num_samples)
        check_settings(record, settings)
        name = checked_name(record.name if name is None else name)
        if name in self.sets.names and not replace:
            raise ValueError(
                f"{self.folder} has draws already, by {name}; replace them, or give these another name"
            )
        if metric is None:
            metric = self._usual_metric(record)
        given = self._given(record, vae)
        with self.sets.new_draws(name, record, num_samples, settings, metric) as new:
            draws = record.draw(metric, num_samples, **given, **settings)
            write_draws(new(f"draws/{name}.nc"), draws)
            save: Any = getattr(metric, "save", None)
            if save is not None:
                save(new(f"draws/{name}.metric.safetensors"))
        return draws

    def _usual_metric(self, record: Method) -> CentroidMetric | None:
        if self.has("metric"):
            return self.metric()
        return self.make_metric() if self.has_covariances or "metric" in record.needs else None

    def _given(self, record: Method, vae: VAE | None) -> dict[str, Any]:
        """What the method needs beside the metric."""
        given: dict[str, Any] = {}
        if "embeddings" in record.needs:
            given["embeddings"] = self.embeddings()[0]
        if "prior" in record.needs:
            given["prior"] = (vae or self.vae()).prior()
        return given

    def diagnose(self, name: str | None = None) -> Diagnosis:
        """Judges a set of draws and keeps the verdict.

        Exact draws are made beside where the uniform density is their target.
        """
        name = self.sets.chosen(name)
        draws = self.draws(name)
        with forked(0):
            found = diagnose(draws, density=self._target(name, draws))
        with self.sets.new_verdict(name) as new:
            kept.write_diagnosis(new(f"draws/{name}.verdict.json"), found)
        return found

    def _target(self, name: str, draws: Any) -> RiemannianUniform | None:
        """The density that Markov chains were to follow, if exact draws of it exist."""
        are_exact = "log_volume" in draws.posterior.attrs
        if not record_of(draws).uniform or are_exact or not self.sets.has("metric", name):
            return None
        metric = self.metric(name)
        return RiemannianUniform(metric) if metric.log_vacuum_volume < float("inf") else None

    def diagnosis(self, name: str | None = None) -> Diagnosis | None:
        """The verdict that `diagnose` kept; None where there is none, or one on earlier draws."""
        name = self.sets.chosen(name)
        if not self.sets.has("diagnosis", name):
            return None
        return kept.read_diagnosis(self.sets.file(name, "diagnosis"))

    def decode(
        self, name: str | None = None, *, vae: VAE | None = None, replace: bool = False
    ) -> Path:
        """Writes `decoded/NAME.npz`: `z` and `data`, the likelihood's mean, of shape `(chain, draw, …)`.

        Of a standardised table, in the units that it came in.

        Args:
            name: of the set of draws, by default the last.
            vae: of one's own parts; by default the folder's.
            replace: a file that is there.

        Raises:
            ValueError: for a run without draws, or with the file, without `replace`.
        """
        name = self.sets.chosen(name)
        file = f"decoded/{name}.npz"
        if self._store.has(f"decoded/{name}") and not replace:
            raise ValueError(
                f"{self.folder / file} exists already; replace it, or use another folder"
            )
        z, vae = self.draws(name).posterior["z"].to_numpy(), vae or self.vae()
        inputs = (self.sets.path(name, "draws"), "vae/weights.safetensors")
        with self._store.step(f"decoded/{name}", inputs) as new:
            kept.write_decoded(new(file), vae, z, self._posterior_tensors())
        return self._store.file(file)

    @property
    def store(self) -> Folder:
        """The folder's files and steps, for those who add to it."""
        return self._store

"""One folder for a run: what was asked for, what was trained, what was drawn::

    run.json                        the manifest: steps that happened, their files, digests and settings
    vae/                            words and weights of the VAE, and the state that training ended in
    history.json                    losses of each epoch
    posterior.safetensors           q(z|x) of the training data, their labels, and a few test data
    training.safetensors            the training data, evenly thinned to 64 MiB, to hold samples against
    draws/NAME.nc                   a set of draws, as NetCDF
    draws/NAME.metric.safetensors   the metric that they were drawn with
    draws/NAME.verdict.json         the verdict on them
    decoded/NAME.npz                what they decode to; of a table with names of columns also as .csv
    figures/                        pictures

Sets of draws have names; where none is given, the last one is meant. Nothing is pickled, nothing is replaced
unless it is asked for, and paths within are relative, so a folder can be moved.
"""

import os
import warnings
from pathlib import Path
from typing import Any

from pyrogeo._checks import whole
from pyrogeo._random import forked
from pyrogeo._tensors import digest_of
from pyrogeo.datasets import Dataset
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.errors import SamplingWarning
from pyrogeo.geometry import CentroidMetric, Metric
from pyrogeo.run import kept
from pyrogeo.run.asked import asked_of_draws, differing_step
from pyrogeo.run.folder import Folder
from pyrogeo.run.sets import Sets, check_settings, checked_name
from pyrogeo.run.trained import Trained
from pyrogeo.run.training import CHECKPOINT, train
from pyrogeo.sampling.draws import is_incomplete, read_draws, write_draws
from pyrogeo.sampling.methods import Method, chosen, record_of
from pyrogeo.vae import VAE, History
from pyrogeo.verdict import Diagnosis, diagnose

__all__ = ["Run"]


class Run(Trained):
    """A run folder, read and extended step by step.

    Each step is whole or has not happened: one that was interrupted leaves what was there before, and
    the same call does it again. The same call where the step is there returns what is there; another
    one is refused with what differs, unless it may replace it.

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
        super().__init__(Folder(folder))
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
        return "interrupted" if self.is_interrupted else "empty"

    @property
    def is_interrupted(self) -> bool:
        """Whether there is a training to go on with, also beside a VAE that was trained before."""
        done = CHECKPOINT in self._store.manifest.leftovers
        return not done and (self.folder / CHECKPOINT).exists()

    def fit(
        self,
        vae: VAE,
        data: Dataset,
        *,
        force: bool = False,
        statement: dict[str, Any] | None = None,
        **options: Any,
    ) -> History:
        """Trains with `pyrogeo.fit`, checkpointed, and keeps VAE, history, posteriors and state.

        After Ctrl-C or a kill, the same call on the same folder continues where it stopped. When all is
        there, it returns the history; with more epochs it goes on to the bits of so many at once.

        Args:
            vae: the program, with the weights that training begins with; it is left with the best ones.
            data: to train on.
            force: train anew, and replace a VAE that was trained otherwise once that is done.
            statement: of the run once it is trained; by default the one that it has.
            options: of `pyrogeo.fit`.

        Raises:
            ValueError: where a VAE was trained, or begun, on other data, of other parts, or with other
                settings; and as `fit` does.
        """
        return train(self._store, vae, data, force=force, statement=statement, **options)

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

        Where the set is there, made so from these posteriors, it is returned. One that was interrupted is
        drawn anew.

        Raises:
            ValueError: where there is such a set that was made otherwise, without `replace`; for a setting
                that the method has not; and as the method does.
        """
        record, num_samples = chosen(method), whole("num_samples", num_samples)
        check_settings(record, settings)
        name = checked_name(record.name if name is None else name)
        if metric is None:
            metric = self._usual_metric(record)
        given = self._given(record, vae)
        asked = asked_of_draws(record, num_samples, settings, metric, vae)
        if name in self.sets.names and not replace:
            there = self._as_asked(name, asked)
            if there is not None:
                return there
        with self.sets.new_draws(name, asked) as new:
            draws = record.draw(metric, num_samples, **given, **settings)
            write_draws(new(f"draws/{name}.nc"), draws)
            save: Any = getattr(metric, "save", None)
            if save is not None:
                save(new(f"draws/{name}.metric.safetensors"))
        return draws

    def _as_asked(self, name: str, asked: dict[str, Any]) -> Any | None:
        """The draws that are there, if they are what is asked for; None where they are to be made again.

        Raises:
            ValueError: for draws that were made otherwise.
        """
        step = f"draws/{name}"
        other = differing_step(self._store, step, asked)
        if other:
            raise ValueError(
                f"{self.folder} has draws already, by {name}, made otherwise: {other}; replace them, or "
                "give these another name"
            )
        self._store.finish()
        draws = self.draws(name) if self._store.is_whole(step) else None
        return None if draws is None or is_incomplete(draws) else draws

    def is_stale(self, name: str) -> bool:
        """Whether a set of draws is of an earlier training."""
        return self._store.manifest.is_stale(f"draws/{name}")

    def has_stale_verdict(self, name: str) -> bool:
        """Whether the verdict that is there is on other draws than those of the set."""
        return self._store.has(f"verdict/{name}") and not self.sets.has("diagnosis", name)

    def warn_if_stale(self, *names: str) -> None:
        """Says of sets of draws that are of an earlier training that they are."""
        for name in names:
            if self.is_stale(name):
                warnings.warn(
                    f"the draws by {name} are stale, of an earlier training; sample again",
                    SamplingWarning,
                    stacklevel=3,
                )

    def _usual_metric(self, record: Method) -> CentroidMetric | None:
        last = self.sets.names[-1:]
        if self.has("metric") and not any(
            self._store.manifest.is_stale(f"draws/{n}") for n in last
        ):
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
        self.warn_if_stale(name)
        draws = self.draws(name)
        with forked(0):
            found = diagnose(draws, density=self._target(name, draws))
        with self.sets.new_verdict(name) as new:
            kept.write_diagnosis(new(f"draws/{name}.verdict.json"), found)
        return found

    def _target(self, name: str, draws: Any) -> RiemannianUniform | None:
        """The density that Markov chains were to follow, if exact draws of it exist."""
        record = record_of(draws)
        if not record.uniform or record.name == "exact" or not self.sets.has("metric", name):
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

        Of a standardised table, in its own units; where its columns have names, also `decoded/NAME.csv`.

        Args:
            name: of the set of draws, by default the last.
            vae: of one's own parts; by default the folder's.
            replace: a file that is there, of other draws or another VAE.

        Returns:
            its path; where it is there, of these draws and this VAE, nothing is done.

        Raises:
            ValueError: for a run without draws, or with another such file, without `replace`.
        """
        name = self.sets.chosen(name)
        step, file = f"decoded/{name}", f"decoded/{name}.npz"
        self.warn_if_stale(name)
        vae = vae or self.vae()
        asked = {"vae": digest_of(vae.state_dict())}
        if not replace and self._store.has(step):
            if other := differing_step(self._store, step, asked):
                raise ValueError(
                    f"{self.folder / file} exists already, made otherwise: {other}; replace it, or use "
                    "another folder"
                )
            self._store.finish()
            if self._store.is_whole(step):
                return self._store.file(file)
        z = self.draws(name).posterior["z"].to_numpy()
        inputs = (self.sets.path(name, "draws"), "vae/weights.safetensors")
        columns = kept.data_words(self._store).columns
        with self._store.step(step, inputs, asked) as new:
            kept.write_decoded(new, name, vae, z, self._posterior_tensors(), columns)
        return self._store.file(file)

    @property
    def store(self) -> Folder:
        """The folder's files and steps, for those who add to it."""
        return self._store

"""One folder for a run: what was asked for, what was trained, what was drawn.

    run.json               what was asked for, versions, state
    vae/                   words and weights of the VAE
    history.json           losses of each epoch
    posterior.safetensors  q(z|x) of the training data, their labels, and a few test data
    training.safetensors   the training data, evenly thinned to 64 MiB, to hold samples against
    metric.safetensors     the metric
    draws.nc               the chains, as NetCDF
    diagnosis.json         the verdict on them
    figures/               pictures

Nothing in it is pickled, and nothing is replaced unless it is asked for. Paths within are relative, so a
folder can be moved.
"""

import json
import math
import os
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from pyrogeo import recipes
from pyrogeo._files import read_json, read_tensors, write_json, write_tensors
from pyrogeo._random import forked
from pyrogeo.datasets import Dataset
from pyrogeo.distributions import RiemannianUniform
from pyrogeo.geometry import CentroidMetric
from pyrogeo.geometry.checks import location_and_spread
from pyrogeo.sampling import sample
from pyrogeo.sampling.draws import read_draws, write_draws
from pyrogeo.vae import VAE, History, fit
from pyrogeo.verdict import Diagnosis, diagnose
from pyrogeo.verdict.diagnosis import draws_method

__all__ = ["Run"]

_EXAMPLES = 64
_TRAINING_BYTES = 64 * 2**20
_PACKAGES = ("pyrogeo", "torch", "pyro-ppl", "arviz", "numpy", "scikit-learn", "scipy")


class Run:
    """A run folder, read and extended step by step.

    Args:
        folder: of an existing run; `Run.create` makes one.

    Raises:
        ValueError: for a folder that holds none, or one of a newer format.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     run = Run.create(folder, purpose="an example")
    ...     run.has("draws"), Run(folder).words["statement"]
    (False, {'purpose': 'an example'})
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        if not (self.folder / "run.json").is_file():
            raise ValueError(f"{self.folder} is not a run folder: it has no run.json")
        self.words = read_json(self.folder / "run.json", "a pyrogeo run")

    @classmethod
    def create(cls, folder: str | os.PathLike, **statement: Any) -> "Run":
        """Makes a run folder.

        Args:
            folder: new or empty.
            statement: what was asked for, in JSON's words; the user's own to choose.

        Raises:
            ValueError: for a folder that holds something or cannot be written, and for a statement
                that JSON cannot hold.
        """
        folder = Path(folder)
        if folder.is_dir() and any(folder.iterdir()):
            raise ValueError(f"{folder} holds something already; choose a new folder")
        words = {
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "state": "empty",
            "statement": statement,
            "versions": {"python": platform.python_version()}
            | {package: version(package) for package in _PACKAGES},
        }
        try:
            json.dumps(statement)
            folder.mkdir(parents=True, exist_ok=True)
            write_json(folder / "run.json", words, "a pyrogeo run")
        except TypeError as error:
            raise ValueError(f"statement: {error}") from error
        except OSError as error:
            raise ValueError(f"{folder} cannot be written: {error.strerror}") from error
        return cls(folder)

    def note(self, **words: Any) -> None:
        """Adds to `run.json`."""
        self.words |= words
        content = {k: v for k, v in self.words.items() if k not in ("kind", "format")}
        write_json(self.folder / "run.json", content, "a pyrogeo run")

    def fit(self, vae: VAE, data: Dataset, **options: Any) -> History:
        """Trains with `pyrogeo.fit`, checkpointed, and keeps VAE, history and posteriors.

        After Ctrl-C, the same call on the same folder continues where it stopped.

        Raises:
            ValueError: where a VAE was trained already, and as `fit` does.
        """
        if self.words["state"] == "trained":
            raise ValueError(f"{self.folder} holds a trained VAE already; choose a new folder")
        checkpoint = self.folder / "checkpoint.safetensors"
        history = fit(vae, data.train, data.validation, checkpoint=checkpoint, **options)
        if history.stopped == "interrupted":
            self.note(state="interrupted")
            return history
        vae.save(self.folder / "vae")
        rows = history.table.reset_index().to_dict("list")
        words = {"best_epoch": history.best_epoch, "stopped": history.stopped, "seed": history.seed}
        write_json(self._path("history"), {**words, "rows": rows}, "a training history")
        self._keep_posterior(vae, data)
        self.note(state="trained", data={"name": data.name, "classes": list(data.classes)})
        checkpoint.unlink()
        return history

    def _keep_posterior(self, vae: VAE, data: Dataset) -> None:
        tensors = {"examples": data.test[:_EXAMPLES]}
        if data.train_labels is not None:
            tensors["labels"] = data.train_labels
        if data.location is not None:
            tensors |= {"data_location": data.location, "data_scale": data.scale}
        try:
            loc, spread, is_full = location_and_spread(vae.embed(data.train))
            tensors["loc"] = loc
            if spread.any():  # a point mass has embeddings only
                tensors["covariance" if is_full else "variance"] = spread
        except ValueError:  # and so has a guide without moments
            tensors["loc"] = vae.embed(data.train).sample()
        write_tensors(self._path("posterior"), tensors, "posteriors of a run")
        most = max(1, _TRAINING_BYTES // (data.train[0].numel() * data.train.element_size()))
        some = torch.linspace(0, len(data.train) - 1, min(len(data.train), most)).long()
        write_tensors(self._path("training"), {"data": data.train[some]}, "training data of a run")

    def _path(self, name: str) -> Path:
        endings = {"posterior": "safetensors", "training": "safetensors"}
        endings |= {"metric": "safetensors", "draws": "nc"}
        return self.folder / f"{name}.{endings.get(name, 'json')}"

    def has(self, name: str) -> bool:
        """Whether `"history"`, `"posterior"`, `"metric"`, `"draws"` or `"diagnosis"` is there."""
        return self._path(name).is_file()

    def vae(self) -> VAE:
        """The trained VAE; one of its author's own parts is built by them, see `recipes.load`."""
        return recipes.load(self.folder / "vae")

    def history(self) -> History:
        """What happened in training."""
        words = read_json(self._path("history"), "a training history")
        table = pd.DataFrame(words["rows"]).set_index("epoch").astype(float)
        return History(table, words["best_epoch"], words["stopped"], words["seed"])

    def _posterior_tensors(self) -> dict[str, Tensor]:
        if not self.has("posterior"):
            raise ValueError(f"{self.folder} has no posteriors yet; fit first")
        return read_tensors(self._path("posterior"), "posteriors of a run")[0]

    def posterior(self) -> Distribution:
        """q(z|x) of the N training data, batch shape `(N,)` and event shape `(d,)`.

        Raises:
            ValueError: before `fit`, and for a guide without covariances.
        """
        tensors = self._posterior_tensors()
        if "variance" in tensors:
            return Independent(Normal(tensors["loc"], tensors["variance"].sqrt()), 1)
        if "covariance" in tensors:
            return MultivariateNormal(tensors["loc"], tensors["covariance"])
        raise ValueError(f"the guide of {self.folder} has no covariances to make a metric of")

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
        if not self.has("training"):
            raise ValueError(f"{self.folder} keeps no training data")
        kept = read_tensors(self._path("training"), "training data of a run")[0]["data"]
        return kept, len(self.embeddings()[0])

    def metric(self) -> CentroidMetric:
        """The metric of the last sampling."""
        return CentroidMetric.load(self._path("metric"))

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

    def draws(self) -> Any:
        """The chains, as ArviZ data.

        Raises:
            ValueError: for a run without draws.
        """
        if not self.has("draws"):
            raise ValueError(f"{self.folder} has no draws yet; sample first")
        return read_draws(self._path("draws"))

    def sample(
        self,
        num_samples: int,
        *,
        metric: CentroidMetric | None = None,
        replace: bool = False,
        draw: Callable[..., Any] | None = None,
        **options: Any,
    ) -> Any:
        """Draws with `pyrogeo.sample`, or otherwise, and keeps metric and chains.

        Args:
            num_samples: of each chain.
            metric: by default the one that is there, or else `make_metric()`.
            replace: draws that are there.
            draw: called as `draw(metric, num_samples, **options)`, returns ArviZ data; by default
                `pyrogeo.sample` on `RiemannianUniform(metric)`.
            options: of `draw`.

        Raises:
            ValueError: where there are draws, without `replace`, and as `draw` does.
        """
        if self.has("draws") and not replace:
            raise ValueError(
                f"{self.folder} has draws already; replace them, or use another folder"
            )
        if metric is None:
            metric = self.metric() if self.has("metric") else self.make_metric()
        draws = (draw or _chains)(metric, num_samples, **options)
        metric.save(self._path("metric"))
        write_draws(self._path("draws"), draws)
        self._path("diagnosis").unlink(missing_ok=True)  # it was of other draws
        return draws

    def diagnose(self) -> Diagnosis:
        """The verdict on the draws, beside exact ones where the uniform density is their target."""
        draws, metric = self.draws(), self.metric()
        proper = metric.log_vacuum_volume < math.inf
        aimed_at_uniform = proper and draws_method(draws) != "mixture"
        with forked(0, metric.centroids.device):
            density = RiemannianUniform(metric) if aimed_at_uniform else None
            found = diagnose(draws, density=density)
        table = json.loads(found.table.to_json(orient="index"))
        words = {"verdict": found.verdict, "reasons": list(found.reasons), "table": table}
        write_json(self._path("diagnosis"), words, "a diagnosis")
        return found

    def decode(self, vae: VAE | None = None, replace: bool = False) -> Path:
        """Writes `decoded.npz`: `z` and `data`, the likelihood's mean, of shape `(chain, draw, …)`.

        Of a standardised table, in the units that it came in.

        Args:
            vae: of one's own parts; by default the folder's.
            replace: a file that is there.

        Raises:
            ValueError: for a run without draws, or with the file, without `replace`.
        """
        path = self.folder / "decoded.npz"
        if path.exists() and not replace:
            raise ValueError(f"{path} exists already; replace it, or use another folder")
        z = torch.from_numpy(self.draws().posterior["z"].to_numpy())
        data = (vae or self.vae()).decode(z.flatten(0, 1)).mean.cpu()
        tensors = self._posterior_tensors()
        if "data_scale" in tensors:
            data = tensors["data_location"] + tensors["data_scale"] * data
        np.savez_compressed(path, z=z, data=data.reshape(*z.shape[:2], *data.shape[1:]))
        return path

    def summary(self) -> str:
        """What the folder holds, in lines."""
        words = self.words
        lines = [f"{self.folder}: {words['state']}, created {words['created']}"]
        for name, value in words["statement"].items():
            lines.append(f"  {name}: {json.dumps(value) if isinstance(value, dict) else value}")
        if words["state"] == "interrupted":
            lines.append("training was interrupted: the same fit on this folder continues it")
        if self.has("history"):
            history = self.history()
            table = history.table
            lines.append(
                f"training: {len(table)} epochs, {history.stopped}; kept {history.best_epoch}"
            )
            if history.best_epoch:
                best = table.loc[history.best_epoch]
                lines.append(
                    f"  loss {best['loss']:.4g}, validation {best['validation_loss']:.4g} nats per datum"
                )
        if self.has("metric"):
            lines.append(f"metric: {self.metric()}")
        if self.has("draws"):
            draws = self.draws()
            sizes = draws.posterior.sizes
            incomplete = ", interrupted" if draws.posterior.attrs.get("incomplete") else ""
            lines.append(f"draws: {sizes['chain']} chains of {sizes['draw']}{incomplete}")
            verdict = (
                read_json(self._path("diagnosis"), "a diagnosis")["verdict"]
                if self.has("diagnosis")
                else "not asked for yet"
            )
            lines.append(f"verdict: {verdict}")
        made = ", ".join(f"{k} {v}" for k, v in words["versions"].items())
        return "\n".join([*lines, f"made with {made}"])


def _chains(metric: CentroidMetric, num_samples: int, **options: Any) -> Any:
    return sample(RiemannianUniform(metric), num_samples, **options)

"""What `fit` left in a run folder, read from its files."""

from torch import Tensor
from torch.distributions import Distribution

from pyrogeo import recipes
from pyrogeo.run import kept
from pyrogeo.run.folder import Folder
from pyrogeo.vae import VAE, History

__all__ = ["Trained"]


class Trained:
    """The VAE, its history, its posteriors and some of its data.

    Args:
        store: the run's files and steps.
    """

    def __init__(self, store: Folder):
        self._store = store

    def vae(self) -> VAE:
        """The trained VAE; one of its author's own parts is built by them, see `recipes.load`."""
        self._trained()
        words, weights = (self._store.file(f"vae/{n}") for n in ("vae.json", "weights.safetensors"))
        # A step that was killed while its files were moved left them in two folders.
        return recipes.load(words.parent, weights.parent)

    def _trained(self) -> None:
        if not self._store.has("fit"):
            raise ValueError(f"{self._store.path} has no posteriors yet; fit first")

    @property
    def classes(self) -> tuple[str, ...]:
        """What the labels stand for; empty where they are plain numbers."""
        return kept.data_words(self._store).classes

    @property
    def data_name(self) -> str:
        """What the data are."""
        return kept.data_words(self._store).name

    def history(self) -> History:
        """What happened in training."""
        self._trained()
        return kept.read_history(self._store.file("history.json"))

    def _posterior_tensors(self) -> dict[str, Tensor]:
        self._trained()
        return kept.read_posterior(self._store.file("posterior.safetensors"), self.classes)

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
            raise ValueError(
                f"the guide of {self._store.path} has no covariances to make a metric of"
            )
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
            raise ValueError(f"{self._store.path} keeps no training data")
        data = kept.read_training(self._store.file("training.safetensors"))
        return data, len(self.embeddings()[0])

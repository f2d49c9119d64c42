"""What a step of a run was asked for, as the manifest keeps it, and how two askings differ."""

import inspect
from typing import Any

from pyrogeo._asked import differing, words_of
from pyrogeo._tensors import digest_of
from pyrogeo.run.folder import Folder
from pyrogeo.sampling.methods import METHODS, Method

__all__ = ["asked_of_draws", "differing_step"]

#: settings that change no number
_OF_THE_MOMENT = ("progress", "num_workers")


def asked_of_draws(
    record: Method, num_samples: int, settings: dict[str, Any], metric: Any, vae: Any
) -> dict[str, Any]:
    """What a set of draws follows from, beside the run's own posteriors, in JSON's words.

    Args:
        record: the way of drawing.
        num_samples: of each chain.
        settings: of the way; those that are left out have its defaults.
        metric: that it draws with, or None.
        vae: whose prior it was given, or None for the run's.
    """
    asked = {**record.defaults, **settings}
    words = {k: words_of(v) for k, v in asked.items() if k not in _OF_THE_MOMENT}
    words |= {"method": record.name, "num_samples": int(num_samples), "metric": repr(metric)}
    if METHODS.get(record.name) is not record:
        words["function"] = words_of(inspect.unwrap(record.draw))
    if hasattr(metric, "state_dict"):
        words["metric_content"] = digest_of(metric.state_dict())
    if vae is not None and "prior" in record.needs:
        words["vae"] = digest_of(vae.state_dict())
    return words


def differing_step(store: Folder, name: str, asked: dict[str, Any]) -> str:
    """How a step that happened differs from what is asked for now; empty if it does not.

    Args:
        store: the run's files and steps.
        name: of the step.
        asked: as it would be kept.
    """
    found = differing(store.manifest.steps[name].settings, words_of(asked))
    old = "its input was made anew since" if store.manifest.has_other_inputs(name) else ""
    return ", ".join(filter(None, (found, old)))

"""What a report was made from, which the page carries, so that it is known when it is stale."""

import hashlib
import json
import re
from pathlib import Path

from pyrogeo._tensors import digest_of
from pyrogeo.run import Run
from pyrogeo.vae import VAE

__all__ = ["is_of_now", "made_from", "written_in"]

_MARK = '<meta name="pyrogeo-made-from" content="([^"]*)">'
_AT_MOST = 4096  # bytes within which a page says it
#: steps that show what others made, as the report does
_SHOWN = ("decoded/", "figures")


def made_from(run: Run, name: str | None, vae: VAE | None) -> str:
    """A line that says of which steps, draws and VAE a report is.

    Args:
        run: that is reported.
        name: of the set of draws that was asked for.
        vae: of one's own parts that was given.
    """
    return f"{_steps(run)} {name or '*'} {digest_of(vae.state_dict()) if vae else '*'}"


def written_in(path: Path) -> str | None:
    """The line that a report carries; None of a file that is none.

    >>> written_in(Path("nowhere.html")) is None
    True
    """
    try:
        with path.open("rb") as file:
            found = re.search(_MARK, file.read(_AT_MOST).decode(errors="replace"))
    except OSError:
        return None
    return found and found[1]


def is_of_now(run: Run, line: str) -> bool:
    """Whether nothing that a report showed was made anew since."""
    return line.split(" ")[0] == _steps(run)


def _steps(run: Run) -> str:
    steps = run.store.manifest.steps.items()
    files = {name: step.files for name, step in steps if not name.startswith(_SHOWN)}
    text = json.dumps([run.statement, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()

"""Runs the tutorials: in place, to commit their outputs, or small and thrown away, to see that they run.

python tutorials/execute.py                    # all, in place
python tutorials/execute.py --smoke 02 04      # these two, with PYROGEO_SMOKE=1, nothing written

Tutorial 6 shows a Pythae model only where `pythae` can be imported: have it before committing outputs.
"""

import argparse
import os
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def execute(path: Path, timeout: int) -> nbformat.NotebookNode:
    """The notebook with fresh outputs; raises what a cell raised."""
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=timeout, resources={"metadata": {"path": HERE}}).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # times, which would change with every run
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="beginnings of file names; all by default")
    parser.add_argument("--smoke", action="store_true", help="small sizes; write nothing")
    parser.add_argument("--timeout", type=int, default=600, help="seconds for a cell")
    args = parser.parse_args()
    if args.smoke:
        os.environ["PYROGEO_SMOKE"] = "1"
    for path in sorted(HERE.glob("*.ipynb")):
        if args.names and not path.name.startswith(tuple(args.names)):
            continue
        begun = time.monotonic()
        notebook = execute(path, args.timeout)
        print(f"{path.name}: {time.monotonic() - begun:.0f} s", flush=True)
        if not args.smoke:
            nbformat.write(notebook, path)


if __name__ == "__main__":
    main()

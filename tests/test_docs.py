"""The pages and the committed tutorials: every name and file they mention exists, and their code runs."""

import base64
import importlib
import io
import json
import re
from functools import partial
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import pyrogeo as pg

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md")) + sorted((ROOT / "docs" / "howto").glob("*.md"))
NOTEBOOKS = sorted((ROOT / "tutorials").glob("*.ipynb"))
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
WITH_CODE = [page for page in PAGES if BLOCK.search(page.read_text()) and page.name != "verdict.md"]


def found(path: str):
    """The object of a dotted path."""
    parts = path.split(".")
    for n in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for name in parts[n:]:
            thing = getattr(thing, name)
        return thing
    raise ModuleNotFoundError(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.stem)
def test_names_and_files_exist(page):
    text = page.read_text()
    for name in re.findall(r"\]\(#(pyrogeo[\w.]*)\)", text):
        found(name)
    for target in re.findall(r"\]\(((?!https?:|#)[^)#]+)", text):
        # Sphinx reads the tutorials from a copy.
        path = target.replace("../tutorials/", "tutorials/")
        base = ROOT if path.startswith("tutorials/") else page.parent
        assert (base / path).is_file(), target
    for command in re.findall(r"python ((?:docs|benchmarks|tutorials)/\w+\.py)", text):
        assert (ROOT / command).is_file(), command


@pytest.mark.parametrize("page", WITH_CODE, ids=lambda p: p.stem)
def test_the_code_runs(page, monkeypatch, capsys):
    fit, sample = pg.fit, partial(pg.sample, progress=False)

    def quick(*arguments, **options):
        return fit(*arguments, **{**options, "epochs": 1, "progress": False})

    monkeypatch.setattr(pg, "fit", quick)
    short = {"num_chains": 2, "warmup_steps": 10}
    monkeypatch.setattr(pg, "sample", lambda d, n, **o: sample(d, 10, **{**o, **short}))
    names = {"__name__": page.stem}
    for code in BLOCK.findall(page.read_text()):
        exec(code, names)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_tutorial_is_complete(path):
    """As committed: run from the top, small, without errors or a machine's paths."""
    assert path.stat().st_size < 1_000_000
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    words = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not [o for o in outputs if o["output_type"] == "error" or o.get("name") == "stderr"]
    said = json.dumps([{k: v for k, v in o.items() if k != "metadata"} for o in outputs])
    assert not re.search(r'"text[^"]*": [^\]]*(/home/|/work/|/tmp/|/root/)', said)
    assert "You will be able to" in words
    assert re.search(r"^## Exercises", words, re.MULTILINE)
    assert re.search(r"^## Where next", words, re.MULTILINE)
    assert "PYROGEO_SMOKE" in "".join(code[0]["source"])
    for target in re.findall(r"\]\(([\w./-]+\.(?:ipynb|md|png))\)", words):
        assert (path.parent / target).is_file(), target


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_a_tutorial_has_pictures(path):
    cells = json.loads(path.read_text())["cells"]
    data = [o.get("data", {}) for c in cells for o in c.get("outputs", [])]
    pictures = [d["image/png"] for d in data if "image/png" in d]
    assert pictures
    for picture in pictures:
        image = plt.imread(io.BytesIO(base64.b64decode(picture)))
        assert image.std() > 0.01  # not blank

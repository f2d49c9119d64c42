"""Words of a user or a file stay words: in a page, in a picture, on a terminal."""

import contextlib
import shutil
import warnings
from html.parser import HTMLParser

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from typer.testing import CliRunner

from pyrogeo import plots
from pyrogeo._words import printable
from pyrogeo.cli import app
from pyrogeo.datasets import Dataset
from pyrogeo.geometry import Curve
from pyrogeo.plots._plane import plain
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report, summary
from pyrogeo.run import Run
from pyrogeo.run.manifest import Manifest
from pyrogeo.sampling.methods import Method

NASTY = [
    "<script>alert(1)</script>", "</title><img src=x onerror=alert(1)>", '" onload="alert(1)', "' x='",
    "{{ 7 * 7 }}", "$title ${lead} $$", r"$\frac$", r"\frac{1}{0}$", "$", "&lt;b&gt;", "<!--", "]]>", "a\x1b[2J\x07b",
    "one\nverdict: pass\r\n", "\u202eevil", "\x00", "-->", "javascript:alert(1)", "%s {0} {x}", "_hidden", "",
    "a" * 500,
]  # fmt: skip
words = st.sampled_from(NASTY) | st.text(
    st.characters(codec="utf-8", exclude_categories=["Co", "Cn"]), max_size=20
)


@contextlib.contextmanager
def without_fonts():
    """Matplotlib's own font has not all letters, which it says."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "Glyph|Matplotlib currently does not support", UserWarning
        )
        yield


class Skeleton(HTMLParser):
    """Elements and the names of their attributes, in order."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.text = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_endtag(self, tag):
        self.elements.append((f"/{tag}",))

    def handle_comment(self, data):
        self.elements.append(("comment", data))

    def handle_data(self, data):
        self.text.append(data)


def run_of(path, data_name, classes, **statement):
    torch.manual_seed(0)
    x, labels = torch.rand(30, 5), torch.arange(30) % len(classes)
    data = Dataset(x, x[:5], x[:5], labels, labels[:5], labels[:5], data_name, tuple(classes))
    run = Run.create(path, **statement)
    vae = standard_vae((5,), 2, hidden=(4,), likelihood="normal")
    run.fit(vae, data, epochs=1, seed=0, progress=False)
    return run


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    run = run_of(tmp_path_factory.mktemp("runs") / "run", "plain", ["a", "b"], purpose="plain")
    run.sample(10, "mixture", num_chains=2, seed=0)
    return run, Skeleton(page_of(run))


def page_of(run):
    with without_fonts():
        return report(run.folder, run.folder.parent / "page.html", replace=True).read_text()


def renamed(run, path, data_name, classes, statement):
    """The same run with other words in its manifest."""
    path = shutil.copytree(run.folder, path)
    manifest = Manifest.read(path)
    manifest.statement.clear()
    manifest.statement.update(statement)
    manifest.steps["fit"].settings["data"] = {"name": data_name, "classes": classes}
    manifest.write(path)
    return Run(path)


def test_a_page_of_nasty_words_has_the_elements_of_one_of_plain_words(drawn, tmp_path):
    run, plain = drawn
    statement = {f"{number} {nasty}": nasty for number, nasty in enumerate(NASTY)}
    copy = renamed(run, tmp_path / NASTY[2], "".join(NASTY), NASTY[:2], statement)
    found = Skeleton(page_of(copy))
    assert found.elements == plain.elements
    text = "".join(found.text)
    assert all(printable(nasty) in text for nasty in NASTY)
    assert not any(ord(c) < 32 and c != "\n" for c in text)


@given(words)
@settings(max_examples=200)
def test_what_is_printed_moves_no_cursor(text):
    shown = printable(text)
    assert shown.isprintable() or any(c.isspace() for c in shown)
    assert not any(ord(c) < 32 or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert "\n" not in shown


@given(words)
@settings(max_examples=60)
def test_a_picture_shows_any_words_letter_by_letter(text):
    figure = Figure(figsize=(1, 1))
    shown = figure.text(0, 0, plain(text))
    with without_fonts():
        FigureCanvasAgg(figure).draw()
    preprocessed, math = shown._preprocess_math(shown.get_text())
    assert not math
    assert preprocessed == printable(text, 60)


def test_labels_of_pictures(drawn):
    run, _ = drawn
    z, _ = run.embeddings()
    labels = [NASTY[i % len(NASTY)] for i in range(len(z))]
    with without_fonts():
        plots.latent_space(run.metric(), z, labels, resolution=5).figure.canvas.draw()
        plots.images(torch.rand(220, 1, 4, 4), row_labels=NASTY).figure.canvas.draw()
        plots.paths({nasty: Curve.line(torch.zeros(2), torch.ones(2)) for nasty in NASTY[5:8]})


def test_a_method_of_one_s_own_by_any_name(drawn, tmp_path):
    run = Run(shutil.copytree(drawn[0].folder, tmp_path / "run"))

    def draw(metric, num_samples, **settings):
        return run.draws("mixture")

    for number, nasty in enumerate(NASTY[:2]):
        mine = Method(nasty, nasty, draw, words=nasty, note=nasty, title=nasty)
        run.sample(10, mine, name=f"mine{number}")
    skeleton = Skeleton(page_of(run))
    tags = {element[0] for element in skeleton.elements}
    assert tags == {element[0] for element in drawn[1].elements}


@pytest.mark.parametrize("nasty", ["a\x1b[2Jb", "one\nverdict: pass", "\x9b31m", "\u202eevil"])
def test_a_terminal_shows_words_of_a_file_as_words(drawn, tmp_path, nasty):
    copy = renamed(drawn[0], tmp_path / "run", nasty, ["a", "b"], {nasty: nasty})
    said = CliRunner().invoke(app, ["info", str(copy.folder)]).output
    assert said.rstrip("\n") == summary(copy)
    assert all(line.isprintable() for line in said.split("\n"))
    assert not any(line.startswith("verdict") for line in said.split("\n"))
    (copy.folder / "vae" / "vae.json").write_text(f'{{"kind": "{nasty}"}}')
    for arguments in (["decode", str(copy.folder)], ["info", f"{tmp_path}/{nasty}"]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1
        assert len(result.output.rstrip("\n").split("\n")) == 1
        assert result.output.rstrip("\n").isprintable()

"""The report is one page that needs nothing else, says what is in the run, and can be read without eyes."""

import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import torch
from typer.testing import CliRunner

from pyrogeo.cli import app
from pyrogeo.recipes.standard import standard_vae
from pyrogeo.reports import report
from pyrogeo.run import Run
from tests.test_run import FAST, some_data


class Page(HTMLParser):
    """Tags with their attributes, and the text outside of style."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.words, self.within = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "link", "br"):
            self.within.append(tag)

    def handle_endtag(self, tag):
        assert self.within.pop() == tag

    def handle_data(self, data):
        if "style" not in self.within:
            self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", note="<b>a & b</b>")
    torch.manual_seed(0)
    run.fit(standard_vae((1, 8, 8), 2, hidden=(16,)), some_data(), epochs=3, seed=0, progress=False)
    run.sample(20, **FAST)
    run.diagnose()
    return run


@pytest.fixture(scope="module")
def page(run):
    text = report(run.folder, replace=True).read_text()
    return text, Page(text)


def test_it_needs_nothing_from_elsewhere(page):
    text, parsed = page
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert not parsed.all("script") + parsed.all("link")
    assert "url(" not in text
    assert parsed.within == []


def test_it_says_what_the_run_holds(run, page):
    words = " ".join("".join(page[1].words).split())
    found = run.diagnosis()
    for said in ("3 epochs", f"Verdict on the draws: {found.verdict}.", *found.reasons):
        assert " ".join(said.split()) in words
    assert "<b>a & b</b>" in words  # as text, not as markup
    assert "among 60" in words
    assert len(page[1].all("img")) == 5


def test_it_can_be_read_without_eyes_and_without_a_mouse(page):
    parsed = page[1]
    assert parsed.all("html")[0]["lang"] == "en"
    assert all(len(image["alt"]) > 20 for image in parsed.all("img"))
    headings = [tag for tag, _ in parsed.tags if re.fullmatch("h[1-6]", tag)]
    assert headings[0] == "h1"
    assert set(headings[1:]) == {"h2"}
    assert all(cell.get("scope") in ("row", "col") for cell in parsed.all("th"))
    targets = {attrs.get("id") for _, attrs in parsed.tags}
    assert all(link["href"][1:] in targets for link in parsed.all("a"))
    scrolling = [a for tag, a in parsed.tags if a.get("class") == "scroll"]
    assert all(a["tabindex"] == "0" and a["aria-label"] for a in scrolling)


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_contrast(page):
    """At least 4.5 to 1 (WCAG 2.1 AA) for text, links and verdicts, in light and in dark."""
    schemes = re.findall(r"--ink: (#\w+); --paper: (#\w+);.*?--link: (#\w+)", page[0])
    assert len(schemes) == 2
    pairs = [(a, paper) for ink, paper, link in schemes for a in (ink, link)]
    pairs += [("#ffffff", colour) for colour in re.findall(r"background: (#\w{6});", page[0])]
    assert len(pairs) == 7
    for pair in pairs:
        dark, light = sorted(map(luminance, pair))
        assert (light + 0.05) / (dark + 0.05) >= 4.5, pair


@pytest.mark.parametrize("width", [1000, 390])
def test_chromium_renders_it(run, page, tmp_path, width):
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("Chromium is not installed")
    picture = tmp_path / "page.png"
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    subprocess.run(
        [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet,
         "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--hide-scrollbars",
         f"--window-size={width},3000", f"--screenshot={picture}",
         (run.folder / "report.html").resolve().as_uri()],
        check=True, capture_output=True, timeout=120,
    )  # fmt: skip
    from PIL import Image

    with Image.open(picture) as image:
        pixels = torch.frombuffer(bytearray(image.convert("L").tobytes()), dtype=torch.uint8)
        pixels = pixels.reshape(image.height, image.width).float()
    assert pixels.shape == (3000, width)
    assert (pixels[:, -8:].std(0) < 1).all()  # nothing runs over the right edge
    assert (pixels.std(1) > 5).float().mean() > 0.4  # most lines have something on them


def test_files_and_folders(run, page, tmp_path):
    before = (run.folder / "report.html").read_bytes()
    assert report(run.folder).read_bytes() == before
    with pytest.raises(ValueError, match="exists already, and reports other draws"):
        report(run.folder, name="nuts")
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="mine.txt exists already; replace it"):
        report(run.folder, tmp_path / "mine.txt")
    with pytest.raises(ValueError, match="is not a folder"):
        report(run.folder, tmp_path / "nowhere" / "report.html")
    with pytest.raises(ValueError, match="nothing to report yet"):
        report(Run.create(tmp_path / "empty").folder)
    out = tmp_path / "mine.html"
    result = CliRunner().invoke(app, ["report", str(run.folder), "-o", str(out)])
    assert result.exit_code == 0, result.output
    assert out.read_text().startswith("<!doctype html>")


def test_a_run_without_draws(tmp_path):
    run = Run.create(tmp_path / "run")
    run.fit(standard_vae((5,), 2, hidden=(8,), likelihood="normal"), some_data((5,), labels=False),
            epochs=1, seed=0, progress=False)  # fmt: skip
    text = report(run.folder).read_text()
    assert "The verdict" not in text
    assert "What was trained" in text

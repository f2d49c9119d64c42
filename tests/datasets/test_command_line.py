"""The data options of `pyrogeo fit`: from files as people have them to what is decoded from them."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse

from pyrogeo.run import Run
from tests.test_cli import call

QUICK = ["--epochs", 1, "--hidden", "8", "--latent-dim", 1, "--no-progress"]
N = 40
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"so4": 1e9 + RNG.random(N), "no3": RNG.normal(size=N), "kind": ["a", "b"] * (N // 2)}
)


def fit(data, *options, code=0):
    """The words of a fit on data, in a folder beside them."""
    return call("fit", data, "-o", data.parent / "run", *QUICK, *options, code=code)


def test_from_a_csv_to_a_csv(tmp_path):
    FRAME.to_csv(tmp_path / "table.csv.gz", index=False)
    fit(tmp_path / "table.csv.gz", "--label-column", "kind")
    run = tmp_path / "run"
    assert Run(run).classes == ("a", "b")
    call("sample", run, "-n", 10, "--method", "prior", "--no-progress")
    call("decode", run)
    table = pd.read_csv(run / "decoded" / "prior.csv")
    assert table.columns.tolist() == ["so4", "no3"]
    np.testing.assert_array_equal(
        table, np.load(run / "decoded" / "prior.npz")["data"].reshape(-1, 2)
    )
    assert table.so4.between(1e9 - 1, 1e9 + 2).all()  # float64, or nothing is left of its digits
    assert "table.csv.gz" in call("info", run)


def test_a_table_without_names_has_no_csv(tmp_path):
    np.save(tmp_path / "table.npy", FRAME[["so4", "no3"]].to_numpy())
    fit(tmp_path / "table.npy")
    call("sample", tmp_path / "run", "-n", 10, "--method", "prior", "--no-progress")
    call("decode", tmp_path / "run")
    assert [p.name for p in (tmp_path / "run" / "decoded").iterdir()] == ["prior.npz"]


def gappy(folder):
    FRAME[["so4", "no3"]].mask(FRAME.no3 > 1).to_csv(folder / "x.csv", index=False)


def with_words(folder):
    FRAME.to_csv(folder / "x.csv", index=False)


def huge(folder):
    pd.DataFrame({"a": FRAME.no3 * 1e300, "b": FRAME.no3}).to_csv(folder / "x.csv", index=False)


def sparse_matrix(folder):
    sparse.save_npz(folder / "x.npz", sparse.random(30, 4, 0.5, random_state=0, format="csr"))


def pages(folder):
    for i in range(12):
        images = [Image.new("L", (8, 8), 10 * i + p) for p in range(2)]
        images[0].save(folder / f"{i}.tif", save_all=True, append_images=images[1:])


def counts(folder):
    for i in range(12):
        Image.fromarray(RNG.integers(-5, 900, (8, 8)).astype(np.int32)).save(folder / f"{i}.tif")


def large(folder):
    for i in range(12):
        Image.fromarray(RNG.integers(0, 255, (20, 20)).astype(np.uint8)).save(folder / f"{i}.png")


CASES = {
    gappy: ("--missing keep takes NaN", None),
    with_words: ("column kind: expected numbers, got words, such as 'a'; leave it out, or take it for labels "
                 "(--label-column 'kind')", ["--label-column", "kind"]),
    huge: ("standardise the columns (--standardize)", ["--standardize"]),
    sparse_matrix: ("a sparse matrix of shape (30, 4); --dense makes it dense", ["--dense"]),
    pages: ("--pages each reads them one by one", ["--pages", "each"]),
    counts: ("integers from -", ["--range", -5, 900]),
    large: ("400 pixels, more than --max-pixels 399", ["--max-pixels", 400]),
}  # fmt: skip


@pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
def test_what_is_refused_names_the_option_that_takes_it(make, tmp_path):
    words, option = CASES[make]
    (folder := tmp_path / "data").mkdir()
    make(folder)
    file = next(folder.iterdir())
    data = file if file.suffix in (".csv", ".npz") else folder
    how = {huge: ["--no-standardize"], large: ["--max-pixels", 399]}.get(make, [])
    said = fit(data, *how, "--size", 8, code=1)
    assert words in said
    assert said.startswith("error: ")
    assert len(said.splitlines()) == 1
    if option:
        assert "written to" in fit(data, *option, "--size", 8)
    else:  # read, and then refused by a program that does not take it
        assert "--missing keep" not in fit(data, "--missing", "keep", code=1)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--pages", "all"], "--pages: expected 'refuse' or 'each', got 'all'"),
        (["--missing", "drop"], "--missing: expected 'refuse' or 'keep', got 'drop'"),
        (["--range", 1, 0], "--range: expected two numbers, low < high"),
        (["--header"], "header: "),
    ],
)
def test_words_that_are_none(options, words, tmp_path):
    (folder := tmp_path / "data").mkdir()
    large(folder)
    assert words in fit(folder, *options, code=1)


def test_help_lists_the_options_in_their_place():
    printed = call("fit", "--help")
    places = [printed.index(f"  {o}") for o in ("--label-column", "--header", "--range LOW HIGH", "--pages",
              "--max-pixels", "--missing", "--dense", "--standardize", "--latent-dim")]  # fmt: skip
    assert places == sorted(places)

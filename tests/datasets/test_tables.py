"""Tables of every kind of column, file and gap: the numbers that are in them, or a line that names them."""

import contextlib
import gzip
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

import pyrogeo as pg
from pyrogeo.datasets import Dataset, from_array, load
from pyrogeo.errors import PyrogeoWarning

N = 20
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {"so4": RNG.random(N), "no3": RNG.normal(size=N), "kind": ["a", "b"] * (N // 2)}
)
NUMBERS = FRAME[["so4", "no3"]].to_numpy()


def rows(data: Dataset) -> np.ndarray:
    """All rows, in the order of their first number."""
    x = torch.cat([data.train, data.validation, data.test]).numpy()
    return x[np.argsort(x[:, 0])]


def assert_same(data: Dataset, x: np.ndarray, **how) -> None:
    x = np.asarray(x, np.float64)
    np.testing.assert_allclose(rows(data), x[np.argsort(x[:, 0])].astype(np.float32), **how)


DTYPES = {
    "int8": (np.arange(N) - 7, "int8"), "uint64": (np.arange(N), "uint64"),
    "bool": (np.arange(N) % 2 == 0, "bool"), "float16": (np.arange(N) / 4, "float16"),
    "Int64": (np.arange(N) - 3, "Int64"), "UInt8": (np.arange(N), "UInt8"),
    "boolean": (np.arange(N) % 2 == 0, "boolean"), "Float32": (np.arange(N) / 8, "Float32"),
    "object of ints": (np.arange(N), "object"), "object of floats": (np.arange(N) / 2, "object"),
    "object of booleans": (np.arange(N) % 2 == 0, "object"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DTYPES)
def test_columns_of_every_kind_of_number(kind):
    values, dtype = DTYPES[kind]
    frame = pd.DataFrame({"id": np.arange(N) / 2, "x": pd.Series(values.tolist(), dtype=dtype)})
    data = from_array(frame)
    assert data.columns == ("id", "x")
    assert data.train.dtype == torch.float32
    assert_same(data, np.stack([np.arange(N) / 2, values.astype(float)], 1))


@pytest.mark.parametrize("kind", ["Int64", "boolean", "Float32", "object of floats", "float64"])
def test_what_is_missing_is_named_or_kept(kind):
    values, dtype = DTYPES.get(kind, (np.arange(N) / 2, "float64"))
    column = pd.Series([*values.tolist()[:-2], None, None], dtype=dtype)
    frame = pd.DataFrame({"id": np.arange(N) / 2, "gappy": column})
    with pytest.raises(
        ValueError, match="2 NaN or infinite values in column gappy; missing='keep'"
    ):
        from_array(frame)
    x = rows(from_array(frame, missing="keep"))
    assert np.isnan(x[-2:, 1]).all()
    assert np.isfinite(x[:-2]).all()
    standard = from_array(frame, missing="keep", standardize=True)
    assert standard.train.nanmean(0).abs().max() < 1e-6
    assert torch.isfinite(standard.scale).all()


def test_masked_arrays_are_missing_values():
    x = np.ma.masked_less(np.arange(40).reshape(20, 2), 4)
    with pytest.raises(ValueError, match="got 4 NaN or infinite values in columns 0, 1"):
        from_array(x)
    kept = from_array(x, missing="keep")
    assert np.isnan(rows(kept)).sum() == 4
    assert_same(
        from_array(np.ma.masked_less(np.arange(40).reshape(20, 2), -1)),
        np.arange(40).reshape(20, 2),
    )
    with pytest.raises(ValueError, match="3 of 20 are missing"):
        from_array(np.zeros((20, 2)), np.ma.masked_less(np.arange(20), 3))
    with pytest.raises(ValueError, match="missing: expected"):
        from_array(x, missing="drop")


LABELS = {
    "words": (["b", "a"] * 10, ("a", "b")),
    "object": (np.array(["b", "a"] * 10, dtype=object), ("a", "b")),
    "string": (pd.Series(["b", "a"] * 10, dtype="string"), ("a", "b")),
    "bytes": (np.array([b"b", b"a"] * 10), ("a", "b")),
    "category": (pd.Series(["b", "a"] * 10, dtype="category"), ("a", "b")),
    "ordered": (pd.Categorical(["b", "a"] * 10, ["z", "b", "a"], ordered=True), ("b", "a")),
    "Int64": (pd.Series([1, 0] * 10, dtype="Int64"), ()),
    "boolean": (pd.Series([True, False] * 10, dtype="boolean"), ()),
    "bool": (np.array([True, False] * 10), ()),
    "uint8": (np.array([1, 0] * 10, np.uint8), ()),
    "tensor": (torch.tensor([1, 0] * 10), ()),
    "column": (np.array([[1], [0]] * 10), ()),
    "frame": (pd.DataFrame({"y": ["b", "a"] * 10}), ("a", "b")),
    "objects that are integers": (np.array([1, 0] * 10, dtype=object), ()),
    "index": (pd.Index(["b", "a"] * 10), ("a", "b")),
    "masked, nowhere": (np.ma.array([1, 0] * 10), ()),
}


@pytest.mark.parametrize("kind", LABELS)
def test_labels_of_every_kind(kind):
    labels, classes = LABELS[kind]
    x = np.arange(2.0 * N).reshape(N, 2)
    data = from_array(x, labels)
    assert data.classes == classes
    is_second = data.train[:, 0] / 2 % 2 == 1  # every second label is a, or 0
    expected = (classes.index("a"), classes.index("b")) if classes else (0, 1)
    assert torch.equal(data.train_labels, torch.where(is_second, *expected))
    assert data.train_labels.dtype == torch.int64


@pytest.mark.parametrize(
    ("labels", "words"),
    [
        (pd.Series(["a", None] * 10), "10 of 20 are missing"),
        (pd.Series([1, None] * 10, dtype="Int64"), "10 of 20 are missing"),
        (pd.Categorical(["a", None] * 10), "10 of 20 are missing"),
        (np.array(["a", 1] * 10, dtype=object), "a mixture of kinds"),
        (pd.Series([0.5] * 20), "got float64"),
        (pd.date_range("2020", periods=20), "got datetime64"),
        (["a"] * 19, "expected 20 labels"),
        (pd.Series(["a"] * 21), "expected 20 labels"),
        (np.zeros((20, 2), int), r"got shape \(20, 2\)"),
    ],
)
def test_labels_that_are_none(labels, words):
    with pytest.raises(ValueError, match=words):
        from_array(np.zeros((20, 2)), labels)


def write(path, frame=FRAME, **how):
    if path.suffix == ".npy":
        np.save(path, frame.to_numpy())
    else:
        frame.to_csv(
            path, index=False, sep="\t" if ".tsv" in path.name else how.pop("sep", ","), **how
        )
    return path


@pytest.mark.parametrize(
    "ending", [".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.bz2", ".csv.xz", ".txt", ".CSV"]
)
def test_text_with_names_of_columns(ending, tmp_path):
    path = write(tmp_path / f"table{ending}")
    data = from_array(path, label_column="kind")
    assert (data.columns, data.classes, data.name) == (("so4", "no3"), ("a", "b"), path.name)
    assert_same(data, NUMBERS)
    assert (
        load(path, label_column="kind").scale.dtype == torch.float64
    )  # a table is standardised there


HEADS = {
    "names": ("a,b\n", None, ("a", "b")),
    "none": ("", None, ()),
    "numbers of pandas": ("0,1\n", None, ("0", "1")),
    "hash": ("# a,b\n", None, ("a", "b")),
    "quoted": ('"a, in kg","b"\n', None, ("a, in kg", "b")),
    "mark of UTF-8": ("\ufeffa,µ\n", None, ("a", "µ")),
    "a name that is a number": ("2019,b\n", None, ("2019", "b")),
    "numbers, as said": ("1.5,2.5\n", True, ("1.5", "2.5")),
}


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_the_first_row_is_names_or_numbers(kind, sep, tmp_path):
    head, header, columns = HEADS[kind]
    if sep != "," and kind == "quoted":
        return
    body = "".join(f"{i}.5{sep}{-i}\n" for i in range(N))
    (tmp_path / "t.csv").write_text(head.replace(",", sep) + body, encoding="utf-8")
    data = from_array(tmp_path / "t.csv", header=header)
    assert data.columns == columns
    assert_same(data, [[i + 0.5, -i] for i in range(N)])
    if kind == "none":
        assert len(rows(from_array(tmp_path / "t.csv", header=False))) == N
        assert len(rows(from_array(tmp_path / "t.csv", header=True))) == N - 1


def test_a_class_beside_numbers_is_no_header(tmp_path):
    """Rows of `1.5,2,setosa` have a word in the first row, too."""
    path = tmp_path / "iris.data.csv"
    path.write_text("".join(f"{i}.5,{-i},{'ab'[i % 2]}\n" for i in range(N)))
    data = from_array(path, label_column=2)
    assert (len(rows(data)), data.columns, data.classes) == (N, (), ("a", "b"))
    words = tmp_path / "labels.csv"
    words.write_text("a\nb\n" * (N // 2))
    assert from_array(NUMBERS, words).classes == ("a", "b")
    words.write_text("kind\n" + "a\nb\n" * (N // 2))
    assert from_array(NUMBERS, words).classes == ("a", "b")


@pytest.mark.parametrize("index_name", [None, "R"])
def test_names_of_rows_are_no_data(index_name, tmp_path):
    frame = FRAME[["so4", "no3"]]
    text = frame.to_csv()
    (tmp_path / "t.csv").write_text(text.removeprefix(",") if index_name else text)
    with pytest.warns(PyrogeoWarning, match="its first column has no name"):
        data = from_array(tmp_path / "t.csv")
    assert data.columns == ("so4", "no3")
    assert_same(data, NUMBERS)


FAULTS = {
    "t.csv": (
        b"a,b\n1,x\n2,3\n4,5\n",
        "column b: expected numbers, got words, such as 'x'; leave it out",
    ),
    "e.csv": (b"", "not a readable table"),
    "r.csv": (b"a,b\n1,2\n1,2,3\n", "not a readable table: .*line 3"),
    "u.csv": ("a,b\n1,2\n".encode("utf-16"), "no text in UTF-8"),
    "z.csv.gz": (b"no gzip", "not a readable table"),
    "c.csv.gz": (gzip.compress(b"a,b\n" + bytes(range(48, 58)) * 99)[:-9], "not a readable table"),
    "d.csv": (b"a;b\n1,5;2\n1,7;3\n", "column a: expected numbers, got words, such as '1,5'"),
    "inf.csv": (b"a,b\n1,2\n1e400,3\n2,3\n", "1 NaN or infinite values in column a"),
    "gap.csv": (b"a,b\n1,2\n,3\n2,3\n", "in column a; missing='keep'"),
    "date.csv": (b"a,b\n1,2020-01-01\n2,2020-01-02\n3,2020-01-03\n", "such as '2020-01-01'"),
    "cells.h5ad": (b"", "AnnData: np.save its matrix, adata.X"),
    "x.pt": (b"", "a pickle can run code and is not opened"),
    "x.pkl": (b"", "known endings are .npy, .npz, .csv"),
    "x.mat": (b"", "known endings are .npy, .npz, .csv"),
    "x.xlsx": (b"", "save it as .csv or .parquet"),
    "x.png": (b"", "images are read from the folder that they lie in"),
    "x.dat": (b"", "x.dat is not read; known endings are"),
    "noending": (b"", "noending is not read; known endings are"),
    "x.npy": (b"hello", "not a readable .npy or .npz file"),
    "x.npz": (b"PK\x03\x04 torn", "not a readable .npy or .npz file"),
    "x.parquet": (b"PAR1", "Parquet"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_files_that_are_not_read_say_why_in_one_line(name, tmp_path):
    content, words = FAULTS[name]
    (tmp_path / name).write_bytes(content)
    for read in (from_array, load):
        with pytest.raises(ValueError, match=words) as error:
            read(tmp_path / name)
        assert "\n" not in str(error.value)
        assert "allow_pickle" not in str(error.value)
        assert "unsafely" not in str(error.value)


def test_pickles_are_never_advised(tmp_path):
    np.save(tmp_path / "o.npy", np.array([{}, []], dtype=object))
    np.savez(tmp_path / "o.npz", x=np.array([{}, []], dtype=object))
    for name in ("o.npy", "o.npz"):
        with pytest.raises(ValueError, match="it holds Python objects") as error:
            from_array(tmp_path / name)
        assert "allow_pickle" not in str(error.value)


def test_a_folder_of_single_cells_is_named(tmp_path):
    (tmp_path / "cells.h5ad").write_bytes(b"")
    with pytest.raises(
        ValueError, match=r"holds no images; cells.h5ad is another kind: AnnData: .*adata\.X"
    ):
        load(tmp_path)


def test_parquet_by_pandas(tmp_path, monkeypatch):
    """With an engine it is read; without one a line says which to install."""
    (tmp_path / "t.parquet").write_bytes(b"")
    monkeypatch.setattr(pd, "read_parquet", lambda path: FRAME)
    data = from_array(tmp_path / "t.parquet", label_column="kind")
    assert data.columns == ("so4", "no3")
    assert_same(data, NUMBERS)

    def no_engine(path):
        raise ImportError(
            "Unable to find a usable engine; tried using: 'pyarrow', 'fastparquet'.\n A suitable…"
        )

    monkeypatch.setattr(pd, "read_parquet", no_engine)
    with pytest.raises(ValueError, match=r"reading Parquet needs pyarrow \(pip install pyarrow\)"):
        from_array(tmp_path / "t.parquet")


def test_parquet_by_pyarrow(tmp_path):
    pytest.importorskip("pyarrow")
    frame = FRAME.assign(n=pd.array([*range(N - 1), None], dtype="Int64"))
    frame.to_parquet(tmp_path / "t.parquet")
    data = from_array(tmp_path / "t.parquet", label_column="kind", missing="keep")
    assert data.columns == ("so4", "no3", "n")
    assert np.isnan(rows(data)).sum() == 1


def test_sparse_matrices_are_made_dense_only_when_asked(tmp_path):
    x = sparse.random(30, 5, density=0.3, random_state=0, format="csr")
    sparse.save_npz(tmp_path / "s.npz", x)
    kinds = [x, x.tocoo(), sparse.csc_array(x), torch.from_numpy(x.toarray()).to_sparse(),
             tmp_path / "s.npz", pd.DataFrame.sparse.from_spmatrix(x)]  # fmt: skip
    for matrix in kinds:
        with pytest.raises(
            ValueError, match=r"sparse matrix of shape \(30, 5\); dense=True makes it"
        ):
            from_array(matrix)
        assert_sum = rows(from_array(matrix, dense=True)).sum()
        assert assert_sum == pytest.approx(x.sum())


def test_frames_of_other_kinds():
    xarray = pytest.importorskip("xarray")
    named = xarray.DataArray(NUMBERS, dims=("row", "column"), coords={"column": ["so4", "no3"]})

    class Polars:  # as it is seen from outside
        columns = ("so4", "no3")

        def to_numpy(self):
            return NUMBERS

        def __getitem__(self, name):
            return FRAME[name]

    for frame in (named, Polars(), FRAME[["so4", "no3"]].to_records(index=False)):
        data = from_array(frame)
        assert data.columns == ("so4", "no3")
        assert_same(data, NUMBERS)
    plain = from_array(xarray.DataArray(NUMBERS))
    assert plain.columns == from_array(pd.DataFrame(NUMBERS)).columns == ()
    assert_same(plain, NUMBERS)

    class AnnData:
        X, obs, shape = NUMBERS, FRAME, NUMBERS.shape

    with pytest.raises(ValueError, match=r"AnnData: pass its matrix, adata\.X"):
        from_array(AnnData())


@pytest.mark.parametrize(
    ("column", "words"),
    [
        (["a"] * N, "column strange: expected numbers, got words, such as 'a'"),
        (pd.Categorical(["a", "b"] * 10), "got words, such as 'a'"),
        (pd.date_range("2020", periods=N), "column strange: expected numbers, got datetime64"),
        ([1j] * N, "column strange: expected numbers, got complex128"),
        ([{}] * N, "column strange: expected numbers, got object"),
        ([1, "2", "x"] + [3] * (N - 3), "words, such as 'x'"),
    ],
)
def test_columns_that_are_no_numbers_are_named(column, words):
    with pytest.raises(ValueError, match=words):
        from_array(pd.DataFrame({"so4": NUMBERS[:, 0], "strange": column}))


def test_the_label_column_exists_and_is_asked_for_once():
    with pytest.raises(ValueError, match="no column is named sort; there are so4, no3, kind"):
        from_array(FRAME, label_column="sort")
    with pytest.raises(ValueError, match="labels or label_column, got both"):
        from_array(FRAME, FRAME.kind, label_column="kind")
    with pytest.raises(ValueError, match="label_column is of a table whose columns have names"):
        from_array(NUMBERS, label_column="kind")
    with pytest.raises(ValueError, match="value_range is of images"):
        from_array(NUMBERS, value_range=(0, 1))
    assert from_array(FRAME, label_column="kind").columns == ("so4", "no3")


TOO_LARGE = [1e300, -1e308, 1e39]


@pytest.mark.parametrize("size", TOO_LARGE)
@pytest.mark.parametrize("as_frame", [True, False])
def test_numbers_that_float32_cannot_hold_are_named_or_standardised(size, as_frame):
    x = NUMBERS * [1, size / np.abs(NUMBERS[:, 1]).max()]
    table = pd.DataFrame(x, columns=["so4", "no3"]) if as_frame else x
    with pytest.raises(
        ValueError, match=f"column {'no3' if as_frame else 1} goes from .*standardise"
    ):
        from_array(table)
    data = from_array(table, standardize=True)
    assert data.train.isfinite().all()
    torch.testing.assert_close(data.train.std(0), torch.ones(2))
    back = data.location + data.scale * data.train.double()
    assert back.isfinite().all()
    everything = (
        torch.cat([data.train, data.validation, data.test]).double() * data.scale + data.location
    )
    np.testing.assert_allclose(
        np.sort(everything[:, 1].numpy()), np.sort(x[:, 1]), atol=1e-6 * abs(size)
    )


@pytest.mark.parametrize("x", [1e-60 * np.arange(N), 1.7e9 + np.arange(N) / 100])
def test_numbers_that_float32_cannot_tell_apart(x):
    with pytest.raises(ValueError, match="which float32 cannot hold apart; standardise"):
        from_array(np.stack([np.arange(N), x], 1))
    data = from_array(np.stack([np.arange(N), x], 1), standardize=True)
    assert len(data.train[:, 1].unique()) == len(data.train)
    back = data.location + data.scale * data.train.double()
    np.testing.assert_allclose(back[:, 0], back[:, 0].round(), atol=1e-5)
    step = (x[1] - x[0]) * 1e-5
    np.testing.assert_allclose(back[:, 1], x[back[:, 0].round().int()], atol=step, rtol=1e-15)


finite = st.floats(allow_nan=False, allow_infinity=False, width=64)


def merges(column):
    """Whether two numbers of a column that differ are the same, or nearly so, in float32."""
    values = np.unique(column)
    apart, size = np.diff(values), np.maximum(np.abs(values[1:]), np.abs(values[:-1]))
    return (apart <= size * 1e-6 + 1.2e-38).any()


@settings(max_examples=60)
@given(st.lists(st.tuples(finite, finite), min_size=4, max_size=12), st.booleans())
def test_any_finite_table_is_finite_in_float32_or_refused(table, standardize):
    """What is taken is finite, and is what was given."""
    check_table(table, standardize)


@pytest.mark.parametrize("standardize", [True, False])
@pytest.mark.parametrize("column", [(0, 0, 14420.0, 1e-304), (0, 0, 1, 1e-239), (3, 1.2e-38, 0, 0)])
def test_columns_that_float32_or_float64_cannot_hold_apart(column, standardize):
    """Whichever rows come into which part; found by the search above."""
    for row in range(4):
        check_table([(0.0, x) for x in (*column[row:], *column[:row])], standardize)


def check_table(table, standardize):
    x = np.array(table)
    data = None
    with contextlib.suppress(ValueError):
        data = from_array(x, standardize=standardize)
    held = np.abs(x).max() <= np.finfo(np.float32).max
    if data is None:
        assert not held or any(map(merges, x.T))  # in the training data at least
        return
    parts = torch.cat([data.train, data.validation, data.test])
    assert parts.isfinite().all()
    if not standardize:
        np.testing.assert_allclose(
            np.sort(parts.numpy(), 0), np.sort(x, 0).astype(np.float32), rtol=1e-6
        )


STRANGE = {
    "bytes of a quantised tensor": lambda: torch.quantize_per_tensor(torch.rand(9, 3), 0.1, 0, torch.quint8),
    "xarray.Dataset": lambda: pytest.importorskip("xarray").Dataset({"a": ("row", NUMBERS[:, 0])}),
    "ragged": lambda: [[1, 2], [3], [4, 5]], "None": lambda: None, "a set": lambda: {1, 2, 3},
    "complex": lambda: torch.zeros(9, 2, dtype=torch.cfloat), "words": lambda: [["a", "b"]] * 9,
    "dates": lambda: np.zeros((9, 2), "datetime64[s]"), "no columns": lambda: pd.DataFrame(),
    "no rows": lambda: pd.DataFrame({"a": [], "b": []}), "a series": lambda: FRAME.so4,
    "too long doubles": lambda: NUMBERS.astype(np.longdouble) * np.longdouble("1e4000"),
}  # fmt: skip


@pytest.mark.parametrize("kind", STRANGE)
@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.filterwarnings("ignore:.*quantize.*")
def test_what_is_no_data_is_refused(kind):
    with pytest.raises(ValueError, match="expected|no columns of numbers"):
        from_array(STRANGE[kind]())


def test_masked_records_and_columns_without_a_number():
    records = np.ma.array(
        FRAME[["so4", "no3"]].to_records(index=False), mask=[(0, 1)] * 3 + [(0, 0)] * 17
    )
    x = rows(from_array(records, missing="keep"))
    assert np.isnan(x).sum(0).tolist() == [0, 3]
    nothing = pd.DataFrame({"a": NUMBERS[:, 0], "b": pd.Series([None] * N, dtype=object)})
    data = from_array(nothing, missing="keep", standardize=True)
    assert data.train[:, 1].isnan().all()
    assert data.train[:, 0].isfinite().all()


@pytest.mark.parametrize("head", ["x y", "# x y", ""])
def test_text_with_spaces_between(head, tmp_path):
    (tmp_path / "t.txt").write_text(
        "\n".join([head, *(f" {a:.9f}   {b:.9f}" for a, b in NUMBERS)]).lstrip("\n")
    )
    data = from_array(tmp_path / "t.txt")
    assert data.columns == (("x", "y") if head else ())
    assert_same(data, NUMBERS, atol=1e-8)


def test_mutated_files_are_read_or_refused_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", NUMBERS)
    np.savez(tmp_path / "b.npz", x=NUMBERS, y=np.arange(N) % 2)
    np.savez_compressed(tmp_path / "c.npz", x=NUMBERS)
    sparse.save_npz(tmp_path / "d.npz", sparse.csr_matrix(NUMBERS))
    for name in ("e.csv", "f.csv.gz", "g.csv.xz", "h.tsv.bz2"):
        write(tmp_path / name, FRAME[["so4", "no3"]])
    for file in sorted(tmp_path.iterdir()):
        content = file.read_bytes()
        for i in range(40):
            changed = bytearray(content)
            for place in rng.integers(0, min(len(changed), (200, 10**6)[i % 2]), 3):
                changed[place] = rng.integers(128) if i % 3 else rng.integers(256)
            file.write_bytes(changed[: rng.integers(1, len(changed))] if i % 5 == 0 else changed)
            said = ""
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    data = from_array(file, dense=True, missing="keep")
                except ValueError as error:
                    said = str(error)
            assert said or not data.train.isinf().any()
            assert "\n" not in said
            assert "allow_pickle" not in said


def test_bfloat16_and_gradients():
    x = torch.arange(40.0).reshape(20, 2)
    assert_same(from_array(x.bfloat16()), x)
    assert_same(from_array(x.requires_grad_()), x.detach())


def test_options_of_other_data_are_refused_by_name(tmp_path):
    path = write(tmp_path / "t.csv", FRAME[["so4", "no3"]])
    with pytest.raises(ValueError, match=r"pages: .*t\.csv is a file of numbers"):
        load(path, pages="each")
    with pytest.raises(ValueError, match=r"header, dense: .* is a folder of images"):
        load(tmp_path, header=True, dense=True)
    with pytest.raises(ValueError, match="value_range: digits ships"):
        load("digits", value_range=(0, 16))


def test_names_of_columns_reach_what_is_decoded(tmp_path):
    data = from_array(FRAME * 1, label_column="kind", standardize=True)
    vae = pg.recipes.standard_vae((2,), 1, hidden=(8,), likelihood="learned-normal")
    run = pg.run.Run.create(tmp_path / "run")
    run.fit(vae, data, epochs=1, seed=0, progress=False)
    run.sample(5, "prior", name="p", seed=0)
    file = run.decode("p")
    decoded, table = np.load(file)["data"], pd.read_csv(file.with_suffix(".csv"))
    assert table.columns.tolist() == ["so4", "no3"]
    np.testing.assert_allclose(table.to_numpy(), decoded.reshape(-1, 2))
    assert from_array(file.with_suffix(".csv")).columns == ("so4", "no3")

"""Folders as people lay them out: classes, parts, and what systems put among them."""

import warnings

import numpy as np
import pytest
import torch
from PIL import Image

from pyrogeo.datasets import from_folder, load
from pyrogeo.errors import PyrogeoWarning


def lay_out(folder, counts, pages=1):
    """Images whose first channel is the number of the path in the list, as many as asked for in each."""
    for number, (name, n) in enumerate(counts.items()):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for i in range(n):
            images = [Image.new("RGB", (8, 8), (10 * number, 10 * i, 20 * p)) for p in range(pages)]
            how = {"save_all": True, "append_images": images[1:]} if pages > 1 else {}
            images[0].save(folder / name / f"{i}.tif", **how)
    return folder


def origin(x):
    """For each image, the number of the path that it came from."""
    return (x[:, 0, 0, 0] * 25.5).round().int().tolist()


def read(folder, **options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = from_folder(folder, (8, 8), **options)
    return data, [str(w.message) for w in caught]


NO_DATA = [
    ".ipynb_checkpoints",
    ".git/objects",
    "cat/.thumbnails",
    "__MACOSX",
    "@eaDir",
    "$RECYCLE.BIN",
]


@pytest.mark.parametrize("hidden", NO_DATA)
def test_hidden_folders_are_passed_over(hidden, tmp_path):
    lay_out(tmp_path, {"cat": 6, "dog": 6, hidden: 3})
    (tmp_path / "cat" / "._0.png").write_bytes(b"made by macOS")
    (tmp_path / ".DS_Store").write_bytes(b"")
    (tmp_path / "Thumbs.db").write_bytes(b"")
    data, said = read(tmp_path)
    assert data.classes == ("cat", "dog")
    assert len(data.train) + len(data.validation) + len(data.test) == 12
    assert not said


def test_a_folder_may_be_below_a_hidden_one(tmp_path):
    data, _ = read(lay_out(tmp_path / ".cache" / "pictures", {"cat": 6, "dog": 6}))
    assert data.classes == ("cat", "dog")


NAMES = [("train", "val", "test"), ("training", "validation", "testing"), ("Train", "valid", "TEST"),
         ("train", "dev", "test")]  # fmt: skip


@pytest.mark.parametrize("names", NAMES)
@pytest.mark.parametrize("classes", [("a", "b"), ("",)])
def test_parts_that_are_folders_are_kept(names, classes, tmp_path):
    sizes = dict(zip(names, (7, 3, 5), strict=True))
    lay_out(tmp_path, {f"{part}/{c}": n for part, n in sizes.items() for c in classes})
    data, said = read(tmp_path)
    assert not said
    k = len(classes)
    assert data.classes == (classes if k > 1 else ())
    for i, (part, n) in enumerate([("train", 7), ("validation", 3), ("test", 5)]):
        x, labels = getattr(data, part), getattr(data, f"{part}_labels")
        assert sorted(origin(x)) == sorted([*range(k * i, k * i + k)] * n)
        if k > 1:
            assert labels.tolist() == [number % 2 for number in origin(x)]
        else:
            assert labels is None


@pytest.mark.parametrize(
    ("layout", "sizes", "words"),
    [
        ({"train/a": 10, "train/b": 10, "val/a": 3, "val/b": 3}, (16, 6, 4), "4 of 20 files of train were held out for test"),
        ({"train/a": 10, "train/b": 10, "test/a": 3}, (18, 2, 3), "2 of 20 files of train were held out for validation"),
        ({"train/a": 10, "train/b": 10}, (14, 2, 4), "held out for test; 2 of 16"),
        ({"train": 20, "val": 5}, (16, 5, 4), "held out for test"),
    ],
)  # fmt: skip
def test_a_part_that_is_not_there_is_held_out_of_train(layout, sizes, words, tmp_path):
    data, said = read(lay_out(tmp_path, layout))
    assert (len(data.train), len(data.validation), len(data.test)) == sizes
    assert len(said) == 1
    assert words in said[0]
    everything = torch.cat([data.train, data.validation, data.test])
    assert len(torch.unique(everything, dim=0)) == sum(sizes)  # nothing twice, nothing lost


def test_a_test_part_without_classes_has_no_labels(tmp_path):
    data, said = read(
        lay_out(tmp_path, {"train/a": 5, "train/b": 5, "val/a": 2, "val/b": 2, "test": 4})
    )
    assert data.test_labels is None
    assert data.train_labels.tolist() == origin(data.train)
    assert not said


def test_pages_of_a_stack_are_held_out_together(tmp_path):
    lay_out(tmp_path, {"train/a": 8, "val/a": 2}, pages=3)
    data, _ = read(tmp_path, pages="each")
    assert (len(data.train), len(data.validation), len(data.test)) == (18, 6, 6)
    files = [set((x[:, 1, 0, 0] * 25.5).round().int().tolist()) for x in (data.train, data.test)]
    assert not files[0] & files[1]


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        ({"cat": 3, "dog": 3, "": 1}, "0.tif lie beside the folders cat, dog"),
        ({"train/a": 3, "val/a": 3, "": 2}, "0.tif, 1.tif lie beside the folders train, val"),
        ({"train/a": 3, "train/b": 3, "train": 1, "val/a": 1}, "train: 0.tif lie beside the folders a, b"),
        ({"val/a": 3, "test/a": 3}, "holds test, val but no train"),
        ({"train/a": 3, "val/a": 3, "valid/a": 3}, "holds two folders for validation: val and valid"),
        ({"train/a": 1, "val/a": 3}, "too few to hold out test"),
        ({"": 2}, "at least 3 data to split"),
    ],
)  # fmt: skip
def test_what_has_no_place_is_named(layout, words, tmp_path):
    lay_out(tmp_path, layout)
    with pytest.raises(ValueError, match=words):
        read(tmp_path)


def test_train_beside_other_folders_is_a_class(tmp_path):
    data, said = read(lay_out(tmp_path / "vehicles", {"train": 5, "car": 5, "bus": 5}))
    assert data.classes == ("bus", "car", "train")
    assert not said
    data, said = read(lay_out(tmp_path / "mixed", {"train": 5, "val": 5, "extra": 5}))
    assert data.classes == ("extra", "train", "val")
    assert "train, val are taken for classes" in said[0]


def test_a_stray_image_that_is_broken_is_passed_over_where_that_is_asked(tmp_path):
    lay_out(tmp_path, {"cat": 6, "dog": 6})
    (tmp_path / "torn.png").write_bytes(b"")
    with pytest.raises(ValueError, match="torn.png lie beside"):
        read(tmp_path)
    data, said = read(tmp_path, broken="skip")
    assert data.classes == ("cat", "dog")
    assert "skipped 1 files (torn.png: cannot identify image file)" in said[0]


@pytest.mark.parametrize("option", [{"pages": "all"}, {"missing": "drop"}, {"max_pixels": 0},
                                    {"max_pixels": 1.5}, {"size": (8,)}, {"broken": "keep"}])  # fmt: skip
def test_words_that_are_none(option, tmp_path):
    with pytest.raises(ValueError, match=next(iter(option))):
        from_folder(lay_out(tmp_path, {"": 4}), **option)


def test_mutated_files_are_read_or_named(tmp_path):
    """Whatever Pillow raises for a broken file, a line names the file."""
    rng = np.random.default_rng(0)
    numbers = rng.integers(0, 65536, (9, 7)).astype(np.uint16)
    for kind in ("png", "tiff", "gif", "bmp", "webp", "jpeg", "ppm"):
        Image.fromarray(numbers if kind in ("png", "tiff") else (numbers // 256).astype("u1")).save(
            tmp_path / f"good.{kind}"
        )
    for file in list(tmp_path.iterdir()):
        content = bytearray(file.read_bytes())
        for i in range(12):
            changed = content.copy()
            for place in rng.integers(0, len(content), 3):
                changed[place] = rng.integers(256)
            changed = changed[: rng.integers(1, len(content))] if i % 3 == 0 else changed
            (case := tmp_path / f"{file.suffix[1:]}{i}").mkdir()
            for copy in range(3):
                (case / f"{copy}{file.suffix}").write_bytes(changed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                try:
                    x = load(case, size=5).train
                except ValueError as error:
                    words = str(error)
                    x = torch.zeros(1) if "0." in words and "\n" not in words else None
            assert x is not None, words
            assert ((x >= 0) & (x <= 1)).all()


def test_what_was_converted_is_one_warning(tmp_path):
    for i in range(4):
        Image.new("CMYK", (8, 8)).save(tmp_path / f"c{i}.tif")
        Image.new("RGBA", (8, 8)).save(tmp_path / f"t{i}.png")
    with pytest.warns(PyrogeoWarning) as caught:
        from_folder(tmp_path)
    assert len(caught) == 1
    words = str(caught[0].message)
    assert "CMYK made RGB in 4 of 8 images" in words
    assert "transparency laid on white in 4 of 8" in words

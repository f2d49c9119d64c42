import numpy as np
import pytest
import torch
from PIL import Image

import pyrogeo as pg
from pyrogeo.datasets import from_array, from_folder, patches
from pyrogeo.errors import PyrogeoWarning


def everything(data):
    return torch.cat([data.train, data.validation, data.test])


def test_digits_are_split_without_overlap():
    data = pg.datasets.digits()
    parts = [data.train, data.validation, data.test]
    assert [len(p) for p in parts] == [1131, 126, 540]
    x = everything(data)
    assert x.shape == (1797, 1, 8, 8)
    assert (x.min(), x.max()) == (0, 1)
    assert len(torch.unique(x, dim=0)) == 1797
    for labels in (data.train_labels, data.validation_labels, data.test_labels):
        share = torch.bincount(labels).double() / len(labels)
        assert share.min() > 0.08  # stratified
    assert not torch.equal(pg.datasets.digits(seed=1).train, data.train)


def test_patches_of_a_part_come_from_its_strip_only():
    from sklearn.datasets import load_sample_images

    data = patches(12, 60, 20, 20)
    assert data.train.shape == (60, 3, 12, 12)
    assert data.classes == ("temple", "flower")
    photographs = [torch.from_numpy(p.copy()).permute(2, 0, 1) for p in load_sample_images().images]
    strips = {"train": (0, 448), "validation": (448, 544), "test": (544, 640)}
    for part, (low, high) in strips.items():
        for patch, label in zip(getattr(data, part), getattr(data, f"{part}_labels"), strict=True):
            strip = photographs[label][:, :, low:high]
            windows = strip.unfold(1, 12, 1).unfold(2, 12, 1)[:, ..., 0, 0]  # upper left pixels
            pixels = (patch * 255).round().byte()
            candidates = (windows == pixels[:, :1, 0, None]).all(0).nonzero()
            assert any(torch.equal(strip[:, i : i + 12, j : j + 12], pixels) for i, j in candidates)
    assert torch.equal(patches(12, 60, 20, 20).test, data.test)
    for bad in ({"size": 97}, {"size": 0}, {"train": 0}):
        with pytest.raises(ValueError, match="pixels, got|at least one patch"):
            patches(**bad)


@pytest.mark.parametrize(
    ("array", "shape"),
    [
        (np.random.default_rng(0).normal(size=(40, 7)), (7,)),
        (np.arange(120).reshape(40, 3), (3,)),
        (np.random.default_rng(0).random((40, 5, 6)), (1, 5, 6)),
        (np.random.default_rng(0).random((40, 3, 5, 6)), (3, 5, 6)),
        (np.random.default_rng(0).random((40, 5, 6, 3)), (3, 5, 6)),
        (torch.rand(40, 5, 6, 1), (1, 5, 6)),
    ],
)
def test_arrays(array, shape, tmp_path):
    data = from_array(array, seed=3)
    assert data.event_shape == shape
    assert [len(p) for p in (data.train, data.validation, data.test)] == [28, 4, 8]
    assert data.train.dtype == torch.float32
    np.save(tmp_path / "x.npy", np.asarray(array))
    assert torch.equal(from_array(tmp_path / "x.npy", seed=3).train, data.train)
    np.testing.assert_allclose(
        np.sort(everything(data).flatten()), np.sort(np.asarray(array, np.float32).ravel())
    )


def test_bytes_become_unit_intensities():
    pixels = np.arange(256, dtype=np.uint8).repeat(10).reshape(40, 8, 8)
    x = everything(from_array(pixels))
    assert (x.min(), x.max()) == (0, 1)


def test_labels(tmp_path):
    x, y = np.random.default_rng(0).random((60, 4)), np.arange(60) % 3
    np.savez(tmp_path / "a.npz", x=x, y=y)
    np.savez(tmp_path / "b.npz", anything=x)
    np.save(tmp_path / "y.npy", y)
    words = np.array(["ape", "bee", "cat"])[y]
    reference = from_array(x, y)
    assert (torch.bincount(reference.test_labels) == 4).all()
    for data in (
        from_array(tmp_path / "a.npz"),
        from_array(tmp_path / "b.npz", tmp_path / "y.npy"),
    ):
        assert torch.equal(data.train_labels, reference.train_labels)
    named = from_array(x, words)
    assert named.classes == ("ape", "bee", "cat")
    assert torch.equal(named.test_labels, reference.test_labels)
    lonely = y.copy()
    lonely[0] = 9  # a class of one cannot be split in shares
    assert 9 in torch.cat(
        [getattr(from_array(x, lonely), f"{p}_labels") for p in ("train", "test")]
    )


def test_standardised_tables():
    x = np.random.default_rng(0).normal(size=(100, 3)) * [1, 1000, 0] + [5, -2, 7]
    data = from_array(x, standardize=True)
    torch.testing.assert_close(data.train.mean(0), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(data.train.std(0), torch.tensor([1.0, 1.0, 0.0]))
    plain = from_array(x)
    torch.testing.assert_close((data.location + data.scale * data.test).float(), plain.test)
    with pytest.raises(ValueError, match="only tables are standardised"):
        from_array(np.zeros((9, 4, 4)), standardize=True)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda d: from_array(np.zeros(5)), r"got shape \(5,\)"),
        (lambda d: from_array(np.zeros((5, 0))), r"got shape \(5, 0\)"),
        (lambda d: from_array(np.full((5, 2), np.nan)), "got 10 NaN or infinite"),
        (
            lambda d: from_array(np.zeros((5, 2, 2), int)),
            "bytes or floating-point numbers, got int64",
        ),
        (lambda d: from_array(np.array([["a", "b"]] * 5)), "expected numbers, got <U1"),
        (lambda d: from_array(np.zeros((5, 2), complex)), "expected numbers, got complex128"),
        (lambda d: from_array(np.zeros((2, 2))), "at least 3 data"),
        (lambda d: from_array(np.zeros((9, 2)), np.zeros(8, int)), "expected 9 labels"),
        (
            lambda d: from_array(np.zeros((9, 2)), np.zeros(9)),
            "integers or words as labels, got float64",
        ),
        (lambda d: from_array(np.zeros((9, 2)), test=1.0), "test: expected a share"),
        (lambda d: from_array(d / "none.npy"), "not a readable .npy or .npz"),
        (lambda d: from_array(d / "text.npy"), "not a readable .npy or .npz"),
        (lambda d: from_array(d / "objects.npy"), "not a readable .npy or .npz"),
        (lambda d: from_array(d / "two.npz"), r"got \['p', 'q'\]"),
        (lambda d: from_folder(d / "none"), "expected a folder"),
        (lambda d: from_folder(d), "text.png: cannot identify image file"),
        (lambda d: from_folder(d, broken="skip"), "holds no images"),
        (lambda d: from_folder(d, mode="CMYK"), "expected mode"),
        (lambda d: from_folder(d, size=(0, 3)), "size: expected"),
    ],
)
@pytest.mark.filterwarnings("ignore::pyrogeo.errors.PyrogeoWarning")
def test_bad_input(make, message, tmp_path):
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "text.png").write_text("hello")
    np.save(tmp_path / "objects.npy", np.array([{}, []], dtype=object))
    np.savez(tmp_path / "two.npz", p=np.zeros((5, 2)), q=np.zeros((5, 2)))
    with pytest.raises(ValueError, match=message):
        make(tmp_path)


@pytest.fixture
def album(tmp_path):
    """Images of two classes, of several kinds and sizes, and one that is broken."""
    rng = np.random.default_rng(0)
    for label, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
        (tmp_path / label / "deeper").mkdir(parents=True)
        for i in range(8):
            image = Image.new("RGB", tuple(rng.integers(20, 60, 2)), colour)
            image.save(
                tmp_path / label / ("deeper" if i % 2 else "") / f"{i}.{'png' if i < 6 else 'jpg'}"
            )
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "red" / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n torn")
    return tmp_path


def test_a_folder_of_images(album):
    with pytest.raises(ValueError, match=r"1 files cannot be read as images \(red/torn.png"):
        from_folder(album)
    with pytest.warns(PyrogeoWarning, match=r"skipped 1 files \(red/torn.png"):
        data = from_folder(album, (16, 24), broken="skip")
    assert data.event_shape == (3, 16, 24)
    assert data.classes == ("blue", "red")
    assert len(everything(data)) == 16
    for x, y in zip(data.train, data.train_labels, strict=True):
        assert x[0].mean() == pytest.approx(float(y), abs=0.02)  # red is red
    with pytest.warns(PyrogeoWarning):
        assert from_folder(album, mode="L", broken="skip").event_shape == (1, 32, 32)


def test_images_are_covered_cropped_turned_and_laid_on_white(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 200  # the middle square is what stays
    for i in range(3):
        Image.fromarray(wide).save(tmp_path / f"{i}.png")
    x = everything(from_folder(tmp_path, (10, 10)))
    assert x.min() == pytest.approx(200 / 255)
    clear = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    clear.save(tmp_path / "0.png")
    with pytest.warns(PyrogeoWarning, match="transparency laid on white in 1 of 3 images"):
        assert everything(from_folder(tmp_path, (10, 10))).flatten(1).amin(1).max() == 1
    wide_again = Image.fromarray(wide)
    wide_again.save(tmp_path / "0.png")
    turned = Image.fromarray(wide)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "1.png", exif=exif)
    tall = everything(from_folder(tmp_path, (40, 10)))
    assert ((tall.amax((1, 2, 3)) > 0.5) & (tall[:, 0, 0, 0] < 0.1)).any()

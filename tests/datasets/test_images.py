"""A ramp, saved in every mode, depth and order of bytes, is read as that ramp, or refused by name."""

import io
import warnings

import numpy as np
import PIL
import pytest
import torch
from PIL import Image, ImageCms

from pyrogeo.datasets import from_array, from_folder
from pyrogeo.errors import PyrogeoWarning
from tests.datasets.writers import png, tiff

H, W = 12, 9
RAMP = np.linspace(0, 1, H * W).reshape(H, W)
COLOURS = np.stack([RAMP, RAMP[::-1], RAMP[:, ::-1] ** 2], -1)  # unlike in any orientation or order
LUMA = COLOURS @ [0.299, 0.587, 0.114]


def whole(x, dtype):
    return np.round(x * np.iinfo(dtype).max).astype(dtype)


def read(tmp_path, content, name, *, copies=3, size=(H, W), **options):
    """The image that a folder of copies of one file holds, of shape `(C, H, W)`, and the warnings."""
    for i in range(copies):
        (tmp_path / f"{i}.{name}").write_bytes(content)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        data = from_folder(tmp_path, size, **options)
    assert all(w.category is PyrogeoWarning for w in caught), [str(w.message) for w in caught]
    assert torch.equal(data.train[0].nan_to_num(), data.test[0].nan_to_num())
    return data.train[0].numpy(), [str(w.message) for w in caught]


def pillow(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def grey8(mode="L"):
    return Image.fromarray(whole(RAMP, np.uint8)).convert(mode)


def colour8(mode="RGB"):
    return Image.fromarray(whole(COLOURS, np.uint8)).convert(mode)


OPAQUE = np.concatenate([COLOURS, np.ones((H, W, 1))], -1)

GREY = {
    "L png": (pillow(grey8(), "PNG"), 8),
    "L tiff": (pillow(grey8(), "TIFF"), 8),
    "L lzw": (pillow(grey8(), "TIFF", compression="tiff_lzw"), 8),
    "L bmp": (pillow(grey8(), "BMP"), 8),
    "L pgm": (pillow(grey8(), "PPM"), 8),
    "L gif": (pillow(grey8(), "GIF"), 8),
    "L jpg": (pillow(grey8(), "JPEG", quality=100, subsampling=0), 6),
    "LA png": (pillow(grey8("LA"), "PNG"), 8),
    "L white-is-zero tiff": (tiff(255 - whole(RAMP, np.uint8), photometric=0), 8),
    "16 png": (png(whole(RAMP, np.uint16)[..., None]), 16),
    "16 pillow png": (pillow(Image.fromarray(whole(RAMP, np.uint16)), "PNG"), 16),
    "16 alpha png": (
        png(np.stack([whole(RAMP, np.uint16), np.full((H, W), 65535, np.uint16)], -1)), 16
    ),
    "16 little tiff": (tiff(whole(RAMP, np.uint16)), 16),
    "16 big tiff": (tiff(whole(RAMP, np.uint16), ">"), 16),
    "16 white-is-zero tiff": (tiff(65535 - whole(RAMP, np.uint16), photometric=0), 16),
    "16 signed tiff": (tiff(whole(RAMP, np.int16)), 15),
    "16 lzw": (
        pillow(Image.fromarray(whole(RAMP, np.uint16)), "TIFF", compression="tiff_lzw"), 16
    ),
    "16 pgm": (b"P5 9 12 65535\n" + whole(RAMP, np.uint16).astype(">u2").tobytes(), 16),
    "1000 pgm": (b"P5 9 12 1000\n" + np.round(RAMP * 1000).astype(">u2").tobytes(), 9),
    "8 signed tiff": (tiff(whole(RAMP, np.int8)), 7),
    "32 tiff": (tiff(whole(RAMP, np.uint32)), 22),
    "32 signed tiff": (tiff(whole(RAMP, np.int32)), 22),
    "32 signed big tiff": (tiff(whole(RAMP, np.int32), ">"), 22),
    "32 pillow tiff": (pillow(Image.fromarray(whole(RAMP, np.int32)), "TIFF"), 22),
    "float tiff": (tiff(RAMP.astype(np.float32)), 22),
    "float big tiff": (tiff(RAMP.astype(np.float32), ">"), 22),
    "float pillow tiff": (pillow(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), 22),
}  # fmt: skip

IN_COLOUR = {
    "RGB png": (pillow(colour8(), "PNG"), 8),
    "RGB tiff": (pillow(colour8(), "TIFF"), 8),
    "RGB ppm": (pillow(colour8(), "PPM"), 8),
    "RGB bmp": (pillow(colour8(), "BMP"), 8),
    "RGB webp": (pillow(colour8(), "WEBP", lossless=True), 8),
    "RGB jpg": (pillow(colour8(), "JPEG", quality=100, subsampling=0), 6),
    "RGBA png": (pillow(colour8("RGBA"), "PNG"), 8),
    "16 png": (png(whole(COLOURS, np.uint16)), 16),
    "16 alpha png": (png(whole(OPAQUE, np.uint16)), 16),
    "16 little tiff": (tiff(whole(COLOURS, np.uint16)), 16),
    "16 big tiff": (tiff(whole(COLOURS, np.uint16), ">"), 16),
    "16 alpha tiff": (tiff(whole(OPAQUE, np.uint16)), 16),
}


@pytest.mark.parametrize("kind", GREY)
def test_a_grey_ramp_of_every_depth(kind, tmp_path):
    content, bits = GREY[kind]
    x, said = read(tmp_path, content, kind.split()[-1].replace("lzw", "tif"), mode="L")
    np.testing.assert_allclose(x[0], RAMP, atol=2.0**-bits)
    assert len(said) == ("gif" in kind)  # whose palette is grey


@pytest.mark.parametrize("kind", IN_COLOUR)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_coloured_ramp_of_every_depth(kind, mode, tmp_path):
    content, bits = IN_COLOUR[kind]
    x, said = read(tmp_path, content, kind.split()[-1], mode=mode)
    expected = np.moveaxis(COLOURS, -1, 0) if mode == "RGB" else LUMA[None]
    np.testing.assert_allclose(x, expected, atol=2.0**-bits + (mode == "L" and bits < 9) / 255)
    assert not said


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["8 png", "8 jpg", "8 tiff", "8 grey tiff", "8 webp", "16 png", "16 rgb png",
                                  "16 tiff", "16 rgb tiff", "float tiff"])  # fmt: skip
def test_an_image_is_upright_whatever_its_type(kind, orientation, tmp_path):
    # what the camera stored, so that turning it as noted gives the ramp
    turn = {
        1: lambda x: x, 2: np.fliplr, 3: lambda x: np.rot90(x, 2), 4: np.flipud,
        5: lambda x: x.swapaxes(0, 1), 6: lambda x: np.rot90(x), 8: lambda x: np.rot90(x, -1),
        7: lambda x: np.rot90(x.swapaxes(0, 1), 2),
    }[orientation]  # fmt: skip
    depth, *colour, ending = kind.split()
    in_colour = colour == ["rgb"] or (depth == "8" and not colour)
    stored = np.ascontiguousarray(turn(COLOURS if in_colour else RAMP))
    if depth == "8" and ending != "tiff":
        image = Image.fromarray(whole(stored, np.uint8))
        exif = image.getexif()
        exif[0x0112] = orientation
        how = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(
            ending, {}
        )
        content = pillow(image, {"jpg": "JPEG"}.get(ending, ending), exif=exif, **how)
    elif ending == "png":
        content = png(whole(stored.reshape(*stored.shape[:2], -1), np.uint16), orientation)
    else:
        numbers = {"8": np.uint8, "16": np.uint16}.get(depth)
        content = tiff(whole(stored, numbers) if numbers else stored.astype("f4"), t274=orientation)
    x, said = read(tmp_path, content, ending, mode="RGB" if stored.ndim == 3 else "L")
    expected = np.moveaxis(COLOURS, -1, 0) if stored.ndim == 3 else RAMP[None]
    np.testing.assert_allclose(x, expected, atol=1e-4 if depth != "8" else 0.02)
    assert not said


CONVERTED = {
    "CMYK": (pillow(colour8("CMYK"), "TIFF"), "tif", "CMYK made RGB in 3 of 3 images"),
    "CMYK jpg": (pillow(colour8("CMYK"), "JPEG", quality=100), "jpg", "CMYK made RGB in 3 of 3"),
    "palette": (pillow(Image.fromarray(whole(RAMP, np.uint8)).convert("P"), "PNG"), "png",
                "a palette made RGB in 3 of 3 images"),
    "LAB": (pillow(ImageCms.applyTransform(colour8(), ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")), "TIFF"),
        "tif", "LAB made RGB in 3 of 3 images"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CONVERTED)
def test_what_is_converted_is_said_once(kind, tmp_path):
    content, ending, words = CONVERTED[kind]
    x, said = read(tmp_path, content, ending)
    assert len(said) == 1
    assert words in said[0]
    expected = np.stack([RAMP] * 3) if kind == "palette" else np.moveaxis(COLOURS, -1, 0)
    assert np.abs(x - expected).mean() < 0.03


@pytest.mark.parametrize("kind", ["8", "16", "16 grey", "tRNS", "tRNS grey", "8 tRNS", "tiff"])
def test_transparency_is_laid_on_white(kind, tmp_path):
    half = np.where(np.arange(H)[:, None] < H // 2, 1.0, np.where(np.arange(W) < 3, 0.0, 0.5))
    grey = "grey" in kind
    x = np.concatenate([RAMP[..., None] if grey else COLOURS, half[..., None]], -1)
    expected = x[..., :-1] * x[..., -1:] + 1 - x[..., -1:]
    if "tRNS" in kind:
        expected = (RAMP[..., None] if grey else COLOURS).copy()
        expected[3, 3] = 1
        numbers = whole(RAMP[..., None] if grey else COLOURS, np.uint16)
        content = png(numbers, clear=tuple(int(n) for n in numbers[3, 3]))
        if kind == "8 tRNS":
            eight = whole(COLOURS, np.uint8)
            content = pillow(Image.fromarray(eight), "PNG",
                             transparency=tuple(int(n) for n in eight[3, 3]))  # fmt: skip
    elif kind == "8":
        content = pillow(Image.fromarray(whole(x, np.uint8)), "PNG")
    else:
        content = tiff(whole(x, np.uint16)) if kind == "tiff" else png(whole(x, np.uint16))
    got, said = read(
        tmp_path, content, "tif" if kind == "tiff" else "png", mode="L" if grey else "RGB"
    )
    np.testing.assert_allclose(
        got, np.moveaxis(expected, -1, 0), atol=0.006 if "8" in kind else 1e-4
    )
    assert "transparency laid on white in 3 of 3 images" in said[0]


REFUSED = {
    "planar": (tiff(whole(COLOURS, np.uint16), planar=True), "tif", "more than 8 bits"),
    "CMYK of 16 bits": (tiff(whole(OPAQUE, np.uint16), photometric=5), "tif", "more than 8 bits"),
    "ppm of 16 bits": (b"P6 1 1 65535\n" + bytes(6), "ppm", "more than 8 bits"),
    "negative": (tiff((1000 * RAMP - 500).astype(np.int16)), "tif", "integers from -500 to 500"),
    "negative bytes": (tiff((100 * RAMP - 50).astype(np.int8)), "tif", "integers from -50 to 50"),
    "floats": (tiff((3 * RAMP).astype(np.float32)), "tif", r"must lie in \[0, 1\], got 0 to 3"),
    "NaN": (tiff(np.where(RAMP > 0.5, np.nan, RAMP).astype("f4")), "tif", "54 NaN pixels"),
    "inf": (tiff(np.where(RAMP > 0.99, np.inf, RAMP).astype("f4")), "tif", "infinite"),
    "frames": (pillow(grey8(), "GIF", save_all=True, append_images=[grey8().rotate(90)]), "gif",
               "holds 2 pages or frames; pages='each'"),
    "apng": (pillow(grey8(), "PNG", save_all=True, append_images=[grey8().rotate(90)]), "png",
             "holds 2 pages"),
    "webp": (pillow(colour8(), "WEBP", save_all=True, append_images=[colour8().rotate(90)]), "webp",
             "holds 2 pages"),
    "stack": (pillow(grey8(), "TIFF", save_all=True, append_images=[grey8()] * 4), "tif", "holds 5 p"),
    "f64": (tiff(RAMP), "tif", "cannot be read as images"),
}  # fmt: skip


@pytest.mark.parametrize("kind", REFUSED)
def test_what_could_mean_two_things_is_refused_by_name(kind, tmp_path):
    content, ending, words = REFUSED[kind]
    with pytest.raises(ValueError, match=words) as error:
        read(tmp_path, content, ending)
    assert f"0.{ending}" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_range_of_the_users_own(tmp_path):
    x, said = read(tmp_path, tiff((1000 * RAMP - 500).astype(np.int16)), "tif", mode="L",
                   value_range=(-500, 500))  # fmt: skip
    np.testing.assert_allclose(x[0], RAMP, atol=2e-3)
    assert not said
    x, said = read(tmp_path, tiff((1000 * RAMP - 500).astype(np.int16)), "tif", mode="L",
                   value_range=(0, 250))  # fmt: skip
    np.testing.assert_allclose(x[0], (4 * RAMP - 2).clip(0, 1), atol=5e-3)
    assert "numbers outside value_range were clipped" in said[0]
    (eight := tmp_path / "eight").mkdir()
    x, _ = read(eight, pillow(grey8(), "PNG"), "png", value_range=(0, 510))
    np.testing.assert_allclose(x, np.stack([RAMP / 2] * 3), atol=1 / 255)
    for bad in ((1, 0), (0,), "ab", (0, np.inf), 3):
        with pytest.raises(ValueError, match="value_range: expected two numbers, low < high"):
            from_folder(tmp_path, value_range=bad)


def test_dark_images_of_many_bits_are_said_to_be_dark(tmp_path):
    x, said = read(tmp_path, tiff((4000 * RAMP).astype(np.uint16)), "tif", mode="L")
    assert x.max() == pytest.approx(4000 / 65535)
    assert "images will be dark without value_range" in said[0]


def test_missing_pixels_are_kept_where_that_is_asked(tmp_path):
    holes = np.where(RAMP > 0.5, np.nan, RAMP).astype("f4")
    x, _ = read(tmp_path, tiff(holes), "tif", mode="L", missing="keep")
    np.testing.assert_allclose(x[0], holes)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_pages_of_a_stack_are_read_in_order_and_stay_together(kind, tmp_path):
    """Every page of a file carries its number; no file is in two parts."""
    for i in range(10):
        pages = [Image.new("RGB", (8, 8), (20 * i + 10, 30 * p, 200)) for p in range(4)]
        how = {"lossless": True} if kind == "WEBP" else {}
        pages[0].save(tmp_path / f"{i}.{kind.lower()}", kind, save_all=True,
                      append_images=pages[1:], **how)  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PyrogeoWarning)  # a GIF has palettes
        data = from_folder(tmp_path, (8, 8), pages="each")
    stacks = [set(np.round(getattr(data, p)[:, 0, 0, 0].numpy() * 255).astype(int).tolist())
              for p in ("train", "validation", "test")]  # fmt: skip
    assert [len(stack) for stack in stacks] == [7, 1, 2]
    assert len(set.union(*stacks)) == 10
    inside = np.round(data.test[:, 1, 0, 0].numpy() * 255).astype(int)
    assert inside.tolist() == [0, 30, 60, 90] * 2
    assert [len(getattr(data, p)) for p in ("train", "validation", "test")] == [28, 4, 8]


def test_reduced_copies_and_previews_are_no_pages(tmp_path):
    if int(PIL.__version__.split(".")[0]) < 12:
        pytest.skip("this Pillow writes no tags of further pages")
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    small = ImageFileDirectory_v2()
    small[254] = 1
    image = grey8()
    image.encoderinfo = {}
    reduced = grey8().resize((4, 4))
    reduced.encoderinfo = {"tiffinfo": small}
    content = pillow(image, "TIFF", save_all=True, append_images=[reduced])
    x, said = read(tmp_path, content, "tif", mode="L")
    np.testing.assert_allclose(x[0], RAMP, atol=1 / 255)
    assert "reduced copies left out in 3 of 3" in said[0]
    (photos := tmp_path / "photos").mkdir()
    content = pillow(colour8(), "MPO", save_all=True, append_images=[colour8()], quality=100)
    _, said = read(photos, content, "jpg")
    assert "previews left out in 3 of 3" in said[0]


def test_the_limit_on_pixels_is_asked_before_anything_is_decoded(tmp_path):
    huge = png(np.zeros((1, 1, 1), np.uint16), size=(2**16, 2**16))
    with pytest.raises(ValueError, match="4,294,967,296 pixels, more than max_pixels=64,000,000"):
        read(tmp_path, huge, "png")
    content = pillow(Image.new("L", (40, 30)), "PNG")
    (small := tmp_path / "small").mkdir()
    with pytest.raises(ValueError, match="1,200 pixels, more than max_pixels=1,199; a larger"):
        read(small, content, "png", max_pixels=1199)
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = 100  # Pillow's own limit is not in the way, and is put back
    try:
        assert read(small, content, "png", max_pixels=1200)[0].shape == (3, H, W)
        assert Image.MAX_IMAGE_PIXELS == 100
    finally:
        Image.MAX_IMAGE_PIXELS = before


TYPES = [np.uint8, np.uint16, np.uint32, np.float16, np.float32, np.float64, bool]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("shape", ["NHW", "NCHW", "NHWC", "NHW1", "NHW4"])
def test_arrays_of_images_of_every_type(dtype, shape):
    x = np.stack([COLOURS] * 4) if "C" in shape or "4" in shape else np.stack([RAMP] * 4)
    if dtype is bool:
        x = x > 0.5
    expected = np.moveaxis(x, -1, 1) if x.ndim == 4 else x[:, None]
    if shape == "NHW4":
        x = np.concatenate([x, np.ones_like(x[..., :1])], -1)
    x = {"NCHW": lambda x: np.moveaxis(x, -1, 1), "NHW1": lambda x: x[..., None]}.get(
        shape, lambda x: x
    )(x)
    stored = whole(x, dtype) if np.issubdtype(dtype, np.integer) else x.astype(dtype)
    for values in (stored, stored.astype(stored.dtype.newbyteorder(">"))):
        data = from_array(values)
        assert data.train.dtype == torch.float32
        np.testing.assert_allclose(data.train[0], expected[0], atol=1 / 400)


def test_opacity_in_arrays():
    x = np.zeros((5, 8, 8, 4), np.uint8)
    x[:2, ..., 3] = 255
    with pytest.warns(PyrogeoWarning, match="transparency of 3 of 5 images was laid on white"):
        data = from_array(x, seed=0)
    everything = torch.cat([data.train, data.validation, data.test])
    assert everything.shape == (5, 3, 8, 8)
    assert sorted(everything.mean((1, 2, 3)).tolist()) == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((5, 32, 32, 13)), "13 channels come last"),
        (np.zeros((5, 4, 4, 4)), "4 channels come last"),
        (np.zeros((5, 8, 8), np.int16), "bytes or floating-point numbers, got int16"),
        (np.full((5, 8, 8), 3.0), r"must lie in \[0, 1\], got 3 to 3"),
        (np.full((5, 8, 8), -0.1), r"must lie in \[0, 1\]"),
        (np.full((5, 8, 8), np.nan), "missing='keep'"),
        (np.full((5, 8, 8), np.inf), "infinite"),
        (np.ma.masked_less(np.arange(5 * 64.0).reshape(5, 8, 8) / 400, 0.1), "got 40 NaN"),
    ],
)
def test_arrays_that_could_mean_two_things(x, words):
    with pytest.raises(ValueError, match=words):
        from_array(x)


def test_arrays_with_a_range_and_with_gaps():
    x = np.arange(5 * 64).reshape(5, 8, 8)
    data = from_array(x, value_range=(0, 319))
    assert data.train.max() <= 1
    kept = from_array(
        np.ma.masked_less(x.astype(np.uint16), 64), value_range=(0, 319), missing="keep"
    )
    everything = torch.cat([kept.train, kept.validation, kept.test])
    assert everything.isnan().sum() == 64
    with pytest.warns(PyrogeoWarning, match="32 of 320 numbers lie outside value_range"):
        from_array(x, value_range=(32, 319))
    with pytest.warns(PyrogeoWarning, match="largest number is 319, little of the range of uint16"):
        from_array(x.astype(np.uint16))

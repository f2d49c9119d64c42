"""One image file, read as what it means: every number that it holds, upright, on white, in [0, 1].

Pillow keeps 8 of 16 bits of colours, and says nothing. It can be asked for the other 8 by the name of the
opposite byte order, and the two are put together here.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from pyrogeo.datasets.intensities import laid_on_white, scaled

__all__ = ["BrokenImageError", "Tally", "UnclearImageError", "Wish", "read_image", "without_limit"]

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # as Pillow's grey, ITU-R 601
_NATIVE = "L" if sys.byteorder == "little" else "B"
_ORIENTATION = 274  # tag of EXIF
_BITS, _PHOTOMETRIC, _SUBFILE, _SAMPLE_FORMAT = 258, 262, 254, 339  # tags of TIFF


class BrokenImageError(ValueError):
    """A file that cannot be read as an image."""


class UnclearImageError(ValueError):
    """An image that could be read in more than one way, or that is too large."""


@dataclass(frozen=True)
class Wish:
    """How images are to be read; the words of `from_folder`."""

    size: tuple[int, int]
    mode: str
    value_range: tuple[float, float] | None = None
    missing: str = "refuse"
    pages: str = "refuse"
    max_pixels: int = 64_000_000


@dataclass
class Tally:
    """What was converted in reading.

    Attributes:
        images: that were read.
        converted: how often what was done.
        clipped: numbers outside the given range.
        brightest: largest number so far, as a share of white.
    """

    images: int = 0
    converted: Counter[str] = field(default_factory=Counter)
    clipped: int = 0
    brightest: float = 0.0

    def words(self) -> list[str]:
        """One sentence each of what the user may not expect."""
        said = [f"{what} in {n} of {self.images} images" for what, n in self.converted.items() if n]
        if self.clipped:
            said.append(f"{self.clipped} numbers outside value_range were clipped")
        if 0 < self.brightest <= 1 / 8:
            said.append(
                f"the brightest pixel has {self.brightest:.2g} of the white of its type; images will be "
                "dark without value_range=(LOW, HIGH)"
            )
        return said


@contextmanager
def without_limit() -> Iterator[None]:
    """Pillow's own limit on pixels is put aside, as `Wish.max_pixels` is asked before it would be."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def read_image(file: Path, wish: Wish, tally: Tally) -> list[np.ndarray]:
    """The pages of an image file, mostly one, each of shape `(C, H, W)`, float32 in [0, 1].

    Raises:
        BrokenImageError: for a file that is no whole image.
        UnclearImageError: for several pages, numbers outside [0, 1] without a range, missing values, or
            too many pixels.
    """
    try:
        with _opened(file) as image:
            _check_size(image, wish)
            pages = _pages(image, tally)
            if len(pages) > 1 and wish.pages != "each":
                raise UnclearImageError(
                    f"holds {len(pages)} pages or frames; pages='each' reads them one by one"
                )
            return [_page(image, file, page, wish, tally) for page in pages]
    except UnclearImageError:
        raise
    except UnidentifiedImageError as error:
        raise BrokenImageError("cannot identify image file") from error
    except Exception as error:  # a broken file makes Pillow raise what it likes
        words = str(error).replace(str(file), file.name) or type(error).__name__
        raise BrokenImageError(words) from error


@contextmanager
def _opened(file: Path) -> Iterator[ImageFile.ImageFile]:
    """Not by its name: Pillow then maps it into memory, and misreads TIFF that is to be turned."""
    with file.open("rb") as stream, Image.open(stream) as image:
        yield image


def _check_size(image: Image.Image, wish: Wish) -> None:
    pixels = image.width * image.height
    if pixels > wish.max_pixels:
        raise UnclearImageError(
            f"has {pixels:,} pixels, more than max_pixels={wish.max_pixels:,}; a larger max_pixels "
            "takes it, and 4 to 30 bytes of memory for each"
        )


def _pages(image: ImageFile.ImageFile, tally: Tally) -> list[int]:
    """Pages that are pictures of their own: no previews, no reduced copies."""
    n = getattr(image, "n_frames", 1)
    if n == 1:
        return [0]
    if image.format == "MPO":  # a photograph, with what the camera keeps beside it
        tally.converted["previews left out"] += 1
        return [0]
    if image.format != "TIFF":
        return list(range(n))
    kept = []
    for page in range(n):
        image.seek(page)
        if not getattr(image, "tag_v2", {}).get(_SUBFILE, 0) & 1:
            kept.append(page)
    if kept and len(kept) < n:
        tally.converted["reduced copies left out"] += 1
    return kept or [0]


def _page(
    image: ImageFile.ImageFile, file: Path, page: int, wish: Wish, tally: Tally
) -> np.ndarray:
    image.seek(page)
    _check_size(image, wish)
    tally.images += 1
    if _is_wide(image):
        x, white = _grey_numbers(image)
    elif _is_deep(image):
        x, white = _deep_colours(image, file, page, tally), 65535
    elif wish.value_range is None:
        return _bytes(image, wish, tally)
    else:
        x, white = np.asarray(_plain(image, tally)), 255
        x = x[..., None] if x.ndim == 2 else x
    return _fitted(_intensities(x, white, wish, tally), wish)


def _is_wide(image: ImageFile.ImageFile) -> bool:
    """Whether it has one channel of more than 8 bits, or of signed numbers."""
    signed = image.format == "TIFF" and 2 in _tag(image, _SAMPLE_FORMAT)
    return (
        image.mode in ("I", "F") or image.mode.startswith("I;16") or (image.mode == "L" and signed)
    )


def _grey_numbers(image: ImageFile.ImageFile) -> tuple[np.ndarray, float | None]:
    """Numbers of shape `(H, W, 1)` or, with opacity, `(H, W, 2)`, and what is white."""
    raw, tags = _raw_mode(image), getattr(image, "tag_v2", {})
    clear = image.info.get("transparency")
    signed = 2 in _tag(image, _SAMPLE_FORMAT) if tags else False
    bits = _tag(image, _BITS)[0] if tags else 16
    x = np.asarray(_upright(image))
    if x.dtype.kind == "f":
        return x[..., None], None
    if bits == 8:
        x = x.view(np.int8)
    elif bits == 32 and not signed:
        x = x.view(np.uint32)
    elif image.mode == "I" and not tags and image.format != "PPM" and not raw.startswith("I;16"):
        bits, signed = 32, True
    white = 2.0 ** (bits - signed) - 1
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        x = white - x.astype(np.float64)
        x = x.astype(np.uint32) if not signed else x
    if isinstance(clear, int):
        opacity = np.where(x == clear, 0, int(white))
        return np.stack([x.astype(np.int64), opacity], -1), white
    return x[..., None], white


def _is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether it has several channels of more than 8 bits, of which Pillow would keep 8."""
    if image.format == "PPM":
        return image.mode == "RGB" and any(
            _arguments(t)[-1:] > (255,) for t in image.tile if t[0] != "raw"
        )
    return ";16" in _raw_mode(image) or max(_tag(image, _BITS)) > 8


def _deep_colours(image: ImageFile.ImageFile, file: Path, page: int, tally: Tally) -> np.ndarray:
    """Numbers of 16 bits, of shape `(H, W, 2, 3 or 4)`."""
    raw, size, clear = _raw_mode(image), image.size, image.info.get("transparency")
    if raw == "LA;16B":  # four bytes: the two of grey, the two of opacity
        four = _decoded(file, page, "RGBA").astype(np.uint16)
        return four[..., 0::2] * 256 + four[..., 1::2]
    colours, _, order = raw.partition(";16")
    order = {"N": _NATIVE}.get(order, order)
    if (
        colours not in ("RGB", "RGBA")
        or order not in ("L", "B")
        or image.mode not in ("RGB", "RGBA")
    ):
        raise UnclearImageError(
            f"has {image.mode} colours of more than 8 bits ({size[0]} × {size[1]}), of which 8 would be "
            "lost; save it as a PNG or TIFF of RGB, or np.save its numbers"
        )
    high = _decoded(file, page, f"{colours};16{order}").astype(np.uint16)
    low = _decoded(file, page, f"{colours};16{'B' if order == 'L' else 'L'}")
    x: np.ndarray = (high << 8) | low
    if isinstance(clear, tuple) and x.shape[-1] == 3:
        opacity = np.where((x == np.array(clear)).all(-1), 0, 65535).astype(np.uint16)
        x = np.concatenate([x, opacity[..., None]], -1)
    return x


def _decoded(file: Path, page: int, raw: str) -> np.ndarray:
    """The image's bytes, unpacked as if they were stored in another order."""
    with _opened(file) as image:
        image.seek(page)
        image.tile = [_with_raw(tile, raw) for tile in image.tile]
        image.load()
        return np.asarray(_upright(image))


def _with_raw(tile: Any, raw: str) -> Any:
    arguments = (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw
    return tile._replace(args=arguments) if hasattr(tile, "_replace") else (*tile[:3], arguments)


def _upright(image: Image.Image) -> Image.Image:
    """Itself where it need not be turned, as a copy would take as much memory again."""
    image.load()
    return ImageOps.exif_transpose(image) if image.getexif().get(_ORIENTATION, 1) != 1 else image


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _arguments(tile: Any) -> tuple[Any, ...]:
    return tile[3] if isinstance(tile[3], tuple) else (tile[3],)


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """How its channels lie in the file; empty where that is not said."""
    found = {str(_arguments(tile)[0]) for tile in image.tile if tile[3]}
    return found.pop() if len(found) == 1 else ""


def _tag(image: Image.Image, tag: int) -> tuple[int, ...]:
    """Numbers of a tag of a TIFF file, for each channel."""
    found = getattr(image, "tag_v2", {}).get(tag, (8,) if tag == _BITS else (1,))
    return found if isinstance(found, tuple) else (found,)


def _intensities(x: np.ndarray, white: float | None, wish: Wish, tally: Tally) -> np.ndarray:
    """Intensities of shape `(H, W, 1 or 3)`."""
    has_opacity = x.shape[-1] in (2, 4)
    gaps = int(np.isnan(x).sum()) if x.dtype.kind == "f" else 0
    if gaps and wish.missing == "refuse":
        raise UnclearImageError(
            f"has {gaps} NaN pixels; missing='keep' takes them for missing values"
        )
    try:
        colour, clipped = scaled(x[..., :-1] if has_opacity else x, white, wish.value_range)
    except ValueError as error:
        raise UnclearImageError(str(error)) from error
    tally.clipped += clipped
    if wish.value_range is None and white is not None:
        tally.brightest = max(tally.brightest, float(colour.max()))
    else:
        tally.brightest = 1.0
    if not has_opacity:
        return colour
    opacity = scaled(x[..., -1:], white)[0]
    tally.converted["transparency laid on white"] += bool((opacity < 1).any())
    return laid_on_white(colour, opacity)


def _fitted(x: np.ndarray, wish: Wish) -> np.ndarray:
    """Cropped, scaled and with the channels that are wanted, as `_bytes` does it in 8 bits."""
    if wish.mode == "L" and x.shape[-1] == 3:
        x = (x @ _LUMA)[..., None]
    size = (wish.size[1], wish.size[0])
    channels = [
        ImageOps.fit(
            Image.fromarray(np.ascontiguousarray(c, np.float32)), size, Image.Resampling.BICUBIC
        )
        for c in np.moveaxis(x, -1, 0)
    ]
    pixels = np.stack([np.asarray(c) for c in channels]).clip(0, 1)  # bicubic kernels overshoot
    return np.repeat(pixels, 3, 0) if wish.mode == "RGB" and len(pixels) == 1 else pixels


def _plain(image: Image.Image, tally: Tally) -> Image.Image:
    """An image of bytes upright, on white, and grey or of three colours."""
    image = _upright(image)
    if image.mode not in ("1", "L", "LA", "RGB", "RGBA", "RGBX", "RGBa", "La"):
        name = {"P": "a palette", "PA": "a palette"}.get(image.mode, image.mode)
        tally.converted[f"{name} made RGB"] += 1
        if not image.has_transparency_data:
            image = image.convert("RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        extrema: Any = image.getextrema()  # of each channel
        tally.converted["transparency laid on white"] += extrema[3][0] < 255
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return _in_mode(image, "L" if image.mode in ("1", "L") else "RGB")


def _bytes(image: Image.Image, wish: Wish, tally: Tally) -> np.ndarray:
    """Pixels of an image of 8 bits, which stays one until its size is small."""
    size = (wish.size[1], wish.size[0])
    image = ImageOps.fit(_in_mode(_plain(image, tally), wish.mode), size, Image.Resampling.BICUBIC)
    pixels = np.asarray(image, dtype=np.float32) / 255
    tally.brightest = max(tally.brightest, float(pixels.max()))
    return pixels[None] if wish.mode == "L" else np.moveaxis(pixels, -1, 0)

"""Image files that Pillow does not write: 16 bits of colour, and TIFF of any type of number."""

import struct
import zlib

import numpy as np


def png(
    x: np.ndarray, orientation: int | None = None, clear: tuple[int, ...] = (), size: tuple = ()
) -> bytes:
    """Numbers of 16 bits of shape `(H, W, 1 to 4)`, as grey, grey with opacity, RGB or RGBA."""
    height, width, channels = x.shape
    width, height = size or (width, height)  # one that is not true, too
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(name: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in x)
    parts = [chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))]
    if clear:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(clear)}H", *clear)))
    if orientation:
        exif = b"II*\0\x08\0\0\0" + struct.pack("<HHHIHHI", 1, 274, 3, 1, orientation, 0, 0)
        parts.append(chunk(b"eXIf", exif))
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(
    x: np.ndarray,
    order: str = "<",
    photometric: int | None = None,
    planar: bool = False,
    **tags: int,
) -> bytes:
    """Numbers of any type of shape `(H, W)` or `(H, W, C)`; tags by `t274=6`."""
    height, width = x.shape[:2]
    channels = x.shape[2] if x.ndim == 3 else 1
    bits, kind = 8 * x.itemsize, {"u": 1, "i": 2, "f": 3}[x.dtype.kind]
    stored = np.moveaxis(x, -1, 0) if planar else x
    data = np.ascontiguousarray(stored, x.dtype.newbyteorder(order)).tobytes()
    if photometric is None:
        photometric = 1 if channels < 3 else 2
    pieces = channels if planar else 1
    entries = {
        256: ("H", [width]), 257: ("H", [height]), 258: ("H", [bits] * channels), 259: ("H", [1]),
        262: ("H", [photometric]), 277: ("H", [channels]), 278: ("H", [height]),
        273: ("I", [8 + i * len(data) // pieces for i in range(pieces)]),
        279: ("I", [len(data) // pieces] * pieces), 284: ("H", [2 if planar else 1]),
        339: ("H", [kind] * channels),
    }  # fmt: skip
    if channels in (2, 4) and photometric < 3:
        entries[338] = ("H", [2])
    entries |= {int(name[1:]): ("H", [value]) for name, value in tags.items()}
    start = 8 + len(data)
    beyond, tail, table = start + 2 + 12 * len(entries) + 4, b"", b""
    for tag, (letter, values) in sorted(entries.items()):
        packed = struct.pack(f"{order}{len(values)}{letter}", *values)
        table += struct.pack(f"{order}HHI", tag, {"H": 3, "I": 4}[letter], len(values))
        if len(packed) > 4:
            table += struct.pack(f"{order}I", beyond + len(tail))
            tail += packed
        else:
            table += packed.ljust(4, b"\0")
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, start)
    directory = struct.pack(f"{order}H", len(entries)) + table + struct.pack(f"{order}I", 0)
    return head + data + directory + tail

"""Detection of images that declare more rows than their data contain. Pillow silently fills in the missing rows: with zeros in
PNG, with grey in JPEG. (In other formats and in interlaced PNG, it raises an error.)

For most images, checking the last row is enough. The others are decoded a second time in a way that changes what is filled
in: PNG over a canvas that is not zero; JPEG with random data after its own, which a decoder reads only if data are missing.
"""

import io
import re
from typing import IO

from PIL import Image

JPEG = ("JPEG", "MPO")
"""Pillow's names for JPEG formats."""

_CORNER = 8
"""The side of a JPEG block, which is filled in as a whole."""

_MORE = bytes((151 * index + 7) % 255 for index in range(1024))
"""Pseudo-random bytes without a marker."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""A marker that ends a scan: neither a stuffed byte nor a restart marker."""

_SCAN = 0xDA


def lacks_rows(image: Image.Image, file: IO[bytes], draft: tuple[int, int] | None = None) -> bool:
    """Whether Pillow filled in the end of a loaded image.

    Arguments:
        file: the open file that it was loaded from.
        draft: the size that was passed to `Image.draft`.
    """
    if image.format in JPEG:
        return _ends_in_grey(image) and _changes_with_more(image, _content(file), draft)
    if image.format == "PNG":
        return _ends_in_zeros(image) and _shows_canvas(image, _content(file))
    return False


def _content(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _ends_in_zeros(image: Image.Image) -> bool:
    return image.crop((0, image.height - 1, image.width, image.height)).getbbox(alpha_only=False) is None


def _ends_in_grey(image: Image.Image) -> bool:
    """Whether the last corner is grey. Missing coefficients are zeros: value 128, or 127 if Pillow inverts the values."""
    corner = image.crop((max(image.width - _CORNER, 0), image.height - 1, image.width, image.height))
    return all(set(band.getextrema()) <= {127, 128} for band in corner.split())


def _shows_canvas(image: Image.Image, content: bytes) -> bool:
    with Image.open(io.BytesIO(content)) as again:
        prepare = again.load_prepare

        def over_white() -> None:
            prepare()
            bands = len(again.getbands())
            again.im.paste(255 if bands == 1 else (255,) * bands, (0, 0, *again.size))

        again.load_prepare = over_white
        again.load()
        return again.tobytes() != image.tobytes()


def _changes_with_more(image: Image.Image, content: bytes, draft: tuple[int, int] | None) -> bool:
    end = _end_of_first_scan(content)
    with Image.open(io.BytesIO(content[:end] + _MORE + content[end:])) as again:
        if draft is not None:
            again.draft(again.mode, draft)
        again.load()
        return again.tobytes() != image.tobytes()


def _end_of_first_scan(content: bytes) -> int:
    """Where the data of the first scan end; they contain part of every block."""
    at, kind = 2, 0
    while kind != _SCAN:
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        kind = content[at + 1]
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    found = _MARKER.search(content, at)
    return len(content) if found is None else found.start()

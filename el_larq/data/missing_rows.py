"""Images that declare more rows than their data hold. Pillow fills in what is missing and says nothing: in PNG zeros, in JPEG grey.
(In other formats and interlaced PNG it is an error.)

Most images are cleared by a look at their last row. The others are decoded a second time in a way that changes what is filled
in: PNG over a canvas that is not zero; JPEG with random data behind its own, which only a decoder that lacks some reads.
"""

import io
import re
from typing import IO

from PIL import Image

JPEG = ("JPEG", "MPO")
"""What Pillow calls them."""

_CORNER = 8
"""A block of a JPEG, which is filled as a whole."""

_MORE = bytes((151 * index + 7) % 255 for index in range(1024))
"""Looks random and holds no marker."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
"""One that ends a scan: neither a stuffed byte nor a restart."""

_SCAN = 0xDA


def lacks_rows(image: Image.Image, file: IO[bytes], draft: tuple[int, int] | None = None) -> bool:
    """Whether Pillow filled in the end of a loaded image.

    Arguments:
        file: which it was loaded from, still open.
        draft: the size that `Image.draft` was given.
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
    """Coefficients that are missing are zeros: 128, or 127 where Pillow inverts the values."""
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
    """Where the first scan's data end, which hold something of every block."""
    at, kind = 2, 0
    while kind != _SCAN:
        while content[at : at + 2] == b"\xff\xff":
            at += 1
        kind = content[at + 1]
        at += 2 + int.from_bytes(content[at + 2 : at + 4])
    found = _MARKER.search(content, at)
    return len(content) if found is None else found.start()

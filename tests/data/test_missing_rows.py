"""Images that declare more rows than they contain are refused; those that only seem to are read."""

import io
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import pixels, write_folder
from PIL import Image

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.preprocessing import open_image
from el_larq.errors import ElLarqError

SIZE = 48

ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
"""First row and column, and steps, of each pass."""

JPEGS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"subsampling": 0, "quality": 100},
    {"restart_marker_blocks": 2},
    {"mode": "L"},
    {"mode": "CMYK"},
]


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _png(image: np.ndarray, cut: int = 0, interlaced: bool = False) -> bytes:
    """uint8 (H, W) or (H, W, 3), without the last ``cut`` bytes of its rows, as a complete zlib stream."""
    height, width = image.shape[:2]
    parts = [image[row::down, column::right] for row, column, down, right in ADAM7] if interlaced else [image]
    rows = b"".join(b"\0" + row.tobytes() for part in parts if part.size for row in part)
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if image.ndim == 3 else 0, 0, 0, interlaced)
    data = zlib.compress(rows[: len(rows) - cut])
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")


def _jpeg(image: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).convert(mode).save(file, "JPEG", **options)
    return file.getvalue()


def _taller(jpeg: bytes, height: int) -> bytes:
    """The same data under a header that declares another height."""
    at = re.search(rb"\xff[\xc0\xc2]\x00.\x08", jpeg, re.DOTALL)
    assert at is not None
    return jpeg[: at.end()] + struct.pack(">H", height) + jpeg[at.end() + 2 :]


def _refused(content: bytes, least: int | None = None) -> None:
    with pytest.raises(ElLarqError, match=r"^x\.png: cannot be read as an image: it contains fewer rows than it declares$"):
        open_image("x.png", content, least)


@pytest.mark.parametrize("shape", [(SIZE, SIZE, 3), (SIZE, SIZE), (SIZE + 1, 7, 3)])
@pytest.mark.parametrize("rows", [1, 20, SIZE - 1])
def test_a_png_without_its_last_rows_is_refused(shape: tuple[int, ...], rows: int) -> None:
    image = np.random.default_rng(0).integers(1, 256, shape).astype(np.uint8)
    np.testing.assert_array_equal(np.asarray(open_image("x.png", _png(image))), image)
    _refused(_png(image, rows * (1 + image[0].size)))


def test_an_interlaced_png_without_its_last_rows_is_refused() -> None:
    image = pixels(1, SIZE, SIZE)
    for cut in (1, 500, 3000):
        with pytest.raises(ElLarqError, match="image file is truncated"):
            open_image("x.png", _png(image, cut, interlaced=True))


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_png_that_ends_in_black_is_read(interlaced: bool) -> None:
    image = pixels(1, SIZE, SIZE).copy()
    for rows in (1, SIZE // 2, SIZE):
        image[-rows:] = 0
        np.testing.assert_array_equal(np.asarray(open_image("x.png", _png(image, 0, interlaced))), image)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_black_pngs_of_every_kind_are_read(tmp_path: Path, mode: str) -> None:
    Image.new(mode, (9, 9)).save(tmp_path / "x.png")
    assert open_image(tmp_path / "x.png").size == (9, 9)


@pytest.mark.parametrize("options", JPEGS, ids=str)
@pytest.mark.parametrize("least", [None, 24])
def test_a_jpeg_without_its_last_rows_is_refused(options: dict[str, Any], least: int | None) -> None:
    content = _jpeg(pixels(1, SIZE, SIZE), **options)
    open_image("x.png", content, least)
    _refused(_taller(content, 2 * SIZE), least)


def test_a_jpeg_whose_data_end_early_is_refused() -> None:
    content = _jpeg(pixels(1, 4 * SIZE, SIZE))
    _refused(content[: len(content) * 3 // 4] + b"\xff\xd9")


@pytest.mark.parametrize("options", JPEGS, ids=str)
@pytest.mark.parametrize("grey", [127, 128])
def test_a_jpeg_that_ends_in_grey_is_read(options: dict[str, Any], grey: int) -> None:
    image = pixels(1, SIZE, SIZE).copy()
    for rows in (SIZE // 2, SIZE):
        image[-rows:] = grey
        assert open_image("x.png", _jpeg(image, **options)).size == (SIZE, SIZE)


def test_a_data_set_leaves_them_out(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "data")
    short = folder / "a" / "000.png"
    short.write_bytes(_png(pixels(0), 5 * (1 + 3 * 24)))
    said: list[str] = []
    load_dataset(f"dir:{folder}", 16, notify=said.append)
    assert said[0] == f"skipped {short}: cannot be read as an image: it contains fewer rows than it declares"

import contextlib
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from el_larq.data import preprocessing
from el_larq.data.dataset import scale
from el_larq.data.preprocessing import Preprocessing, open_image
from el_larq.errors import ElLarqError

GREY = Preprocessing(8, 8, 1, mean=100.0, std=50.0)
COLOUR = Preprocessing(8, 8, 3, mean=100.0, std=50.0)
STANDARDIZED = Preprocessing(8, 8, 1)
CHANNELS = Preprocessing(8, 8, 3, mean=(100.0, 110.5, 120.0), std=(50.0, 60.0, 70.0))


def random_pixels(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


# --- Scaling --------------------------------------------------------------------------------------------------------------


def test_a_fixed_scale_subtracts_and_divides():
    y = GREY.scale(np.array([0, 100, 150, 255], np.uint8).reshape(1, 2, 2, 1))
    assert y.dtype == np.float32
    assert np.ravel(y).tolist() == pytest.approx([-2.0, 0.0, 1.0, 3.1])


def test_a_standardized_image_forgets_brightness_and_contrast():
    image = random_pixels(1, 8, 8, 1) // 4
    np.testing.assert_allclose(STANDARDIZED.scale(image), STANDARDIZED.scale(2 * image + 30), atol=1e-5)


@pytest.mark.parametrize("value", [0, 7, 255])
def test_a_flat_image_becomes_zero(value: int):
    np.testing.assert_array_equal(STANDARDIZED.scale(np.full((1, 8, 8, 1), value, np.uint8)), np.zeros((1, 8, 8, 1)))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**31), st.integers(1, 256), st.sampled_from(["own", "one", "each"]), st.sampled_from([1, 3]))
def test_tensorflow_scales_as_numpy_does(seed: int, levels: int, kind: str, channels: int):
    each = tuple(50.0 + 10 * channel for channel in range(channels))
    how = Preprocessing(
        6, 6, channels, **{"own": {}, "one": {"mean": 78.1, "std": 81.4}, "each": {"mean": each, "std": each}}[kind]
    )
    images = random_pixels(4, 6, 6, channels, seed=seed) % levels
    images = images.astype(np.uint8)
    np.testing.assert_allclose(scale(how, images), how.scale(images), atol=1e-5, rtol=1e-5)


def test_a_channel_has_its_own_mean_and_std():
    y = CHANNELS.scale(np.full((1, 8, 8, 3), 150, np.uint8))
    assert y.dtype == np.float32
    np.testing.assert_allclose(y[0, 0, 0], [50 / 50, 39.5 / 60, 30 / 70], rtol=1e-6)


def test_it_survives_the_way_through_json():
    for how in (GREY, STANDARDIZED, CHANNELS, replace(CHANNELS, crop=0.875)):
        assert Preprocessing.from_dict(json.loads(json.dumps(how.to_dict()))) == how
    assert STANDARDIZED.input_shape == (8, 8, 1)


def test_cards_of_older_versions_and_for_them():
    """What version 0 wrote is read, and what it knew is written as it wrote it."""
    old = {"height": 8, "width": 8, "channels": 1, "mean": 100.0, "std": 50.0}
    assert Preprocessing.from_dict(old) == GREY
    assert GREY.to_dict() == old


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mean": (1.0, 2.0), "std": (1.0, 2.0)}, r"one number, or one per channel \(3\)"),
        ({"mean": (1.0, 2.0, 3.0), "std": (1.0, 0.0, 1.0)}, "std must be positive"),
        ({"mean": (1.0, float("nan"), 3.0)}, "finite"),
        ({"mean": "123"}, "finite"),
        ({"resampling": "nearest"}, "resampling must be bilinear or bicubic"),
        ({"crop": 0.0}, "crop must be above 0"),
        ({"crop": 1.5}, "crop must be above 0"),
        ({"crop": "all"}, "crop must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(CHANNELS, **changes)


# --- Files ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff"])
@pytest.mark.parametrize("how", [GREY, COLOUR, STANDARDIZED])
def test_an_image_of_the_right_size_is_taken_as_it_is(tmp_path: Path, how: Preprocessing, suffix: str):
    pixels = random_pixels(8, 8, how.channels)
    path = tmp_path / f"image{suffix}"
    Image.fromarray(pixels.squeeze()).save(path)
    y = how.load(path)
    assert y.dtype == np.float32
    assert y.shape == how.input_shape
    np.testing.assert_array_equal(y, how.scale(pixels[None])[0])


def test_a_jpeg_is_read(tmp_path: Path):
    path = tmp_path / "image.jpg"
    Image.new("RGB", (20, 20), (200, 100, 50)).save(path, quality=95)
    y = COLOUR.load(str(path))
    np.testing.assert_allclose(y, np.broadcast_to([2.0, 0.0, -1.0], (8, 8, 3)), atol=0.1)


def test_a_grey_image_becomes_colour_and_the_other_way_round(tmp_path: Path):
    pixels = random_pixels(8, 8)
    path = tmp_path / "grey.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_array_equal(COLOUR.load(path), COLOUR.scale(np.stack([pixels] * 3, axis=-1)[None])[0])
    Image.fromarray(np.stack([pixels] * 3, axis=-1)).save(path)
    np.testing.assert_array_equal(GREY.load(path), GREY.scale(pixels[None, ..., None])[0])


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK"])
def test_other_kinds_of_images_are_read(tmp_path: Path, mode: str):
    path = tmp_path / ("image.tiff" if mode == "CMYK" else "image.png")
    Image.new("RGB", (9, 9), "white").convert(mode).save(path)
    for how in (GREY, COLOUR):
        np.testing.assert_allclose(how.load(path), np.full(how.input_shape, 3.1), atol=1e-6)


@pytest.mark.parametrize("how", [GREY, COLOUR])
def test_sixteen_bits_mean_the_same_as_eight(tmp_path: Path, how: Preprocessing):
    pixels = random_pixels(8, 8)
    eight, sixteen = tmp_path / "8.png", tmp_path / "16.png"
    Image.fromarray(pixels).save(eight)
    Image.fromarray(pixels.astype(np.uint16) * 257).save(sixteen)
    np.testing.assert_allclose(how.load(sixteen), how.load(eight), atol=0.021)


@pytest.mark.parametrize(("width", "height"), [(16, 8), (8, 16), (24, 16)])
def test_the_centre_is_taken(tmp_path: Path, width: int, height: int):
    """A white square in the middle fills the result, whatever is next to it; Pillow's filter may look one pixel over."""
    side = min(width, height)
    pixels = np.zeros((height, width), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    pixels[top : top + side, left : left + side] = 255
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    np.testing.assert_allclose(GREY.load(path)[1:-1, 1:-1], np.full((6, 6, 1), 3.1), atol=1e-6)


def test_proportions_other_than_square_are_kept(tmp_path: Path):
    how = replace(GREY, height=4, width=8)
    path = tmp_path / "image.png"
    pixels = random_pixels(4, 8)
    Image.fromarray(np.concatenate([np.zeros((2, 8), np.uint8), pixels, np.zeros((2, 8), np.uint8)])).save(path)
    np.testing.assert_array_equal(how.load(path), how.scale(pixels[None, ..., None])[0])


def test_a_crop_takes_that_share_of_the_centre(tmp_path: Path):
    """0.5 of a 32x32 image is its inner 16x16, which at 16x16 needs no resizing."""
    pixels = random_pixels(32, 32, 3)
    path = tmp_path / "image.png"
    Image.fromarray(pixels).save(path)
    how = Preprocessing(16, 16, 3, mean=0.0, std=1.0, crop=0.5)
    np.testing.assert_array_equal(how.load(path), pixels[8:24, 8:24])


def inside(box: tuple[float, ...], width: int, height: int) -> bool:
    left, top, right, bottom = (float(np.float32(value)) for value in box)  # as Pillow takes them
    return 0 <= left <= right <= width and 0 <= top <= bottom <= height


def test_no_centre_leaves_its_image():
    """Every shorter side, at every size of input; on one axis, since the other is computed alike."""
    outside = []
    for size in range(8, 513):
        how = Preprocessing(size, size, 1)
        for side in range(1, 2001):
            left, top, right, bottom = how.centre(side, side + 82)
            if left < 0 or right > side or abs(left + right - side) > 1e-9 or abs(top + bottom - side - 82) > 1e-9:
                outside.append((side, size))
    assert outside == []


@settings(deadline=None, max_examples=500)
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 600), st.integers(1, 600), st.floats(0.01, 1))
def test_no_centre_of_other_proportions_leaves_its_image(width: int, height: int, wide: int, high: int, share: float):
    how = Preprocessing(high, wide, 1)
    left, top, right, bottom = box = how.centre(width, height, share)
    assert inside(box, width, height)
    assert (right - left) / (bottom - top) == pytest.approx(wide / high, rel=1e-6)
    assert max((right - left) / width, (bottom - top) / height) == pytest.approx(share, rel=1e-6)


@pytest.mark.parametrize(
    ("width", "height", "size"), [(246, 328, 224), (328, 246, 224), (29, 40, 28), (500, 500, 240), (123, 1, 56)]
)
def test_an_ordinary_picture_is_cropped(tmp_path: Path, width: int, height: int, size: int):
    path = tmp_path / "image.jpg"
    Image.new("RGB", (width, height), "white").save(path, quality=95)
    how = Preprocessing(size, size, 3, mean=0.0, std=1.0)
    np.testing.assert_allclose(how.load(path), np.full(how.input_shape, 255), atol=2)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_camera_held_upside_down_is_turned_upright(tmp_path: Path, orientation: int):
    """The corner that EXIF says is the first row's first column is white."""
    upright = np.zeros((16, 16), np.uint8)
    upright[:8, :8] = 255
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: np.rot90(upright, 2).T,
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.jpg"
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, quality=100)
    how = Preprocessing(16, 16, 1, mean=0.0, std=1.0)
    np.testing.assert_allclose(how.load(path)[..., 0], upright, atol=4)


def test_a_large_jpeg_is_decoded_small_and_looks_the_same(tmp_path: Path):
    """Down to twice the size that is needed; the difference stays within two grey levels on average."""
    smooth = Image.fromarray(random_pixels(12, 16, 3)).resize((1600, 1200), Image.Resampling.BICUBIC)
    path = tmp_path / "image.jpg"
    smooth.save(path, quality=95)
    how = Preprocessing(64, 64, 3, mean=0.0, std=1.0)
    assert how.open(path).size == (200, 150)
    with Image.open(path) as whole:
        wanted = how.pixels(whole.convert("RGB")).astype(float)
    assert np.abs(how.load(path) - wanted).mean() < 2


def error_of(path: Any, how: Preprocessing = GREY) -> str:
    with pytest.raises(ElLarqError) as caught:
        how.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message


def test_a_text_file_is_not_an_image(tmp_path: Path):
    path = tmp_path / "image.png"
    path.write_text("not an image at all\n" * 20)
    assert "not an image" in error_of(path)


def test_an_empty_file_is_not_an_image(tmp_path: Path):
    path = tmp_path / "image.png"
    path.touch()
    assert "not an image" in error_of(path)


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path: Path, share: float, suffix: str):
    path = tmp_path / f"image{suffix}"
    Image.fromarray(random_pixels(64, 64, 3)).save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    error_of(path)


def test_an_altered_file_is_refused_or_read(tmp_path: Path):
    path = tmp_path / "image.png"
    Image.fromarray(random_pixels(16, 16)).save(path)
    content = path.read_bytes()
    for position in range(8, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
        with contextlib.suppress(ElLarqError):
            GREY.load(path)


def test_a_folder_is_refused(tmp_path: Path):
    assert "Is a directory" in error_of(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path):
    assert "No such file" in error_of(tmp_path / "nowhere.png")


def test_an_image_that_declares_too_many_pixels_is_refused_unread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "image.png"
    Image.new("L", (40, 30)).save(path)
    monkeypatch.setattr(preprocessing, "MAX_PIXELS", 1000)
    assert "40x30 pixels is more than 1000" in error_of(path)


def test_a_bomb_is_refused(tmp_path: Path):
    """A file that declares more than Pillow itself would open."""
    path = tmp_path / "image.png"
    Image.new("1", (20_000, 20_000)).save(path)
    error_of(path)


def test_a_format_for_which_pillow_starts_a_program_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript, which is an interpreter of programs."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    path = tmp_path / "picture.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(EXECUTED) (w) file closefile\n")
    with pytest.raises(ElLarqError, match="not an image that can be read"):
        open_image(path)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".tif", ".webp", ".ppm"])
def test_the_formats_that_folders_take_are_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    Image.new("RGB", (9, 8), (200, 100, 50)).save(path)
    assert open_image(path).size == (9, 8)

"""RandAugment against Pillow's own functions, and that it is a function of seed and position."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from el_larq.data import random_augment
from el_larq.data.random_augment import RandomAugment


def _photo(channels: int = 3, size: int = 24) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    bands = [(7 * x + 3 * y * (band + 1) + 40 * band) % 256 for band in range(channels)]
    return np.stack(bands, -1).astype(np.uint8)


def _apply(name: str, magnitude: float, sign: float = 1.0, channels: int = 3) -> np.ndarray:
    pixels = _photo(channels)
    image = Image.fromarray(pixels if channels == 3 else pixels[..., 0])
    return np.asarray(random_augment._OPERATIONS[name](image, magnitude, sign)).reshape(pixels.shape)


def test_an_image_depends_on_seed_and_position_alone():
    images = np.stack([_photo()] * 6)
    augment = RandomAugment(2, 0.5)
    whole = augment.batch(images, 3, 40)
    np.testing.assert_array_equal(whole[2:], augment.batch(images[2:], 3, 42))
    assert len({image.tobytes() for image in whole}) > 1
    assert (augment.batch(images, 4, 40) != whole).any()


def test_all_operations_occur():
    images = np.stack([_photo()] * 200)
    found = {image.tobytes() for image in RandomAugment(1, 0.5).batch(images, 0, 0)}
    possible = {_apply(name, 0.5, sign).tobytes() for name in random_augment._OPERATIONS for sign in (-1.0, 1.0)}
    assert found == possible


@pytest.mark.parametrize("channels", [1, 3])
def test_every_operation_keeps_shape_and_type(channels: int):
    for name in random_augment._OPERATIONS:
        for magnitude in (0.0, 0.3, 1.0):
            result = _apply(name, magnitude, -1.0, channels)
            assert result.shape == (24, 24, channels), name
            assert result.dtype == np.uint8, name


@pytest.mark.parametrize(
    "name",
    [n for n in random_augment._OPERATIONS if n not in ("autocontrast", "equalize")],
)
def test_magnitude_0_changes_nothing(name: str):
    np.testing.assert_allclose(_apply(name, 0.0).astype(int), _photo(), atol=1)


def test_operations_do_what_their_names_say():
    photo = _photo()
    moved = _apply("translate_x", 0.5)
    shift = 0.225 * 24  # to the left by 5.4 pixels: interpolated between two columns
    column = 10
    low, high = (photo[:, column + int(shift) + k].astype(float) for k in (0, 1))
    np.testing.assert_allclose(moved[:, column], low + (shift % 1) * (high - low), atol=1.5)
    assert (moved[:, -5:] == 128).all()
    np.testing.assert_array_equal(_apply("solarize", 1.0), 255 - photo)
    np.testing.assert_array_equal(_apply("posterize", 1.0), photo & 0xF0)
    np.testing.assert_array_equal(_apply("equalize", 0.5), np.asarray(ImageOps.equalize(Image.fromarray(photo))))
    assert _apply("brightness", 1.0, -1.0).mean() == pytest.approx(0.1 * photo.mean(), abs=1)
    # A quarter of the largest rotation and back is the image, except for interpolation, far from the border.
    there = Image.fromarray(_photo(1)[..., 0] // 16 + 100)
    back = random_augment._rotated(random_augment._rotated(there, 7.5), -7.5)
    np.testing.assert_allclose(np.asarray(back, int)[9:15, 9:15], np.asarray(there, int)[9:15, 9:15], atol=8)


@pytest.mark.parametrize("size", [8, 9])
def test_rotation_keeps_the_centre(size: int):
    """The centre of mass of a disc in the middle stays there."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    disc = Image.fromarray(np.where(x**2 + y**2 <= (size / 4) ** 2, 255, 128).astype(np.uint8))
    for degrees in (-30.0, 30.0):
        weights = np.abs(np.asarray(random_augment._rotated(disc, degrees), float) - 128)
        assert (weights * x).sum() / weights.sum() == pytest.approx(0, abs=0.05)
        assert (weights * y).sum() / weights.sum() == pytest.approx(0, abs=0.05)

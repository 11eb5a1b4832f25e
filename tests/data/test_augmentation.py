import numpy as np
import pytest
from image_folders import pixels
from PIL import Image

from el_larq.data.augmentation import Augmentation, uniform
from el_larq.data.preprocessing import Preprocessing

HOW = Preprocessing(16, 16, 3, mean=0.0, std=1.0)


def ramp() -> Image.Image:
    """32x32; red is the column, green the row, both times 8."""
    y, x = np.mgrid[:32, :32]
    return Image.fromarray(np.stack([8 * x, 8 * y, np.full_like(x, 100)], axis=-1).astype(np.uint8))


def many(how: Augmentation, image: Image.Image, count: int = 300) -> np.ndarray:
    return np.stack([how.pixels(image, HOW, 1, position) for position in range(count)])


def test_random_numbers_are_the_same_for_ever() -> None:
    """Philox4x64-10 with key (7, 3), counter 1, as its authors publish it; the upper 53 bits of each word."""
    assert uniform(7, 3, 2).tolist() == pytest.approx(reference_philox(7, 3)[:2], abs=0)
    assert uniform(-1, 3, 1)[0] != uniform(1, 3, 1)[0]
    draws = np.stack([uniform(0, position, 4) for position in range(4000)])
    np.testing.assert_allclose(draws.mean(axis=0), 0.5, atol=0.02)
    assert np.abs(np.corrcoef(draws.T) - np.eye(4)).max() < 0.06


def reference_philox(first: int, second: int) -> list[float]:
    """Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (2011), written from the paper."""
    mask = 2**64 - 1
    counter, key = [1, 0, 0, 0], [first, second]
    for _ in range(10):
        a, b = counter[0] * 0xD2E7470EE14C6C93, counter[2] * 0xCA5A826395121157
        counter = [(b >> 64) ^ counter[1] ^ key[0], b & mask, (a >> 64) ^ counter[3] ^ key[1], a & mask]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return [(word >> 11) / 2**53 for word in counter]


def test_nothing_is_what_testing_takes() -> None:
    image = Image.fromarray(pixels(1, 40, 30))
    assert (many(Augmentation(), image, 3) == HOW.pixels(image)).all()


def test_one_key_gives_one_image() -> None:
    how = Augmentation(mirror=True, area=(0.08, 1.0), pad=2)
    a, b = (how.pixels(ramp(), HOW, 5, 9) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, how.pixels(ramp(), HOW, 5, 10))
    assert not np.array_equal(a, how.pixels(ramp(), HOW, 6, 9))


def test_half_are_mirrored() -> None:
    image = HOW.pixels(ramp())
    kinds = [np.array_equal(x, image[:, ::-1]) for x in many(Augmentation(mirror=True), ramp())]
    assert all(
        np.array_equal(x, image) or mirrored for x, mirrored in zip(many(Augmentation(mirror=True), ramp()), kinds, strict=True)
    )
    assert 110 < sum(kinds) < 190


def test_padding_shifts_by_each_amount_and_fills_with_black() -> None:
    image = HOW.pixels(ramp())
    padded = np.zeros((20, 20, 3), np.uint8)
    padded[2:18, 2:18] = image
    windows = {padded[y : y + 16, x : x + 16].tobytes() for y in range(5) for x in range(5)}
    assert {x.tobytes() for x in many(Augmentation(pad=2), ramp())} == windows


def test_parts_have_the_areas_and_proportions_asked_for() -> None:
    """On a ramp, the range of red is the part's width and that of green its height."""
    taken = many(Augmentation(area=(0.25, 1.0)), ramp(), 400).astype(float)
    ranges = (taken.max(axis=(1, 2)) - taken.min(axis=(1, 2)))[:, :2] / 8
    width, height = ranges.T * 16 / 15  # between centres of the outermost pixels of 16
    area, aspect = width * height / 32**2, width / height
    assert 0.2 < area.min() < 0.35
    assert 0.85 < area.max() < 1.1
    assert 0.7 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.45
    assert abs(np.median(area) - 0.6) < 0.1


def test_an_image_too_narrow_for_any_part_gives_its_centre() -> None:
    image = Image.fromarray(pixels(1, 8, 400))
    np.testing.assert_array_equal(Augmentation(area=(0.9, 1.0)).pixels(image, HOW, 0, 0), HOW.pixels(image))


@pytest.mark.parametrize("shape", [(3280, 246), (246, 3280)])
def test_the_centre_of_a_narrow_image_stays_within_it(shape: tuple[int, int]) -> None:
    """246 / 224 * 224 is above 246 by rounding."""
    image = Image.fromarray(pixels(1, *shape))
    how = Preprocessing(224, 224, 3, mean=0.0, std=1.0)
    np.testing.assert_array_equal(Augmentation(area=(0.99, 1.0)).pixels(image, how, 0, 0), how.pixels(image))

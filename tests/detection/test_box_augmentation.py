"""SSD's augmentation: boxes stay on what they are of, and everything is a function of (seed, position)."""

import numpy as np
import pytest
from PIL import Image

from el_larq.data.preprocessing import Preprocessing
from el_larq.detection.annotations import Objects
from el_larq.detection.box_augmentation import BoxAugmentation
from el_larq.detection.boxes import areas

HOW = Preprocessing(60, 80, 3, (10.0, 20.0, 30.0), (1.0, 1.0, 1.0), stretch=True)
BOXES = np.array([[0.1, 0.1, 0.5, 0.4], [0.55, 0.3, 0.95, 0.9]])
TRUTH = Objects(BOXES, np.array([0, 1]), np.zeros(2, bool))
GEOMETRY = BoxAugmentation(colour=False)


def picture() -> Image.Image:
    """A white image with a red and a blue rectangle, the objects."""
    pixels = np.full((200, 300, 3), 255, np.uint8)
    for box, colour in zip(BOXES, ((255, 0, 0), (0, 0, 255)), strict=True):
        top, left, bottom, right = np.round(box * (200, 300, 200, 300)).astype(int)
        pixels[top:bottom, left:right] = colour
    return Image.fromarray(pixels)


@pytest.mark.parametrize("augmentation", [GEOMETRY, BoxAugmentation(False, 1), BoxAugmentation(False, cuts=False)])
def test_boxes_follow_the_pixels(augmentation: BoxAugmentation) -> None:
    colours = np.array([[255, 0, 0], [0, 0, 255]])
    for position in range(60):
        pixels, objects = augmentation.apply(picture(), TRUTH, HOW, 3, position)
        assert pixels.shape == HOW.input_shape
        for box, number in zip(objects.boxes, objects.classes, strict=True):
            mask = (abs(pixels.astype(int) - colours[number]) < 60).all(axis=-1)
            rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
            if len(rows) and areas(box) > 0.002:
                seen = np.array([rows[0] / 60, columns[0] / 80, (rows[-1] + 1) / 60, (columns[-1] + 1) / 80])
                np.testing.assert_allclose(seen, box, atol=2.5 / 60)


def test_each_of_its_parts_occurs() -> None:
    results = [GEOMETRY.apply(picture(), TRUTH, HOW, 0, position) for position in range(80)]
    background = [(pixels == (10, 20, 30)).all(axis=-1).mean() for pixels, _ in results]
    assert 0.2 < np.mean(np.array(background) > 0.01) < 0.7  # zoomed out
    assert 0.05 < np.mean([len(objects) < 2 for _, objects in results]) < 0.9  # cut
    plain = BoxAugmentation(False, 1, False)
    left = [plain.apply(picture(), TRUTH, HOW, 0, position)[1].boxes[0, 1] for position in range(80)]
    assert set(np.round(left, 6)) == {0.1, 0.6}
    assert 0.38 < np.mean(np.round(left, 6) == 0.6) < 0.62  # mirrored


def test_colours_change_without_moving_boxes() -> None:
    plain, _ = BoxAugmentation(False, 1, False, False).apply(picture(), TRUTH, HOW, 0, 0)
    changed = [BoxAugmentation(True, 1, False, False).apply(picture(), TRUTH, HOW, 0, position) for position in range(40)]
    assert all(np.array_equal(objects.boxes, BOXES) for _, objects in changed)
    same = [np.array_equal(pixels, plain) for pixels, _ in changed]
    assert 0 < sum(same) < 10  # each of four changes is made with probability 1/2


def test_the_canvas_has_the_mean_colour_whatever_colours_change() -> None:
    """Without cuts, an image that is zoomed out covers at most two of the corners, except where it fills the canvas."""
    zoomed = 0
    for position in range(40):
        plain, _ = BoxAugmentation(False, 4, False, False).apply(picture(), TRUTH, HOW, 0, position)
        changed, _ = BoxAugmentation(True, 4, False, False).apply(picture(), TRUTH, HOW, 0, position)
        canvas = (plain == (10, 20, 30)).all(axis=-1)
        assert (changed[canvas] == (10, 20, 30)).all()
        if canvas.any():
            zoomed += 1
            assert canvas[[0, 0, -1, -1], [0, -1, 0, -1]].any()
    assert 10 < zoomed < 30


def test_it_is_a_function_of_seed_and_position() -> None:
    first, again, other = (BoxAugmentation().apply(picture(), TRUTH, HOW, seed, 5) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1].boxes, again[1].boxes)
    assert not np.array_equal(first[0], other[0])


def test_objects_are_never_empty_and_an_image_without_any_is_augmented_too() -> None:
    for position in range(25):
        pixels, objects = BoxAugmentation().apply(picture(), Objects(), HOW, 0, position)
        assert pixels.shape == HOW.input_shape
        assert len(objects) == 0
        _, objects = BoxAugmentation().apply(picture(), TRUTH, HOW, 0, position)
        assert (areas(objects.boxes) > 0).all()
        assert ((objects.boxes >= 0) & (objects.boxes <= 1)).all()


@pytest.mark.parametrize(
    "how", [Preprocessing(32, 32, 1, stretch=True), Preprocessing(32, 32, 3, (1.0, 2.0, 3.0), (1.0, 1.0, 1.0), 1.0, "bgr")]
)
def test_grey_and_bgr_inputs(how: Preprocessing) -> None:
    image = picture().convert("L") if how.channels == 1 else picture()
    filled = set()
    for position in range(30):
        pixels, _ = BoxAugmentation(colour=how.channels == 1).apply(image, TRUTH, how, 0, position)
        assert pixels.shape == how.input_shape
        filled |= {tuple(pixels[0, 0].tolist()), tuple(pixels[-1, -1].tolist())}
    assert ((128,) if how.channels == 1 else (3, 2, 1)) in filled  # images are RGB until they are scaled

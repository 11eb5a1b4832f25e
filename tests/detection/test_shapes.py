"""Version 1 of `shapes` is frozen: a failure here is a new version of the data set, or a mistake."""

import hashlib

import numpy as np
import pytest

from el_larq.data.dataset_registry import load_dataset
from el_larq.detection import shapes
from el_larq.detection.detection_set import DetectionSet

IMAGES = "aff62d2260a1bbd4"
BOXES = "64ff8c5a52ea02b2"


@pytest.fixture(scope="module")
def data() -> DetectionSet:
    return shapes.load()


def test_images_are_bit_for_bit_those_of_version_1() -> None:
    pixels = [shapes.draw_image(split, number) for split in shapes.COUNTS for number in range(0, shapes.COUNTS[split], 100)]
    assert hashlib.sha256(b"".join(image.tobytes() for image in pixels)).hexdigest()[:16] == IMAGES


def test_boxes_are_those_of_version_1(data: DetectionSet) -> None:
    digest = hashlib.sha256()
    for split in (data.train, data.test):
        for index in range(len(split)):
            objects = split.objects(index)
            digest.update(np.round(objects.boxes * 3e4).astype(np.int64).tobytes() + objects.classes.tobytes())
    assert digest.hexdigest()[:16] == BOXES


def test_what_the_description_says_of_objects(data: DetectionSet) -> None:
    assert data.labels == ("cross", "disc", "ring", "square", "triangle")
    assert (len(data.train), len(data.test)) == (1200, 300)
    sides, counts = [], []
    for split in (data.train, data.test):
        for index in range(len(split)):
            boxes = split.objects(index).boxes * shapes.SIDE
            assert ((boxes > -1e-9) & (boxes < shapes.SIDE + 1e-9)).all()
            sides += (boxes[:, 2:] - boxes[:, :2]).max(axis=1).tolist()
            counts.append(len(boxes))
    assert 24 - 1e-9 <= min(sides) < 25
    assert 190 < max(sides) <= 200 + 1e-9
    assert (min(counts), max(counts)) == (1, 6)
    assert min(data.class_counts()["train"]) > 700


@pytest.mark.parametrize("number", range(5))
def test_a_box_is_the_extent_of_its_shape(number: int) -> None:
    for angle in np.linspace(0, 6, 7):
        shape = shapes.DrawnShape(number, 150.3, 140.8, 60.0, angle, (0, 0, 0))
        rows, columns = np.mgrid[0:300, 0:300] + 0.5
        mask = shape.covers(rows, columns)
        seen_rows, seen_columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        seen = [seen_rows[0], seen_columns[0], seen_rows[-1] + 1, seen_columns[-1] + 1]
        np.testing.assert_allclose(seen, shape.extent, atol=2.5)
        window, part = shape.mask(1)
        assert part.sum() == mask.sum()
        np.testing.assert_array_equal(mask[window], part)


def test_at_most_half_of_an_object_is_covered() -> None:
    most = 0.0
    for number in range(60):
        scene = shapes._scene("train", number)
        owner = np.full((300, 300), -1)
        for index, shape in enumerate(scene):
            window, mask = shape.mask(1)
            owner[window][mask] = index
        for index, shape in enumerate(scene):
            most = max(most, 1 - (owner == index).sum() / shape.mask(1)[1].sum())
    # Measured on every second pixel of every second row, so up to a few percents more.
    assert 0.3 < most < 0.55


def test_the_halves_of_photographs_do_not_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    half = np.zeros((300, 600, 3), np.uint8)
    half[:, 300:] = 200
    monkeypatch.setattr(shapes, "_photographs", lambda: (half,))
    random = np.random.RandomState(0)
    assert {shapes._part("train", random).max() for _ in range(20)} == {0}
    assert {shapes._part("test", random).min() for _ in range(20)} == {200}


def test_other_sizes_have_the_same_boxes(data: DetectionSet) -> None:
    small = load_dataset("shapes", 96, task="detection")
    assert isinstance(small, DetectionSet)
    assert small.preprocessing.input_shape == (96, 96, 3)
    np.testing.assert_array_equal(small.train.objects(3).boxes, data.train.objects(3).boxes)
    held = small.hold_out(0.1)
    assert (held.train_size, held.validation_size) == (1080, 120)

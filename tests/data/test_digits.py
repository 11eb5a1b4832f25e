import hashlib
from typing import Any

import numpy as np
import pytest

from el_larq.data import digits
from el_larq.data.dataset_registry import load_dataset


@pytest.fixture(scope="module")
def data() -> Any:
    return digits.load()


def test_its_counts_and_shapes(data: Any):
    assert (len(data.train), len(data.test), data.num_classes) == (1347, 450, 10)
    assert data.train.images.shape == (1347, 16, 16, 1)
    assert data.train.images.dtype == np.uint8
    assert data.train.labels.dtype == np.int64
    assert data.labels == tuple("0123456789")
    assert (data.shift, data.mirror) == (1, False)


def test_a_quarter_of_each_class_is_for_testing(data: Any):
    total = np.bincount(np.concatenate([data.train.labels, data.test.labels]))
    np.testing.assert_array_equal(np.bincount(data.test.labels), np.round(total * 0.25))


def test_no_training_image_is_a_test_image(data: Any):
    assert not {image.tobytes() for image in data.train.images} & {image.tobytes() for image in data.test.images}


def test_version_1_is_frozen():
    """At the digits' own size, where nothing is interpolated."""
    data = digits.load(8)
    parts = data.train.images, data.test.images, data.train.labels, data.test.labels
    content = b"".join(part.tobytes() for part in parts)
    assert data.version == 1
    assert hashlib.sha256(content).hexdigest() == "6356188eb13c400e659d34bb8e0d680a1b7fe4dd8a2fd21b90c027fe38a34d9a"


def test_its_scale_is_that_of_its_training_images(data: Any):
    assert data.preprocessing.mean == pytest.approx(data.train.images.mean(), abs=1e-3)
    assert data.preprocessing.std == pytest.approx(data.train.images.std(), abs=1e-3)
    scaled = data.preprocessing.scale(data.train.images)
    assert (scaled.mean(), scaled.std()) == (pytest.approx(0, abs=1e-3), pytest.approx(1, abs=1e-3))


@pytest.mark.parametrize("size", [8, 12, 32])
def test_other_sizes_hold_the_same_digits(data: Any, size: int):
    other = load_dataset("digits", size)
    assert other.preprocessing.input_shape == (size, size, 1)
    assert other.train.images.shape == (1347, size, size, 1)
    np.testing.assert_array_equal(other.train.labels, data.train.labels)


def test_every_load_gives_the_same(data: Any):
    again = digits.load()
    np.testing.assert_array_equal(again.train.images, data.train.images)
    np.testing.assert_array_equal(again.test.labels, data.test.labels)

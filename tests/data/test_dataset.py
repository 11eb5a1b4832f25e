from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest

from el_larq.data.dataset import BatchShare
from el_larq.data.dataset_registry import DATASETS, load_dataset
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.random_augment import RandomAugment
from el_larq.errors import UsageError

SIZE = 22


def make_data(**changes: Any) -> InMemory:
    """Images that differ, each with a label of its own, so that one can see which was drawn."""
    images = np.random.default_rng(0).integers(0, 256, (SIZE, 6, 6, 1)).astype(np.uint8)
    split = Split(images, np.arange(SIZE))
    names = tuple(f"class {index}" for index in range(SIZE))
    return replace(InMemory("numbered", 1, names, Preprocessing(6, 6, 1), split, split, shift=1, mirror=True), **changes)


def batches(data: InMemory, *arguments: Any, **options: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x.numpy(), y.numpy()) for x, y in data.training_batches(*arguments, **options)]


def assert_equal(a: list[tuple[np.ndarray, np.ndarray]], b: list[tuple[np.ndarray, np.ndarray]]) -> None:
    assert len(a) == len(b)
    for (x, y), (u, v) in zip(a, b, strict=True):
        np.testing.assert_array_equal(y, v)
        assert x.tobytes() == u.tobytes()


# --- Training batches -----------------------------------------------------------------------------------------------------


def test_batches_have_the_shape_of_the_networks_input():
    stream = batches(make_data(), 4, 2, seed=0)
    assert len(stream) == 2 * (SIZE // 4)
    for x, y in stream:
        assert (x.shape, x.dtype) == ((4, 6, 6, 1), np.float32)
        assert (y.shape, y.dtype) == ((4,), np.int64)


@pytest.mark.parametrize("start", [0, 1, 4, 5, 6, 13, 14, 15])
def test_a_stream_that_starts_later_continues_the_undisturbed_one_bit_for_bit(start: int):
    data = make_data()
    assert_equal(batches(data, 4, 3, seed=7, start=start), batches(data, 4, 3, seed=7)[start:])


@pytest.mark.parametrize("augment", [None, RandomAugment(2, 0.5)])
def test_shares_of_workers_together_are_the_batches_of_one(augment: RandomAugment | None):
    data = make_data()
    options: dict[str, Any] = {"seed": 7, "start": 4, "random_augment": augment}
    shares = [batches(data, 6, 3, **options, share=BatchShare(index, 3)) for index in range(3)]
    joined: list[Any] = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in zip(*shares, strict=True)]
    assert_equal(joined, batches(data, 6, 3, **options))


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(UsageError, match="batch size 6 is not divisible by the 4 workers"):
        make_data().training_batches(6, 1, 0, share=BatchShare(0, 4))


def test_one_seed_gives_one_stream():
    assert_equal(batches(make_data(), 4, 2, seed=5), batches(make_data(), 4, 2, seed=5))


def test_two_seeds_differ_in_order_and_augmentation():
    data = make_data()
    a, b = (batches(data, 11, 1, seed=seed) for seed in (0, 1))
    assert [list(y) for _, y in a] != [list(y) for _, y in b]
    assert {x.tobytes() for images, _ in a for x in images} != {x.tobytes() for images, _ in b for x in images}


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_each_epoch_visits_a_permutation(seed: int):
    labels = [y for _, y in batches(make_data(), 11, 4, seed=seed)]
    epochs = [tuple(np.concatenate(labels[index : index + 2])) for index in (0, 2, 4, 6)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(SIZE))
    assert len(set(epochs)) == 4


def test_an_epoch_drops_its_incomplete_batch_and_repeats_nothing():
    stream = [y for _, y in batches(make_data(), 8, 3, seed=0)]
    assert len(stream) == 3 * 2
    for index in (0, 2, 4):
        assert len(set(np.concatenate(stream[index : index + 2]))) == 16


def test_every_image_keeps_its_label():
    data = make_data(shift=0, mirror=False)
    scaled = data.preprocessing.scale(data.train.images)
    for x, y in batches(data, 4, 2, seed=3):
        np.testing.assert_allclose(x, scaled[y], atol=1e-5)


def test_augmentation_shifts_and_mirrors_and_nothing_else():
    data = make_data(preprocessing=Preprocessing(6, 6, 1, mean=0.0, std=1.0))
    seen = set()
    for x, y in batches(data, 11, 6, seed=3):
        for image, label in zip(x, y, strict=True):
            kind = _variant(image[..., 0], data.train.images[label, ..., 0])
            assert kind is not None
            seen.add(kind)
    assert len(seen) == 2 * 3 * 3


def _variant(image: np.ndarray, original: np.ndarray) -> tuple[bool, int, int] | None:
    for mirrored in (False, True):
        padded = np.pad(original[:, ::-1] if mirrored else original, 1, mode="reflect")
        for row in range(3):
            for column in range(3):
                if np.array_equal(image, padded[row : row + 6, column : column + 6]):
                    return mirrored, row, column
    return None


def test_an_image_is_augmented_differently_in_each_epoch():
    stream = batches(make_data(), 22, 8, seed=0)
    versions = {x[list(y).index(0)].tobytes() for x, y in stream}
    assert len(versions) > 3


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(UsageError, match="batch size 23 is larger than the 22 training images of numbered"):
        make_data().training_batches(23, 1, 0)
    assert len(batches(make_data(), 22, 1, seed=0)) == 1


def test_steps_of_an_epoch():
    assert [make_data().steps_per_epoch(size) for size in (1, 4, 11, 22)] == [22, 5, 2, 1]


# --- Test batches ---------------------------------------------------------------------------------------------------------


def test_test_batches_are_the_split_once_in_order_without_augmentation():
    data = make_data()
    images, labels = zip(*[(x.numpy(), y.numpy()) for x, y in data.test_batches(8)], strict=True)
    assert [len(y) for y in labels] == [8, 8, 6]
    np.testing.assert_array_equal(np.concatenate(labels), np.arange(SIZE))
    np.testing.assert_allclose(np.concatenate(images), data.preprocessing.scale(data.test.images), atol=1e-5)


@pytest.mark.parametrize("count", [1, 5, 22, 100])
def test_test_images_are_spread_over_the_split(count: int):
    x, y = make_data().test_images(count)
    assert len(x) == len(y) == len(set(y)) == min(count, SIZE)
    if count > 1:
        assert (y[0], y[-1]) == (0, SIZE - 1)


# --- The registry ---------------------------------------------------------------------------------------------------------


def test_an_unknown_data_set_offers_the_nearest():
    with pytest.raises(UsageError, match="unknown data set 'digit'; did you mean digits"):
        load_dataset("digit")


@pytest.mark.parametrize("size", [7, 1, 0, -32])
@pytest.mark.parametrize("name", [*DATASETS, "dir:nowhere", "tfds:nothing"])
def test_an_image_size_below_the_minimum_is_refused(name: str, size: int):
    with pytest.raises(UsageError, match=f"image size {size} is too small; the minimum is 8"):
        load_dataset(name, size, task=None)


def test_registered_data_sets_say_what_they_are():
    for name, entry in DATASETS.items():
        assert entry.name == name
        assert entry.summary


def test_digits_stream_as_a_data_set():
    data = load_dataset("digits")
    x, y = next(islice(iter(data.training_batches(32, 1, 0)), 1))
    assert (x.shape, y.shape) == ((32, 16, 16, 1), (32,))
    assert 0 <= int(np.min(y)) <= int(np.max(y)) < 10

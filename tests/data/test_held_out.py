"""What is held out of a training split, and which validation split a training has."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_folders import write_class, write_folder

from el_larq.data.dataset_registry import load_dataset
from el_larq.data.indexed import Indexed
from el_larq.data.validation import SPLIT, TEST, apply, choose
from el_larq.errors import ElLarqError, UsageError


def test_a_share_of_each_class_is_held_out_the_same_each_time() -> None:
    data = load_dataset("digits")
    held, again = (load_dataset("digits").hold_out(0.1) for _ in range(2))
    assert held.validation is not None
    assert again.validation is not None
    counts = held.class_counts()
    assert counts["validation"] == [round(0.1 * count) for count in data.class_counts()["train"]]
    np.testing.assert_array_equal(held.validation.images, again.validation.images)
    rows = [split.images.reshape(len(split), -1) for split in (held.train, held.validation, data.train)]
    both, whole = (sorted(map(bytes, part)) for part in (np.concatenate(rows[:2]), rows[2]))
    assert both == whole
    np.testing.assert_array_equal(held.test.images, data.test.images)
    assert sum(len(y) for _, y in held.validation_batches(50)) == held.validation_size == sum(counts["validation"])


def test_images_in_a_folder_are_held_out_and_not_augmented(tmp_path: Path) -> None:
    data = load_dataset(f"dir:{write_folder(tmp_path, count=10)}", 16).hold_out(0.25)
    assert isinstance(data, Indexed)
    assert data.validation is not None
    assert data.class_counts() == {"train": [6, 6, 6], "validation": [2, 2, 2], "test": [2, 2, 2]}
    files = [{split.name(index) for index in range(len(split))} for split in (data.train, data.validation, data.test)]
    assert len(set.union(*files)) == 30
    images = np.concatenate([x.numpy() for x, _ in data.validation_batches(4)])
    for index, image in enumerate(images):
        np.testing.assert_allclose(image, data.preprocessing.load(data.validation.name(index)), atol=1e-5)


def test_each_class_has_an_image_on_both_sides_or_one_line_says_why(
    tmp_path: Path, one_line: Callable[[BaseException], str]
) -> None:
    write_class(tmp_path / "a", 3)
    write_class(tmp_path / "b", 3, first=3)
    data = load_dataset(f"dir:{tmp_path}", 16)
    for share in (0.01, 0.99):
        assert data.hold_out(share).class_counts() == {"train": [1, 1], "validation": [1, 1], "test": [1, 1]}
    (tmp_path / "b" / "003.png").unlink()
    with pytest.raises(UsageError) as caught:
        load_dataset(f"dir:{tmp_path}", 16).hold_out(0.1)
    message = one_line(caught.value)
    assert "1 training image of class 'b', so none can be held out for validation" in message
    assert "--validation 0" in message


def test_the_sets_own_split_is_taken_before_a_share() -> None:
    data = load_dataset("digits")
    own = replace(data, validation=data.train.part(np.arange(20)))
    assert (choose(data, None), choose(data, 0.3), choose(data, 0)) == (0.1, 0.3, 0.0)
    assert (choose(own, None), choose(own, 0)) == (SPLIT, 0.0)
    assert apply(own, SPLIT) is own
    assert apply(own, 0.0).validation is None
    assert apply(data, TEST).validation is data.test
    with pytest.raises(UsageError, match="digits has a validation split; omit --validation"):
        choose(own, 0.1)
    for share in (-0.1, 1.0, float("nan")):
        with pytest.raises(UsageError, match="from 0 to below 1"):
            choose(data, share)
    with pytest.raises(ElLarqError, match="has no validation split, but the run was started with one"):
        apply(data, SPLIT)
    with pytest.raises(ElLarqError, match="validation 'x' is unknown"):
        apply(data, "x")

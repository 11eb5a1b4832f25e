import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from image_folders import assert_equal, batches, pixels, write_class, write_folder
from PIL import Image

from el_larq.data import encoded, image_folder
from el_larq.data.dataset import Dataset
from el_larq.data.dataset_registry import check_dataset, load_dataset
from el_larq.data.indexed import Indexed
from el_larq.errors import ElLarqError, UsageError


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Path]:
    return lambda **options: write_folder(tmp_path / "set", **options)


def load(path: Path, size: int | None = 16, **options: object) -> Indexed:
    data: Dataset = load_dataset(f"dir:{path}", size, **options)  # pyright: ignore[reportCallIssue, reportArgumentType]
    assert isinstance(data, Indexed)
    return data


def names(split: encoded.Encoded) -> list[str]:
    return [os.path.relpath(split.name(index), Path(split.name(index)).parents[1]) for index in range(len(split))]


# --- Layouts --------------------------------------------------------------------------------------------------------------


def test_a_fifth_of_each_class_is_for_testing_and_nothing_is_in_both(make: Callable[..., Path]) -> None:
    data = load(make(count=10))
    assert data.labels == ("a", "b", "c")
    assert data.class_counts() == {"train": [8, 8, 8], "test": [2, 2, 2]}
    assert not set(names(data.train)) & set(names(data.test))


def test_the_split_follows_from_names_not_from_order_or_place(
    make: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make(count=10)
    scan = os.scandir
    here = load(path)
    shutil.copytree(path, tmp_path / "copy")
    monkeypatch.setattr(os, "scandir", lambda place: reversed(list(scan(place))))
    there = load(tmp_path / "copy")
    assert names(here.test) == names(there.test)
    assert names(here.train) == names(there.train)
    assert here.fingerprint == there.fingerprint


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_splits_that_are_there_are_taken(tmp_path: Path, test: str) -> None:
    write_folder(tmp_path / "train", ("x", "y"), 3)
    write_folder(tmp_path / test, ("y", "x"), 2)
    data = load(tmp_path)
    assert data.labels == ("x", "y")
    assert data.class_counts() == {"train": [3, 3], "test": [2, 2]}
    assert all(f"/{test}/" in data.test.name(index) for index in range(4))


@pytest.mark.parametrize(("train", "validation", "test"), [("train", "val", "test"), ("Train", "VALID", "Test")])
def test_a_validation_split_is_neither_trained_nor_tested_on(tmp_path: Path, train: str, validation: str, test: str) -> None:
    for number, name in enumerate((train, validation, test)):
        write_folder(tmp_path / name, ("x", "y"), 4 - number, suffix=f".{('png', 'bmp', 'gif')[number]}")
    lines: list[str] = []
    data = load(tmp_path, notify=lines.append)
    assert data.labels == ("x", "y")
    assert data.class_counts() == {"train": [4, 4], "validation": [3, 3], "test": [2, 2]}
    for folder_name, split in ((train, data.train), (validation, data.validation), (test, data.test)):
        assert all(f"/{folder_name}/" in split.name(index) for index in range(len(split)))  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]
    assert [len(y) for _, y in data.validation_batches(4)] == [4, 2]
    assert lines == []
    before = data.fingerprint
    assert before.startswith("8 + 4 files ")
    (tmp_path / validation / "x" / "000.bmp").rename(tmp_path / validation / "x" / "0.bmp")
    assert load(tmp_path).fingerprint != before


def test_a_folder_next_to_the_splits_is_named(tmp_path: Path) -> None:
    for name in ("train", "test", "dev", ".cache"):
        write_folder(tmp_path / name, ("x", "y"), 2)
    lines: list[str] = []
    assert load(tmp_path, notify=lines.append).validation is None
    assert lines == [f"{tmp_path}: dev/ left out; a folder with train/ takes its images from train/, val/ and test/"]


def test_invalid_splits_are_refused(tmp_path: Path, one_line: Callable[[BaseException], str]) -> None:
    write_folder(tmp_path / "val", ("x", "y"), 2)
    write_folder(tmp_path / "Test", ("x", "y"), 2)
    assert f"{tmp_path}: has Test/, val/ and no train/" in refusal(tmp_path, one_line)
    write_folder(tmp_path / "train", ("x", "y"), 2)
    write_folder(tmp_path / "valid", ("x", "y"), 2)
    assert "val/ and valid/ both contain the validation split" in refusal(tmp_path, one_line)


def test_a_class_may_be_called_as_a_split(tmp_path: Path) -> None:
    write_folder(tmp_path, ("invalid", "valid"), 5)
    assert load(tmp_path).class_counts() == {"train": [4, 4], "test": [1, 1]}


def test_only_train_is_split(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", ("x", "y"), 5)
    assert load(tmp_path).class_counts() == {"train": [4, 4], "test": [1, 1]}


def test_size_and_channels_are_those_of_the_images(tmp_path: Path) -> None:
    write_folder(tmp_path / "colour", height=75, width=90)
    assert load(tmp_path / "colour", None).preprocessing.input_shape == (64, 64, 3)
    for index, name in enumerate("ab"):
        (tmp_path / "grey" / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(pixels(10 * index + number)[..., 0]).save(tmp_path / "grey" / name / f"{number}.png")
    assert load(tmp_path / "grey", None).preprocessing.input_shape == (18, 18, 1)


def test_mean_and_std_are_those_of_the_training_images(make: Callable[..., Path]) -> None:
    data = load(make())
    seen = np.stack([data.preprocessing.pixels(data.train.image(index)) for index in range(data.train_size)]).astype(float)
    how: Any = data.preprocessing
    np.testing.assert_allclose(how.mean, seen.mean(axis=(0, 1, 2)), atol=1e-3)
    np.testing.assert_allclose(how.std, seen.std(axis=(0, 1, 2)), atol=1e-3)


def test_a_relative_folder_becomes_absolute(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = make()
    monkeypatch.chdir(path.parent)
    assert load(Path("set")).name == f"dir:{path}"
    assert load(Path("set")).slug == "set"


# --- One rule -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".tiff", ".gif"])
def test_test_batches_are_what_preprocessing_loads(make: Callable[..., Path], suffix: str) -> None:
    """The pipeline decodes with the same code, so pixels are equal; scaling in TensorFlow differs by rounding."""
    data = load(make(suffix=suffix))
    images = np.concatenate([x.numpy() for x, _ in data.test_batches(2)])
    labels = np.concatenate([y.numpy() for _, y in data.test_batches(2)])
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        np.testing.assert_allclose(image, data.preprocessing.load(data.test.name(index)), atol=1e-5)
        assert data.labels[label] == Path(data.test.name(index)).parent.name
    np.testing.assert_allclose(data.test_images(3)[0], images, atol=1e-5)


def test_unaugmented_training_images_are_what_preprocessing_loads(make: Callable[..., Path]) -> None:
    path = make()
    data = load_dataset(f"dir:{path},augment=none", 16)
    wanted = {data.preprocessing.load(file).astype(np.float16).tobytes(): file.parent.name for file in path.rglob("*.png")}
    seen = 0
    for x, y in data.training_batches(4, 1, seed=0):
        for image, label in zip(x.numpy(), y.numpy(), strict=True):
            near = min(wanted, key=lambda other: np.abs(np.frombuffer(other, np.float16).reshape(image.shape) - image).max())
            assert np.abs(np.frombuffer(near, np.float16).reshape(image.shape) - image).max() < 1e-2
            assert wanted[near] == data.labels[label]
            seen += 1
    assert seen == 12


# --- Exact resume ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [1, 3, 7])
def test_a_later_start_continues_the_undisturbed_stream_bit_for_bit(make: Callable[..., Path], start: int) -> None:
    path = make()
    assert load(path).exact_resume
    assert_equal(batches(load(path), 4, 3, seed=7, start=start), batches(load(path), 4, 3, seed=7)[start:])


def test_what_lies_in_the_cache_changes_nothing(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(suffix=".jpg", height=60, width=80)
    kept = load(path)
    assert len(kept.train.cache.images) == 15
    cached = batches(kept, 4, 2, seed=1)
    monkeypatch.setattr(image_folder, "CHECK_BYTES", 0)
    data = load(path)
    data.train.cache.limit = 3000  # room for one at most
    data.train.cache.images.clear()
    assert_equal(batches(data, 4, 2, seed=1), cached)
    assert len(data.train.cache.images) <= 1


def test_a_large_picture_is_decoded_when_it_is_needed(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(encoded, "KEPT_BYTES", 30 * 40 * 4 + 200)
    write_class(make(height=30, width=40) / "d", 5, 50, height=30, width=41)
    assert len(load(tmp_path / "set").train.cache.images) == 15


def test_each_image_once_an_epoch_and_never_twice_the_same(make: Callable[..., Path]) -> None:
    stream = batches(load(make()), 12, 3, seed=0)
    assert [sorted(y) for _, y in stream] == [[0] * 4 + [1] * 4 + [2] * 4] * 3
    assert len({image.tobytes() for x, _ in stream for image in x}) == 36


def test_a_changed_folder_has_another_fingerprint(make: Callable[..., Path]) -> None:
    path = make()
    before = load(path).fingerprint
    assert before == load(path).fingerprint
    (path / "a" / "000.png").rename(path / "a" / "0.png")
    assert load(path).fingerprint != before


# --- Wrong input ----------------------------------------------------------------------------------------------------------


def refusal(path: Path, one_line: Callable[[BaseException], str], kind: type[ElLarqError] = UsageError) -> str:
    with pytest.raises(kind) as caught:
        load(path)
    return one_line(caught.value)


def test_wrong_folders_are_named(tmp_path: Path, one_line: Callable[[BaseException], str]) -> None:
    assert f"{tmp_path / 'none'}: no such folder" in refusal(tmp_path / "none", one_line)
    with pytest.raises(UsageError, match="no such folder"):
        check_dataset(f"dir:{tmp_path / 'none'}")
    assert "no images in folders, one per class" in refusal(tmp_path, one_line)
    write_class(tmp_path / "cat", 3)
    assert "only one class, 'cat'" in refusal(tmp_path, one_line)
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "notes.txt").touch()
    assert f"{tmp_path / 'dog'}: a class without images" in refusal(tmp_path, one_line)
    Image.fromarray(pixels(9)).save(tmp_path / "dog" / "9.png")
    assert f"{tmp_path / 'dog'}: contains one image" in refusal(tmp_path, one_line)
    with pytest.raises(UsageError, match="dir: does not name a folder"):
        load_dataset("dir:")


def test_classes_that_differ_between_splits_are_named(tmp_path: Path, one_line: Callable[[BaseException], str]) -> None:
    write_folder(tmp_path / "train", ("a", "b", "c"), 1)
    write_folder(tmp_path / "test", ("a", "b"), 1)
    assert "train/ contains classes missing from test/: c;" in refusal(tmp_path, one_line)
    write_class(tmp_path / "test" / "c", 1)
    write_class(tmp_path / "test" / "d", 1)
    assert "test/ contains classes missing from train/: d;" in refusal(tmp_path, one_line)


def test_a_batch_larger_than_the_data_is_refused(make: Callable[..., Path]) -> None:
    with pytest.raises(UsageError, match="batch size 13 is larger than the 12 training images of dir:"):
        load(make()).training_batches(13, 1, 0)


# --- Images that cannot be read -------------------------------------------------------------------------------------------


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def test_unreadable_images_are_named_left_out_and_counted(make: Callable[..., Path], one_line: Callable[..., str]) -> None:
    path = make()
    damage(path / "a" / "000.png")
    (path / "b" / "005.png").write_text("no image")
    lines: list[str] = []
    data = load(path, notify=lines.append)
    assert data.skipped == (str(path / "a" / "000.png"), str(path / "b" / "005.png"))
    assert data.train_size + data.test_size == 13
    assert any(line.startswith(f"skipped {path / 'a' / '000.png'}: cannot be read as an image") for line in lines)
    assert lines[-1] == "2 of 15 images cannot be read and are left out"
    with pytest.raises(ElLarqError) as caught:
        load(path, strict=True)
    assert ": " in one_line(caught.value)


def test_a_class_of_which_nothing_can_be_read_is_an_error(make: Callable[..., Path], one_line: Callable[..., str]) -> None:
    path = make(count=2)
    for file in (path / "b").iterdir():
        file.write_text("no image")
    assert "no image of class 'b' for train can be read" in refusal(path, one_line, ElLarqError)
    for file in path.rglob("*.png"):
        file.write_text("no image")
    assert "none of its images can be read" in refusal(path, one_line, ElLarqError)


def vanished(make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, strict: bool) -> tuple[Indexed, Path, list[str]]:
    """A set too large to be looked through at the start, one of whose training images goes away afterwards."""
    path = make()
    monkeypatch.setattr(image_folder, "CHECK_BYTES", 0)
    lines: list[str] = []
    data = load(path, strict=strict, notify=lines.append)
    data.train.cache.images.clear()
    victim = Path(data.train.name(5))
    victim.unlink()
    return data, victim, lines


def test_a_file_that_vanishes_is_named_once_and_another_takes_its_place(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, victim, lines = vanished(make, monkeypatch, strict=False)
    with data.reading():
        stream = batches(data, 12, 3, seed=0)
    assert lines == [f"skipped {victim}: cannot be read as an image: No such file or directory"]
    assert data.skipped == (str(victim),)
    assert [len(y) for _, y in stream] == [12, 12, 12]
    assert_equal(batches(data, 12, 3, seed=0, start=1), stream[1:])
    Path(data.test.name(0)).unlink()
    data.test.cache.images.clear()
    assert sum(len(y) for _, y in data.test_batches(2)) == data.test_size - 1


def test_a_file_that_vanishes_ends_a_strict_run_with_one_line(
    make: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, one_line: Callable[..., str]
) -> None:
    data, victim, _ = vanished(make, monkeypatch, strict=True)
    with pytest.raises(ElLarqError) as caught, data.reading():
        batches(data, 12, 1, seed=0)
    assert one_line(caught.value) == f"{victim}: cannot be read as an image: No such file or directory"


def test_an_error_that_is_not_of_the_images_passes_unchanged(make: Callable[..., Path]) -> None:
    with pytest.raises(ZeroDivisionError), load(make()).reading():
        raise ZeroDivisionError

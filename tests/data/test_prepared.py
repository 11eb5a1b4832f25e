"""Sets in the format that TensorFlow Datasets writes, written here by TFDS itself, without a network."""

import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tf_keras
from image_folders import assert_equal, batches, pixels
from PIL import Image

from el_larq.data import prepared
from el_larq.data.dataset import BatchShare, Dataset
from el_larq.data.dataset_registry import check_dataset, load_dataset
from el_larq.data.indexed import Indexed
from el_larq.data.streaming import RecordRange, Streaming, slice_ranges
from el_larq.errors import ElLarqError, UsageError


def jpeg(number: int, height: int = 50, width: int = 60) -> io.BytesIO:
    file = io.BytesIO()
    Image.fromarray(pixels(number, height, width)).save(file, "JPEG")
    file.seek(0)
    return file


@pytest.fixture(scope="session")
def tfds_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """cifar10 and imagenet2012 with a few images each, and three sets of one's own."""
    os.environ["NO_GCE_CHECK"] = "true"
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    tfds.disable_progress_bar()

    class Cifar10(tfds.builder_cls("cifar10"), skip_registration=True):
        def _split_generators(self, dl_manager: Any) -> Any:
            return {"train": self._generate_examples(0, 40), "test": self._generate_examples(100, 12)}

        def _generate_examples(self, first: int, count: int) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
            for number in range(first, first + count):
                yield number, {"id": str(number), "image": pixels(number, 32, 32), "label": number % 10}

    class Imagenet2012(tfds.builder_cls("imagenet2012"), skip_registration=True):
        def _split_generators(self, dl_manager: Any) -> Any:
            splits = {"train": (0, 45), "validation": (100, 12), "test": (200, 3)}
            return {name: self._generate_examples(*numbers) for name, numbers in splits.items()}

        def _generate_examples(self, first: int, count: int) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
            for number in range(first, first + count):
                label = -1 if first == 200 else number % 7
                yield number, {"file_name": f"{number}.JPEG", "image": jpeg(number), "label": label}

    def own(name: str, features: dict[str, Any], **splits: list[dict[str, Any]]) -> type:
        class Own(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            VERSION = tfds.core.Version("1.0.0")

            def _info(self) -> Any:
                return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

            def _split_generators(self, dl_manager: Any) -> Any:
                return {split: self._generate_examples(split) for split in splits}

            def _generate_examples(self, split: str) -> Iterator[Any]:  # pyright: ignore[reportIncompatibleMethodOverride]
                yield from enumerate(splits[split])

        Own.name = name
        return Own

    image, label = tfds.features.Image(shape=(None, None, 3)), tfds.features.ClassLabel(names=["left", "right"])
    pictures = [{"photo": jpeg(number).getvalue(), "side": number % 2} for number in range(20)]
    sets = [
        Cifar10,
        Imagenet2012,
        own("my_set", {"photo": image, "side": label}, train=pictures),
        own("my_splits", {"photo": image, "side": label}, train=pictures, validation=pictures[:6], test=pictures[6:10]),
        own("vectors", {"x": tfds.features.Tensor(shape=(3,), dtype=np.float32)}, train=[{"x": np.zeros(3, np.float32)}]),
    ]
    for builder in sets:
        builder(data_dir=folder).download_and_prepare()  # pyright: ignore[reportCallIssue]
    return folder


@pytest.fixture
def load(tfds_dir: Path) -> Callable[..., Dataset]:
    return lambda name, *arguments, **options: load_dataset(f"{name}@{tfds_dir}", *arguments, **options)


@pytest.fixture
def stream(load: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Streaming]:
    """The same sets as if they were too large for memory."""

    def make(*arguments: Any, **options: Any) -> Streaming:
        monkeypatch.setattr(prepared, "MEMORY_BYTES", 0)
        data = load(*arguments, **options)
        assert isinstance(data, Streaming)
        return data

    return make


# --- What a set is --------------------------------------------------------------------------------------------------------


def test_cifar10_has_the_preprocessing_of_its_literature(load: Callable[..., Dataset]) -> None:
    data = load("cifar10")
    assert isinstance(data, Indexed)
    assert (data.train_size, data.test_size, data.num_classes) == (40, 12, 10)
    assert data.preprocessing.input_shape == (32, 32, 3)
    assert (data.augmentation.pad, data.augmentation.mirror, data.augmentation.area) == (4, True, None)
    wanted = (pixels(100, 32, 32) - np.array([125.3, 123.0, 113.9])) / np.array([63.0, 62.1, 66.7])
    images, labels = data.test_images(12)
    matches = [label for image, label in zip(images, labels, strict=True) if np.allclose(image, wanted, atol=1e-5)]
    assert matches == [0]


def test_imagenet_is_resized_to_256_and_cropped_to_224(load: Callable[..., Dataset]) -> None:
    """The box that Pillow resizes is the centre crop of the resized image, up to where pixels fall and rounding."""
    data = load("imagenet2012")
    assert (data.train_size, data.test_size, data.num_classes) == (45, 12, 1000)
    assert data.preprocessing.input_shape == (224, 224, 3)
    mean, std = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])
    images, labels = data.test_images(12)
    seen = {}
    for number in range(100, 112):
        with Image.open(jpeg(number)) as opened:
            resized = opened.resize((307, 256), Image.Resampling.BILINEAR)
        cropped = np.asarray(resized.crop((41, 16, 41 + 224, 16 + 224)), float)
        errors = [np.abs(image * std + mean - cropped).mean() for image in images]
        best = int(np.argmin(errors))
        assert errors[best] < 1.5
        seen[best] = number
        assert labels[best] == number % 7
    assert len(seen) == 12


def test_a_users_set_needs_no_code(load: Callable[..., Dataset]) -> None:
    data = load("tfds:my_set", 32)
    assert data.name.startswith("tfds:my_set:1.0.0@")
    assert data.slug == "tfds-my_set"
    assert data.labels == ("left", "right")
    assert (data.train_size, data.test_size) == (16, 4)
    again = load_dataset(data.name, 32)
    assert_equal(batches(again, 4, 1, seed=0), batches(data, 4, 1, seed=0))


def test_a_validation_split_is_neither_trained_nor_tested_on(
    load: Callable[..., Dataset], stream: Callable[..., Streaming]
) -> None:
    """The first of the validation split come first there, and are not the first of the test split."""
    memory, data = load("tfds:my_splits", 16), stream("tfds:my_splits", 16)
    assert (memory.train_size, memory.validation_size, memory.test_size) == (20, 6, 4)
    assert memory.fingerprint == data.fingerprint
    for (x, y), (u, v) in zip(memory.validation_batches(4), data.validation_batches(4), strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    assert not any(np.allclose(x, memory.test_images(4)[0][0]) for batch, _ in memory.validation_batches(4) for x in batch)


def test_imagenet_is_tested_on_its_validation_split_so_validation_is_held_out(
    load: Callable[..., Dataset], stream: Callable[..., Streaming]
) -> None:
    for make, sizes in ((load, (38, 7, 12)), (stream, (36, 9, 12))):  # one of each of 7 classes; the end of a stream
        data = make("imagenet2012", 16)
        assert data.validation is None
        held = data.hold_out(0.2)
        assert (held.train_size, held.validation_size, held.test_size) == sizes
        seen = [label for part in (batches(held, 2, 1, seed=0), held.validation_batches(4)) for _, y in part for label in y]
        np.testing.assert_array_equal(np.bincount(seen), np.bincount(np.arange(45) % 7))


def test_a_set_without_images_is_refused(load: Callable[..., Dataset], one_line: Callable[..., str]) -> None:
    with pytest.raises(UsageError) as caught:
        load("tfds:vectors")
    assert "not images with one class each; its features are x" in one_line(caught.value)


def test_a_missing_set_says_how_to_get_it(tfds_dir: Path, one_line: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, command in (
        ("tfds:beans", "build beans"),
        ("tfds:my_set:2.0.0", "build my_set:2.0.0"),
        ("tfds:food/small", "build food/small"),
        ("cifar100", "build cifar100"),
    ):
        with pytest.raises(ElLarqError) as caught:
            check_dataset(f"{name}@{tfds_dir}")
        assert f"`python -m tensorflow_datasets.scripts.cli.main {command} --data_dir {tfds_dir}`" in one_line(caught.value)
    assert "there is 1.0.0" in error_of(f"tfds:my_set:2.0.0@{tfds_dir}")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir))
    check_dataset("cifar10")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tfds_dir / "none"))
    assert str(tfds_dir / "none") in error_of("cifar10")


def error_of(name: str) -> str:
    with pytest.raises(ElLarqError) as caught:
        check_dataset(name)
    return str(caught.value)


def test_a_damaged_set_is_one_line(tfds_dir: Path, tmp_path: Path, one_line: Callable[..., str]) -> None:
    shutil.copytree(tfds_dir / "my_set", tmp_path / "my_set")
    file = next(tmp_path.rglob("*.tfrecord*"))
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(ElLarqError) as caught:
        load_dataset(f"tfds:my_set@{tmp_path}")
    assert "cannot be read" in one_line(caught.value)
    next(tmp_path.rglob("features.json")).write_text("{")
    with pytest.raises(ElLarqError) as caught:
        load_dataset(f"tfds:my_set@{tmp_path}")
    assert "prepare it again" in one_line(caught.value)


# --- Streams --------------------------------------------------------------------------------------------------------------


def test_a_stream_gives_each_image_once_an_epoch(stream: Callable[..., Streaming]) -> None:
    data = stream("imagenet2012", 16)
    labels = [y for _, y in batches(data, 9, 2, seed=0)]
    assert len(labels) == 10
    wanted = np.bincount(np.arange(45) % 7)
    for epoch in (labels[:5], labels[5:]):
        np.testing.assert_array_equal(np.bincount(np.concatenate(epoch)), wanted)
    assert [list(y) for y in labels[:5]] != [list(y) for y in labels[5:]]


@pytest.mark.parametrize("start", [1, 4, 6])
def test_a_stream_continues_bit_for_bit(stream: Callable[..., Streaming], start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = stream("imagenet2012", 16)
    assert data.exact_resume
    monkeypatch.setattr(type(data.train), "chunk", 20)
    tf_keras.utils.set_random_seed(start)  # as a training does; the stream has a seed of its own
    assert_equal(batches(data, 10, 2, seed=3, start=start), batches(data, 10, 2, seed=3)[start:])


def test_shares_of_a_stream_together_are_its_batches(stream: Callable[..., Streaming]) -> None:
    data = stream("imagenet2012", 16)
    shares = [batches(data, 10, 2, seed=3, start=2, share=BatchShare(index, 2)) for index in (0, 1)]
    joined: list[Any] = [tuple(map(np.concatenate, zip(*parts, strict=True))) for parts in zip(*shares, strict=True)]
    assert_equal(joined, batches(data, 10, 2, seed=3, start=2))


def test_a_stream_tests_as_memory_does(load: Callable[..., Dataset], stream: Callable[..., Streaming]) -> None:
    memory, data = load("imagenet2012", 16), stream("imagenet2012", 16)
    for (x, y), (u, v) in zip(memory.test_batches(5), data.test_batches(5), strict=True):
        np.testing.assert_array_equal(x, u)
        np.testing.assert_array_equal(y, v)
    index = np.array([0, 3, 4, 9, 11])
    wanted, view = memory.test_view(index), data.test_view(index)
    np.testing.assert_array_equal(view[2:4], wanted[2:4])
    np.testing.assert_array_equal(view[0:3], wanted[0:3])
    assert len(view[5:9]) == 0
    np.testing.assert_array_equal(view.labels, wanted.labels)


def test_an_image_of_a_stream_that_cannot_be_read_is_named(
    stream: Callable[..., Streaming], monkeypatch: pytest.MonkeyPatch, one_line: Callable[..., str]
) -> None:
    lines: list[str] = []
    data = stream("cifar10", 16, notify=lines.append)
    monkeypatch.setattr(type(data), "_open", failing(type(data)._open))
    with data.reading():
        assert [len(y) for _, y in batches(data, 8, 2, seed=0)] == [8] * 10
    assert lines == ["skipped cifar10-train.tfrecord-00000-of-00001[7]: damaged"]
    strict = stream("cifar10", 16, strict=True)
    with pytest.raises(ElLarqError) as caught, strict.reading():
        batches(strict, 8, 1, seed=0)
    assert one_line(caught.value) == "cifar10-train.tfrecord-00000-of-00001[7]: damaged"


@pytest.mark.parametrize("how", ["damaged", "short", "gone"])
def test_a_stream_whose_files_are_lost_meanwhile_is_one_line(
    tfds_dir: Path, tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch, one_line: Callable[..., str]
) -> None:
    shutil.copytree(tfds_dir / "my_set", tmp_path / "my_set")
    monkeypatch.setattr(prepared, "MEMORY_BYTES", 0)
    data = load_dataset(f"tfds:my_set@{tmp_path}", 16)
    assert isinstance(data, Streaming)
    file = next(tmp_path.rglob("*.tfrecord*"))
    if how == "gone":
        file.unlink()
    else:
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if how == "damaged" else b"")

    def read() -> None:
        batches = iter(data.training_batches(4, 1, seed=0))
        for _ in range(data.steps_per_epoch(4)):
            batches.get_next()  # as a training step does, where nothing raises StopIteration

    with pytest.raises(ElLarqError) as caught, data.reading():
        read()
    assert one_line(caught.value).startswith(f"{file.parent}: its files cannot be read: ")
    with pytest.raises(ElLarqError) as caught:
        data.test_view(np.array([2]))[0:1]
    assert str(file.parent) in str(caught.value) or "is shorter than it says" in one_line(caught.value)


def failing(open_: Callable[..., Any]) -> Callable[..., Any]:
    def opened(self: Streaming, file: bytes, number: int, image: bytes) -> Any:
        if number == 7 and b"train" in file:
            raise ElLarqError(f"{os.path.basename(file).decode()}[7]: damaged")
        return open_(self, file, number, image)

    return opened


def test_pieces_are_cut_where_asked() -> None:
    pieces = (RecordRange("a", 5, 10), RecordRange("b", 0, 4), RecordRange("c", 0, 10))
    assert slice_ranges(pieces, 0, 24) == pieces
    assert slice_ranges(pieces, 8, 15) == (RecordRange("a", 13, 2), RecordRange("b", 0, 4), RecordRange("c", 0, 1))
    assert slice_ranges(pieces, 14, 24) == (RecordRange("c", 0, 10),)
    assert slice_ranges(pieces, 3, 3) == ()

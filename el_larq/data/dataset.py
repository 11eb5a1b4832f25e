"""The interface of data sets. Its implementations for images are `in_memory`, `indexed` and `streaming`."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from el_larq.data.preprocessing import MIN_STD, Preprocessing
from el_larq.data.random_augment import RandomAugment
from el_larq.data.threads import in_threads
from el_larq.errors import UsageError
from el_larq.printable import printable
from el_larq.tables import html_table

_AHEAD = 2
"""Batches that are prepared while the network computes. tf.data alone may choose more of them, up to half of the memory."""

MAX_SHOWN = 10
"""Number of classes that a data set's table names."""


class View(Protocol):
    """Images that are decoded when a slice of them is taken; reading from front to back is cheapest.

    A slice is uint8 (n, H, W, C). Raises ElLarqError if an image cannot be read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray:
        """The labels of all images, int64 (N,)."""
        ...


@dataclass(frozen=True)
class BatchShare:
    """What one of ``count`` processes reads of each training batch: equal, consecutive parts in the order of ``index``."""

    index: int = 0
    count: int = 1

    def size(self, batch_size: int) -> int:
        """The number of images of the part. Raises UsageError if the parts cannot be equal."""
        if batch_size % self.count:
            raise UsageError(f"batch size {batch_size} is not divisible by the {self.count} workers; choose a multiple")
        return batch_size // self.count


WHOLE_BATCH = BatchShare()


@dataclass(frozen=True)
class Dataset(ABC):
    """A data set with a training split, a test split and, if it has one, a validation split.

    name: the complete name, with absolute folders, from which `load_dataset` loads the data set again.
    preprocessing: how its images become inputs; it is stored on the card of a model trained on the data set.
    validation: the split that is evaluated during training; `el_larq.data.validation` creates one if there is none.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    train: Sized
    test: Sized
    validation: Sized | None = field(default=None, kw_only=True)

    task: ClassVar[str] = "classification"
    """What its labels are for: "classification", one class per image, or "detection", boxes with classes."""

    exact_resume: ClassVar[bool] = True
    """Whether `training_batches` with a later start gives exactly the batches that an uninterrupted stream would give."""

    def __repr__(self) -> str:
        splits = ", ".join(f"{name} {len(split):,}" for name, split in self.splits.items())
        return f"{type(self).__name__}({printable(self.name)!r}: {self.num_classes:,} classes, {splits}, inputs {self._shape})"

    def _repr_html_(self) -> str:
        classes = ", ".join(self.labels[:MAX_SHOWN]) + (", ..." if self.num_classes > MAX_SHOWN else "")
        rows = [
            *((name, f"{len(split):,} images") for name, split in self.splits.items()),
            ("classes", f"{self.num_classes:,}: {classes}"),
            ("inputs", self._shape),
        ]
        return html_table(self.name, rows)

    @property
    def _shape(self) -> str:
        return "x".join(map(str, self.preprocessing.input_shape))

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    @property
    def train_size(self) -> int:
        return len(self.train)

    @property
    def test_size(self) -> int:
        return len(self.test)

    @property
    def validation_size(self) -> int:
        return 0 if self.validation is None else len(self.validation)

    @property
    def splits(self) -> dict[str, Sized]:
        """The splits of this data set, by name."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def slug(self) -> str:
        """A short name for folders."""
        return self.name

    @property
    def fingerprint(self) -> str:
        """A text that changes when the data change; it is compared when a run is resumed."""
        return f"{self.name} version {self.version}"

    @property
    def skipped(self) -> tuple[str, ...]:
        """The names of the images that could not be read so far and were left out."""
        return ()

    @abstractmethod
    def class_counts(self) -> dict[str, list[int]] | None:
        """The number of images per class, by split; None if this would require reading all images."""

    @property
    @abstractmethod
    def augments(self) -> bool:
        """Whether a training image differs from epoch to epoch."""

    @property
    def augmentation_text(self) -> str:
        """A text that changes when the augmentation changes; it is compared between the workers of a training."""
        return str(self.augments)

    @abstractmethod
    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        """Turn a tf.data.Dataset of (index, key) into batches of augmented uint8 images and labels."""

    @abstractmethod
    def _plain_pixels(self, split: Any, batch_size: int) -> Any:
        """One pass over a split, in order and without augmentation, as a tf.data.Dataset of batches of uint8 images and labels."""

    @abstractmethod
    def hold_out(self, share: float) -> Self:
        """This data set with a fraction of the training images as its validation split, always the same images.

        Raises:
            UsageError: there are too few training images for both splits.
        """

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        """This data set with its images prepared in another way. Images that are held in memory keep their pixels."""
        return replace(self, preprocessing=preprocessing)

    def without_validation(self) -> Self:
        """This data set without its validation split."""
        return self if self.validation is None else replace(self, validation=None)

    def validated_by_testing(self) -> Self:
        """This data set with its test split for validation, as in runs of schema 1 and 2."""
        return replace(self, validation=self.test)

    @abstractmethod
    def test_view(self, index: np.ndarray) -> "View":
        """The test images with the given indices, which are in ascending order."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Context for code that reads batches: TensorFlow's error about an unreadable image becomes an ElLarqError of one line."""
        yield

    def training_batches(
        self,
        batch_size: int,
        epochs: int,
        seed: int,
        start: int = 0,
        *,
        random_augment: RandomAugment | None = None,
        share: BatchShare = WHOLE_BATCH,
    ) -> Any:
        """A tf.data.Dataset of (images, labels) batches from global step ``start`` on.

        Everything is a function of the seed and of one number, the position p of a sample in the whole training: epoch
        p // N uses a permutation keyed by (seed, epoch), augmentation is keyed by (seed, p). A run that resumes at
        any step therefore sees the same batches as an uninterrupted one.

        random_augment: applied to the images after the data set's own augmentation.
        share: what to read of each batch; the shares of all processes together are the batches of one.

        Raises:
            UsageError: the batch is larger than the training split, or cannot be shared.
        """
        batches = self.augmented_batches(batch_size, seed, epochs, start, share)
        if random_augment is not None:
            batches = self._random_augmented(batches, random_augment, batch_size, seed, start, share)
        return self._scaled(batches)

    def augmented_batches(
        self, batch_size: int, seed: int, epochs: int = 1, start: int = 0, share: BatchShare = WHOLE_BATCH
    ) -> Any:
        """The batches of `training_batches` before scaling: uint8 images."""
        self.check_batch(batch_size)
        order = _order(self.train_size, batch_size, epochs, seed, start, share)
        return self._train_pixels(order, share.size(batch_size))

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.train_size // batch_size

    def plain_batches(self, split: str, batch_size: int) -> Any:
        """One pass over a split, in order and without augmentation, as a tf.data.Dataset of (images, labels) batches."""
        return self._scaled(self._plain_pixels(self.splits[split], batch_size))

    def test_batches(self, batch_size: int) -> Any:
        """The same for the test split."""
        return self.plain_batches("test", batch_size)

    def validation_batches(self, batch_size: int) -> Any:
        """The same for the validation split; None if there is none."""
        return None if self.validation is None else self.plain_batches("validation", batch_size)

    def test_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """At most ``count`` preprocessed test images at even intervals over the split, and their labels."""
        index = np.linspace(0, self.test_size - 1, min(count, self.test_size)).astype(int)
        view = self.test_view(index)
        return self.preprocessing.scale(view[: len(view)]), view.labels

    def check_batch(self, batch_size: int) -> None:
        """Raise UsageError if the batch is larger than the training split."""
        if batch_size > self.train_size:
            raise UsageError(f"batch size {batch_size} is larger than the {self.train_size} training images of {self.name}")

    def _random_augmented(
        self, batches: Any, augment: RandomAugment, batch_size: int, seed: int, start: int, share: BatchShare
    ) -> Any:
        size = share.size(batch_size)

        def batch(step: np.ndarray, images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return augment.batch(images, seed, int(step) * batch_size + share.index * size), labels

        numbered = batches.enumerate(start).map(lambda step, pair: (step, *pair))
        return in_threads(numbered, batch, self.preprocessing.input_shape, size)

    def _scaled(self, batches: Any) -> Any:
        import tensorflow as tf

        scaled = batches.map(lambda x, y: (scale(self.preprocessing, x), y), num_parallel_calls=tf.data.AUTOTUNE)
        return scaled.prefetch(_AHEAD)


def scale(preprocessing: Preprocessing, images: Any) -> Any:
    """`Preprocessing.scale` in TensorFlow operations; a test compares the two."""
    import tensorflow as tf

    x = tf.cast(images, tf.float32)
    if preprocessing.channel_order == "bgr":
        x = tf.reverse(x, [-1])
    if preprocessing.mean is None or preprocessing.std is None:
        mean, variance = tf.nn.moments(x, axes=[1, 2, 3], keepdims=True)
        return (x - mean) / tf.maximum(tf.sqrt(variance), MIN_STD)
    return (x - preprocessing.mean) / preprocessing.std


def _order(size: int, batch_size: int, epochs: int, seed: int, start: int, share: BatchShare) -> Any:
    """A tf.data.Dataset with (index, key) for each sample of a share, from step ``start`` on; key is (seed, position)."""
    import tensorflow as tf

    key = tf.constant(seed, tf.int64)
    steps = size // batch_size

    def sample(position: Any) -> tuple[Any, Any]:
        permutation = tf.stack([key, position // size])
        shuffle = tf.random.experimental.index_shuffle  # pyright: ignore[reportAttributeAccessIssue]
        return shuffle(position % size, permutation, size - 1), tf.stack([key, position])

    return (
        tf.data.Dataset.range(start, steps * epochs)
        .map(lambda step: _positions(step, steps, size, batch_size, share))
        .unbatch()
        .map(sample)
    )


def _positions(step: Any, steps: int, size: int, batch_size: int, share: BatchShare) -> Any:
    """The positions of one step's samples: an epoch starts at a multiple of the split's size and drops its incomplete batch."""
    import tensorflow as tf

    own = share.size(batch_size)
    first = (step // steps) * size + (step % steps) * batch_size + share.index * own
    return tf.range(first, first + own)

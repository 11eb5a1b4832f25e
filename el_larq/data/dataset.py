"""What a data set is to the rest of the project. Three kinds follow it: `in_memory`, `indexed` and `streaming`."""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sized
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from el_larq.data.preprocessing import MIN_STD, Preprocessing
from el_larq.errors import UsageError

Shard = tuple[int, int]
"""This worker's number and how many there are."""

ALONE: Shard = (0, 1)


class View(Protocol):
    """Images that are decoded when a slice of them is asked for; cheapest from front to back.

    A slice is uint8 (n, H, W, C). Raises ElLarqError where an image cannot be read.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice) -> np.ndarray: ...

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,)"""
        ...


@dataclass(frozen=True)
class Dataset(ABC):
    """A classification data set with a training and a test split, and a validation split where it brings one.

    name: what `load_dataset` finds it by again, complete: folders are absolute.
    preprocessing: how its images become inputs; a model trained on it carries this on its card.
    validation: what is looked at while a training goes on; `el_larq.data.validation` makes one where there is none.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    train: Sized
    test: Sized
    validation: Sized | None = field(default=None, kw_only=True)

    exact_resume: ClassVar[bool] = True
    """Whether `training_batches` from a later start gives, bit for bit, what an undisturbed stream would have."""

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
        """The splits that are there, by name."""
        named = {"train": self.train, "test": self.test, "validation": self.validation}
        return {name: split for name, split in named.items() if split is not None}

    @property
    def slug(self) -> str:
        """A short name for folders."""
        return self.name

    @property
    def fingerprint(self) -> str:
        """Changes when the data do; a run that is resumed compares it."""
        return f"{self.name} version {self.version}"

    @property
    def skipped(self) -> tuple[str, ...]:
        """Images that could not be read so far and were left out."""
        return ()

    @abstractmethod
    def class_counts(self) -> dict[str, list[int]] | None:
        """Images of each class by split; None where only reading everything would tell."""

    @abstractmethod
    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        """From a tf.data.Dataset of (index, key) to batches of augmented uint8 images and labels."""

    @abstractmethod
    def _plain_pixels(self, split: Any, batch_size: int) -> Any:
        """A split once, in order and not augmented, as a tf.data.Dataset of uint8 batches."""

    @abstractmethod
    def hold_out(self, share: float) -> Self:
        """This set with a share of the training images as its validation split, the same share and images each time.

        Raises:
            UsageError: too few training images for one of each class on both sides.
        """

    def without_validation(self) -> Self:
        """This set without its validation split."""
        return self if self.validation is None else replace(self, validation=None)

    def validated_by_testing(self) -> Self:
        """This set with its test split for validation, as runs were begun when there was no other."""
        return replace(self, validation=self.test)

    @abstractmethod
    def test_view(self, index: np.ndarray) -> "View":
        """The test images of an ascending index."""

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Around whatever consumes batches: TensorFlow's error about an image that cannot be read becomes one clear line."""
        yield

    def training_batches(self, batch_size: int, epochs: int, seed: int, start: int = 0, shard: Shard = ALONE) -> Any:
        """A tf.data.Dataset of (images, labels) batches from global step ``start`` on.

        Everything is a function of the seed and of one number, the position p of a sample in the whole training: epoch
        p // N takes a permutation keyed by (seed, epoch), augmentation is keyed by (seed, p). A run that starts again at
        any step therefore sees what an undisturbed one would have seen.

        shard: of each batch of ``batch_size``, a worker gets its even share.

        Raises:
            UsageError: a batch larger than the data, or one that workers cannot share evenly.
        """
        return self._scaled(self.augmented_batches(batch_size, seed, epochs, start, shard))

    def augmented_batches(self, batch_size: int, seed: int, epochs: int = 1, start: int = 0, shard: Shard = ALONE) -> Any:
        """What `training_batches` gives, before it is scaled: uint8 images."""
        self._check_batch(batch_size, shard)
        order = _order(self.train_size, batch_size, epochs, seed, start).shard(shard[1], shard[0])
        return self._train_pixels(order, batch_size // shard[1])

    def steps_per_epoch(self, batch_size: int) -> int:
        return self.train_size // batch_size

    def test_batches(self, batch_size: int) -> Any:
        """The test split once, in order, as a tf.data.Dataset of (images, labels) batches."""
        return self._scaled(self._plain_pixels(self.test, batch_size))

    def validation_batches(self, batch_size: int) -> Any:
        """The same of the validation split; None where there is none."""
        return None if self.validation is None else self._scaled(self._plain_pixels(self.validation, batch_size))

    def test_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``count`` preprocessed test images, evenly spread over the split and so over its classes, and their labels."""
        index = np.linspace(0, self.test_size - 1, min(count, self.test_size)).astype(int)
        view = self.test_view(index)
        return self.preprocessing.scale(view[: len(view)]), view.labels

    def _check_batch(self, batch_size: int, shard: Shard) -> None:
        if batch_size > self.train_size:
            raise UsageError(f"batch size {batch_size} is larger than the {self.train_size} training images of {self.name}")
        if batch_size % shard[1]:
            raise UsageError(f"batch size {batch_size} cannot be shared evenly by {shard[1]} workers")

    def _scaled(self, batches: Any) -> Any:
        import tensorflow as tf

        scaled = batches.map(lambda x, y: (scale(self.preprocessing, x), y), num_parallel_calls=tf.data.AUTOTUNE)
        return scaled.prefetch(tf.data.AUTOTUNE)


def scale(preprocessing: Preprocessing, images: Any) -> Any:
    """`Preprocessing.scale` in TensorFlow operations; a test holds the two together."""
    import tensorflow as tf

    x = tf.cast(images, tf.float32)
    if preprocessing.channel_order == "bgr":
        x = tf.reverse(x, [-1])
    if preprocessing.mean is None or preprocessing.std is None:
        mean, variance = tf.nn.moments(x, axes=[1, 2, 3], keepdims=True)
        return (x - mean) / tf.maximum(tf.sqrt(variance), MIN_STD)
    return (x - preprocessing.mean) / preprocessing.std


def _order(size: int, batch_size: int, epochs: int, seed: int, start: int) -> Any:
    """A tf.data.Dataset of (index, key) for each sample of the training from step ``start`` on; key is (seed, position)."""
    import tensorflow as tf

    key = tf.constant(seed, tf.int64)
    steps = size // batch_size

    def sample(position: Any) -> tuple[Any, Any]:
        permutation = tf.stack([key, position // size])
        shuffle = tf.random.experimental.index_shuffle  # pyright: ignore[reportAttributeAccessIssue]
        return shuffle(position % size, permutation, size - 1), tf.stack([key, position])

    return (
        tf.data.Dataset.range(start, steps * epochs)
        .map(lambda step: _positions(step, steps, size, batch_size))
        .unbatch()
        .map(sample)
    )


def _positions(step: Any, steps: int, size: int, batch_size: int) -> Any:
    """Positions of one step's samples: an epoch starts at a multiple of the data's size and drops its incomplete batch."""
    import tensorflow as tf

    first = (step // steps) * size + (step % steps) * batch_size
    return tf.range(first, first + batch_size)

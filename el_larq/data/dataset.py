"""What a data set is to the rest of the project, and the one that lives in memory."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import UsageError


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, H, W, C) and their labels as int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A classification data set in memory.

    augmentation: how training images vary: pixels of random shift each way, and whether they are mirrored at random.
    """

    name: str
    version: int
    labels: tuple[str, ...]
    preprocessing: Preprocessing
    train: Split
    test: Split
    shift: int = 0
    mirror: bool = False

    @property
    def num_classes(self) -> int:
        return len(self.labels)

    def training_batches(self, batch_size: int, epochs: int, seed: int, start: int = 0) -> Any:
        """A tf.data.Dataset of (images, labels) batches from global step ``start`` on.

        Everything is a function of the seed and of one number, the position p of a sample in the whole training: epoch
        p // N takes a permutation keyed by (seed, epoch), augmentation is keyed by (seed, p). A run that starts again at
        any step therefore sees what an undisturbed one would have seen.
        """
        import tensorflow as tf

        size = len(self.train)
        if batch_size > size:
            raise UsageError(f"batch size {batch_size} is larger than the {size} training images of {self.name}")
        images = tf.constant(self.train.images)
        labels = tf.constant(self.train.labels)
        key = tf.constant(seed, tf.int64)

        def sample(position: Any) -> tuple[Any, Any]:
            epoch = position // size
            permutation = tf.stack([key, epoch])
            shuffle = tf.random.experimental.index_shuffle  # pyright: ignore[reportAttributeAccessIssue]
            index = shuffle(position % size, permutation, size - 1)
            return self._augment(images[index], tf.stack([key, position])), labels[index]

        steps = self.steps_per_epoch(batch_size)
        return (
            tf.data.Dataset.range(start, steps * epochs)
            .map(lambda step: _positions(step, steps, size, batch_size))
            .unbatch()
            .map(sample, num_parallel_calls=tf.data.AUTOTUNE)
            .batch(batch_size, drop_remainder=True)
            .map(lambda x, y: (self._scale(x), y), num_parallel_calls=tf.data.AUTOTUNE)
            .prefetch(tf.data.AUTOTUNE)
        )

    def steps_per_epoch(self, batch_size: int) -> int:
        return len(self.train) // batch_size

    def test_batches(self, batch_size: int) -> Any:
        """The test split once, in order, as a tf.data.Dataset of (images, labels) batches."""
        import tensorflow as tf

        return (
            tf.data.Dataset.from_tensor_slices((self.test.images, self.test.labels))
            .batch(batch_size)
            .map(lambda x, y: (self._scale(x), y), num_parallel_calls=tf.data.AUTOTUNE)
            .cache()
            .prefetch(tf.data.AUTOTUNE)
        )

    def test_images(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """``count`` preprocessed test images, evenly spread over the split and so over its classes, and their labels."""
        index = np.linspace(0, len(self.test) - 1, min(count, len(self.test))).astype(int)
        return self.preprocessing.scale(self.test.images[index]), self.test.labels[index]

    def _augment(self, image: Any, seed: Any) -> Any:
        import tensorflow as tf

        if self.mirror:
            image = tf.image.stateless_random_flip_left_right(image, seed)
        if self.shift:
            margin = [[self.shift, self.shift], [self.shift, self.shift], [0, 0]]
            padded = tf.pad(image, margin, mode="REFLECT")
            image = tf.image.stateless_random_crop(padded, image.shape, seed + tf.constant([1, 0], tf.int64))
        return image

    def _scale(self, images: Any) -> Any:
        """`Preprocessing.scale` in TensorFlow operations; a test holds the two together."""
        import tensorflow as tf

        from el_larq.data.preprocessing import MIN_STD

        x = tf.cast(images, tf.float32)
        if self.preprocessing.mean is None or self.preprocessing.std is None:
            mean, variance = tf.nn.moments(x, axes=[1, 2, 3], keepdims=True)
            return (x - mean) / tf.maximum(tf.sqrt(variance), MIN_STD)
        return (x - self.preprocessing.mean) / self.preprocessing.std


def _positions(step: Any, steps: int, size: int, batch_size: int) -> Any:
    """Positions of one step's samples: an epoch starts at a multiple of the data's size and drops its incomplete batch."""
    import tensorflow as tf

    first = (step // steps) * size + (step % steps) * batch_size
    return tf.range(first, first + batch_size)

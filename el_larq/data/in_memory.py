"""A data set whose images lie decoded in memory, as arrays."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.data.dataset import Dataset, View


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, H, W, C) and their labels as int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class ArrayView:
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.images[part]


@dataclass(frozen=True)
class InMemory(Dataset):
    """shift, mirror: how training images vary: pixels of random shift each way, and whether they are mirrored at random."""

    train: Split
    test: Split
    shift: int = 0
    mirror: bool = False

    @property
    def train_size(self) -> int:
        return len(self.train)

    @property
    def test_size(self) -> int:
        return len(self.test)

    def class_counts(self) -> dict[str, list[int]]:
        return {
            name: np.bincount(split.labels, minlength=self.num_classes).tolist()
            for name, split in (("train", self.train), ("test", self.test))
        }

    def test_view(self, index: np.ndarray) -> View:
        return ArrayView(self.test.images[index], self.test.labels[index])

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        import tensorflow as tf

        images, labels = tf.constant(self.train.images), tf.constant(self.train.labels)

        def sample(index: Any, key: Any) -> tuple[Any, Any]:
            return self._augment(images[index], key), labels[index]

        return order.map(sample, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)

    def _test_pixels(self, batch_size: int) -> Any:
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((self.test.images, self.test.labels)).batch(batch_size)

    def _augment(self, image: Any, key: Any) -> Any:
        import tensorflow as tf

        if self.mirror:
            image = tf.image.stateless_random_flip_left_right(image, key)
        if self.shift:
            margin = [[self.shift, self.shift], [self.shift, self.shift], [0, 0]]
            padded = tf.pad(image, margin, mode="REFLECT")
            image = tf.image.stateless_random_crop(padded, image.shape, key + tf.constant([1, 0], tf.int64))
        return image

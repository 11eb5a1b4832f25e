"""A data set of decoded images in memory, as arrays."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from el_larq.data.dataset import Dataset, View
from el_larq.data.held_out import counts, held_out


@dataclass(frozen=True)
class Split:
    """Images as uint8 (N, H, W, C) and their labels as int64 (N,)."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, chosen: np.ndarray) -> "Split":
        """The images selected by a mask or by an array of indices."""
        return Split(self.images[chosen], self.labels[chosen])


@dataclass(frozen=True)
class ArrayView:
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, part: slice) -> np.ndarray:
        return self.images[part]


@dataclass(frozen=True, repr=False)
class InMemory(Dataset):
    """shift, mirror: the augmentation: largest random shift in pixels in each direction, and whether to flip at random.

    black: whether the border of a shifted image is black; otherwise it is a reflection of the image.
    """

    train: Split
    test: Split
    validation: Split | None = field(default=None, kw_only=True)
    shift: int = 0
    mirror: bool = False
    black: bool = False

    @property
    def augments(self) -> bool:
        return self.mirror or self.shift > 0

    @property
    def augmentation_text(self) -> str:
        return f"shift {self.shift}, mirror {self.mirror}, black {self.black}"

    def class_counts(self) -> dict[str, list[int]]:
        return counts(self)

    def hold_out(self, share: float) -> Self:
        held = held_out(self, self.train.labels, share)
        return replace(self, train=self.train.part(~held), validation=self.train.part(held))

    def test_view(self, index: np.ndarray) -> View:
        return ArrayView(self.test.images[index], self.test.labels[index])

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        import tensorflow as tf

        images, labels = tf.constant(self.train.images), tf.constant(self.train.labels)

        def sample(index: Any, key: Any) -> tuple[Any, Any]:
            return self._augment(images[index], key), labels[index]

        return order.map(sample, num_parallel_calls=tf.data.AUTOTUNE).batch(batch_size, drop_remainder=True)

    def _plain_pixels(self, split: Split, batch_size: int) -> Any:
        import tensorflow as tf

        return tf.data.Dataset.from_tensor_slices((split.images, split.labels)).batch(batch_size)

    def _augment(self, image: Any, key: Any) -> Any:
        import tensorflow as tf

        if self.mirror:
            image = tf.image.stateless_random_flip_left_right(image, key)
        if self.shift:
            margin = [[self.shift, self.shift], [self.shift, self.shift], [0, 0]]
            padded = tf.pad(image, margin, mode="CONSTANT" if self.black else "REFLECT")
            image = tf.image.stateless_random_crop(padded, image.shape, key + tf.constant([1, 0], tf.int64))
        return image

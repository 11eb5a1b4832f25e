"""Data sets of encoded images, on disk or in memory, with random access by index."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np

from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset import View
from el_larq.data.encoded import Cache, Encoded
from el_larq.data.held_out import counts, held_out
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stored import Stored
from el_larq.data.threads import in_threads

PLAIN_CACHE_BYTES = 1 << 28
"""Validation and test images are the same in each pass; a resized split of up to this many bytes is kept in memory."""


@dataclass(frozen=True, repr=False)
class IndexedImages(Stored):
    """Splits of encoded images, whatever their labels are."""

    train: Encoded
    test: Encoded
    validation: Encoded | None = field(default=None, kw_only=True)

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(sorted(self.train.unreadable.errors))

    def with_preprocessing(self, preprocessing: Preprocessing) -> Self:
        cache = self.train.cache
        if not preprocessing.decodes_like(self.preprocessing):
            cache = Cache(cache.limit)
        train, test, validation = (
            None if split is None else split.with_preprocessing(preprocessing, cache)
            for split in (self.train, self.test, self.validation)
        )
        return replace(self, preprocessing=preprocessing, train=train, test=test, validation=validation)

    def test_view(self, index: np.ndarray) -> View:
        return IndexedView(self.test, index, self.preprocessing)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self.train.unreadable.translated():
            yield


@dataclass(frozen=True, repr=False)
class Indexed(IndexedImages):
    """Decodes and augments whole batches in TensorFlow's threads; Pillow releases Python's global lock while it works."""

    augmentation: Augmentation

    def class_counts(self) -> dict[str, list[int]]:
        return counts(self)

    def hold_out(self, share: float) -> Self:
        held = held_out(self, self.train.labels, share)
        return replace(self, train=self.train.part(~held), validation=self.train.part(held))

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        def batch(indices: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pixels, labels = [], []
            for index, (seed, position) in zip(indices, keys, strict=True):
                found, image = self.train.readable(int(index))
                pixels.append(self.augmentation.pixels(image, self.preprocessing, int(seed), int(position)))
                labels.append(self.train.labels[found])
            return np.stack(pixels), np.array(labels)

        return in_threads(order.batch(batch_size, drop_remainder=True), batch, self.preprocessing.input_shape, batch_size)

    def _plain_pixels(self, split: Encoded, batch_size: int) -> Any:
        import tensorflow as tf

        def batch(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            pixels, labels = [np.empty((0, *self.preprocessing.input_shape), np.uint8)], []
            for index in range(int(first), min(int(first) + batch_size, len(split))):
                image = split.try_image(index)
                if image is not None:
                    pixels.append(self.preprocessing.pixels(image)[None])
                    labels.append(split.labels[index])
            return np.concatenate(pixels), np.array(labels, np.int64)

        starts = tf.data.Dataset.range(0, len(split), batch_size)
        batches = in_threads(starts, batch, self.preprocessing.input_shape, None).filter(lambda x, y: tf.size(y) > 0)
        small = len(split) * np.prod(self.preprocessing.input_shape) <= PLAIN_CACHE_BYTES
        return batches.cache() if small else batches


@dataclass(frozen=True)
class IndexedView:
    split: Encoded
    index: np.ndarray
    preprocessing: Preprocessing

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, part: slice) -> np.ndarray:
        pixels = [self.preprocessing.pixels(self.split.image(int(number))) for number in self.index[part]]
        return np.stack(pixels) if pixels else np.empty((0, *self.preprocessing.input_shape), np.uint8)

    @property
    def labels(self) -> np.ndarray:
        return self.split.labels[self.index]

"""A data set that is larger than memory and can only be read from front to back: TFRecord files.

The order of an epoch is a function of (seed, epoch): the files are permuted, a fixed number of them are read in turn, and their
images are shuffled in chunks. A training that resumes skips the images it has seen, without decoding them, and so
continues exactly; how long this takes depends on the disk.
"""

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from PIL import Image

from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset import WHOLE_BATCH, BatchShare, View
from el_larq.data.encoded import Unreadable
from el_larq.data.held_out import count_held_out
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.stored import Stored
from el_larq.data.threads import in_threads
from el_larq.errors import ElLarqError, summarize

FILES_AT_ONCE = 16
BLOCK = 16
"""The number of images read from one file before the next file."""

READ_BYTES = 1 << 18

CHUNK_IMAGES, CHUNK_BYTES = 16_384, 1 << 27
"""The size of a chunk that is shuffled as a whole, whichever is reached first. Two to three chunks are in memory."""


@dataclass(frozen=True)
class RecordRange:
    """A part of a file: ``take`` images after the first ``skip``."""

    file: str
    skip: int
    take: int


def slice_ranges(pieces: tuple[RecordRange, ...], first: int, last: int) -> tuple[RecordRange, ...]:
    """The images ``first`` to ``last`` - 1, counted over all pieces."""
    found, position = [], 0
    for piece in pieces:
        low, high = max(first - position, 0), min(last - position, piece.take)
        if low < high:
            found.append(RecordRange(piece.file, piece.skip + low, high - low))
        position += piece.take
    return tuple(found)


@dataclass(frozen=True)
class Records:
    """A split: where its images are, and a function from a serialized example to the encoded image and its label."""

    pieces: tuple[RecordRange, ...]
    bytes: int
    parse: Callable[[Any], tuple[Any, Any]]

    def __len__(self) -> int:
        return sum(piece.take for piece in self.pieces)

    def halves(self, border: int) -> tuple["Records", "Records"]:
        """The images before number ``border``, and those from it on."""
        size = len(self)
        parts = [slice_ranges(self.pieces, *ends) for ends in ((0, border), (border, size))]
        first, second = (Records(part, self.bytes * sum(p.take for p in part) // size, self.parse) for part in parts)
        return first, second

    @property
    def chunk(self) -> int:
        return max(1, min(CHUNK_IMAGES, int(CHUNK_BYTES * len(self) / max(self.bytes, 1))))

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Context for code that reads the files: TensorFlow's errors about unreadable ones become an ElLarqError of one line."""
        from tensorflow import errors

        try:
            yield
        except (errors.DataLossError, errors.NotFoundError, errors.OutOfRangeError, errors.PermissionDeniedError) as error:
            folder = os.path.dirname(self.pieces[0].file)
            raise ElLarqError(f"{folder}: its files cannot be read: {summarize(error)}; prepare the data set again") from error

    def read(self, key: Any = None) -> Any:
        """A tf.data.Dataset of (file, number in the file, encoded image, label), in order or shuffled by a key of two integers."""
        import tensorflow as tf

        pieces = self.pieces
        columns = [[getattr(piece, name) for piece in pieces] for name in ("file", "skip", "take")]
        files, skips, takes = tf.constant(columns[0]), tf.constant(columns[1], tf.int64), tf.constant(columns[2], tf.int64)

        def piece(index: Any) -> Any:
            examples = tf.data.TFRecordDataset(files[index], buffer_size=READ_BYTES).skip(skips[index]).take(takes[index])
            return examples.enumerate(skips[index]).map(lambda number, example: (files[index], number, *self.parse(example)))

        if key is None:
            return tf.data.Dataset.range(len(pieces)).flat_map(piece)
        shuffle = tf.random.experimental.stateless_shuffle  # pyright: ignore[reportAttributeAccessIssue]
        order = shuffle(tf.range(len(pieces), dtype=tf.int64), key)
        mixed = tf.data.Dataset.from_tensor_slices(order).interleave(
            piece, cycle_length=FILES_AT_ONCE, block_length=BLOCK, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )

        def shuffled(chunk: Any, columns: Any) -> Any:
            part = tf.stack([0, chunk * 2**32])  # beyond any epoch's number
            order = shuffle(tf.range(tf.size(columns[1])), key + part)
            return tuple(tf.gather(column, order) for column in columns)

        # tf.data's own shuffle does not accept a computed seed, such as that of an epoch.
        chunks = mixed.batch(self.chunk).enumerate(1).map(lambda number, *columns: shuffled(number, columns[0]))
        return chunks.prefetch(1).unbatch()


@dataclass(frozen=True, repr=False)
class Streaming(Stored):
    """Reads TFRecord files as needed; decodes and augments whole batches, as `Indexed` does."""

    train: Records
    test: Records
    augmentation: Augmentation
    validation: Records | None = field(default=None, kw_only=True)
    unreadable: Unreadable

    @property
    def skipped(self) -> tuple[str, ...]:
        return tuple(sorted(self.unreadable.errors))

    def class_counts(self) -> None:
        return None

    def hold_out(self, share: float) -> Self:
        """Hold out the last images: TFDS shuffled them when it wrote them, and classes are unknown without reading all of them."""
        train, validation = self.train.halves(len(self.train) - count_held_out(self, len(self.train), share))
        return replace(self, train=train, validation=validation)

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        with self.unreadable.translated(), self.train.reading():
            yield

    def augmented_batches(
        self, batch_size: int, seed: int, epochs: int = 1, start: int = 0, share: BatchShare = WHOLE_BATCH
    ) -> Any:
        import tensorflow as tf

        self.check_batch(batch_size)
        own = share.size(batch_size)
        size, steps = len(self.train), self.steps_per_epoch(batch_size)

        def epoch(index: Any) -> Any:
            examples = self.train.read(tf.stack([tf.constant(seed, tf.int64), index])).take(steps * batch_size)
            numbered = examples.enumerate()
            if share != WHOLE_BATCH:  # all images are read, those of the share are decoded
                numbered = numbered.filter(lambda at, _: at % batch_size // own == share.index)
            return numbered.map(lambda at, example: (*example, tf.stack([tf.constant(seed, tf.int64), index * size + at])))

        examples = tf.data.Dataset.range(start // max(steps, 1), epochs).flat_map(epoch).skip(start % max(steps, 1) * own)
        return self._train_pixels(examples, own)

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        def pixels(image: Image.Image, key: np.ndarray) -> np.ndarray:
            return self.augmentation.pixels(image, self.preprocessing, int(key[0]), int(key[1]))

        def batch(files: Any, numbers: Any, images: Any, labels: Any, keys: Any) -> tuple[np.ndarray, np.ndarray]:
            found = [self._try(*example) for example in zip(files, numbers, images, strict=True)]
            good = [index for index, image in enumerate(found) if image is not None]
            if not good:
                raise self.unreadable.fail(ElLarqError(f"{self.name}: none of {len(found)} images in a row can be read"))
            # An unreadable image is replaced by another one of the batch, so that the batch stays complete.
            chosen = [index if found[index] is not None else good[index % len(good)] for index in range(len(found))]
            return np.stack([pixels(found[i], key) for i, key in zip(chosen, keys, strict=True)]), labels[chosen]  # pyright: ignore[reportArgumentType]

        return in_threads(order.batch(batch_size, drop_remainder=True), batch, self.preprocessing.input_shape, batch_size)

    def _plain_pixels(self, split: Records, batch_size: int) -> Any:
        import tensorflow as tf

        def batch(files: Any, numbers: Any, images: Any, labels: Any) -> tuple[np.ndarray, np.ndarray]:
            found = [self._try(*example) for example in zip(files, numbers, images, strict=True)]
            good = [index for index, image in enumerate(found) if image is not None]
            empty = np.empty((0, *self.preprocessing.input_shape), np.uint8)
            pixels = [self.preprocessing.pixels(image)[None] for image in found if image is not None]
            return np.concatenate([empty, *pixels]), labels[good]

        batches = in_threads(split.read().batch(batch_size), batch, self.preprocessing.input_shape, None)
        return batches.filter(lambda x, y: tf.size(y) > 0)

    def test_view(self, index: np.ndarray) -> View:
        return StreamView(self.test, index, self._open, self.preprocessing)

    def _open(self, file: bytes, number: int, image: bytes) -> Image.Image:
        return self.preprocessing.open(f"{os.path.basename(file).decode()}[{number}]", image)

    def _try(self, file: bytes, number: int, image: bytes) -> Image.Image | None:
        try:
            return self._open(file, number, image)
        except ElLarqError as error:
            self.unreadable.report(str(error).partition(": ")[0], error)
            return None


class StreamView:
    """Reads the split once as long as slices are in ascending order; a slice before the previous one starts over."""

    def __init__(
        self, records: Records, index: np.ndarray, open_: Callable[[bytes, int, bytes], Image.Image], preprocessing: Preprocessing
    ):
        self._records, self._index, self._open, self._preprocessing = records, index.tolist(), open_, preprocessing
        self._rewind()

    def _rewind(self) -> None:
        self._examples = enumerate(self._records.read().as_numpy_iterator())
        self._labels: list[int] = []

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        if start < len(self._labels):
            self._rewind()
        while len(self._labels) < start:
            self._next()
        pixels = [self._preprocessing.pixels(self._open(*self._next())) for _ in range(start, stop)]
        return np.stack(pixels) if pixels else np.empty((0, *self._preprocessing.input_shape), np.uint8)

    @property
    def labels(self) -> np.ndarray:
        while len(self._labels) < len(self):
            self._next()
        return np.array(self._labels, np.int64)

    def _next(self) -> tuple[bytes, int, bytes]:
        wanted = self._index[len(self._labels)]
        with self._records.reading():
            for at, (file, number, image, label) in self._examples:
                if at == wanted:
                    self._labels.append(int(label))
                    return file, number, image
        raise ElLarqError(f"a file of the data set is shorter than it says: image {wanted} of {len(self._records)} is missing")

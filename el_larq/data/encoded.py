"""Encoded images, in files or in memory, that are decoded on access. Does not import TensorFlow."""

import contextlib
import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from PIL import Image

from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError

CACHE_BYTES = 1 << 28
"""Maximum size of the decoded images kept in memory, per data set. When it is reached, further images are decoded each time:
with random access, replacing cached images would gain nothing."""

KEPT_BYTES = 1 << 24
"""A decoded image larger than this is never kept: few of its size would fit. That is 4 million pixels in colour."""

CHECK_BYTES = 1 << 28
"""Up to this total size of image files, all are decoded at the start, which also fills the cache. In larger data sets, an image
that cannot be read is found only when it is used."""

_THREADS = 4


class Unreadable:
    """Images that cannot be read: each is reported once and counted; with ``strict``, the first one raises its error."""

    def __init__(self, strict: bool = False, notify: Callable[[str], None] = lambda line: None):
        self.strict, self._notify = strict, notify
        self.errors: dict[str, str] = {}
        self.failure: ElLarqError | None = None
        self._lock = threading.Lock()

    def report(self, name: str, error: ElLarqError) -> None:
        with self._lock:
            if self.strict:
                raise self.fail(error)
            if name in self.errors:
                return
            self.errors[name] = str(error)
        self._notify(f"skipped {error}")

    def fail(self, error: ElLarqError) -> ElLarqError:
        """Store the error that ends the reading, because TensorFlow replaces it with one of its own."""
        self.failure = self.failure or error
        return self.failure

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise the stored error instead of the one that TensorFlow raises for it."""
        try:
            yield
        except Exception:
            if self.failure is not None:
                raise self.failure from None
            raise


@dataclass
class Cache:
    """Decoded images up to ``limit`` bytes, none of them above `KEPT_BYTES`. Pillow stores a colour pixel in 4 bytes."""

    limit: int = CACHE_BYTES
    used: int = 0
    images: dict[str, Image.Image] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def keep(self, name: str, image: Image.Image) -> None:
        size = image.width * image.height * (1 if image.mode == "L" else 4) + 200
        if size > KEPT_BYTES:
            return
        with self.lock:
            if name not in self.images and self.used + size <= self.limit:
                self.images[name] = image
                self.used += size


class Encoded:
    """A split. Its items are paths of files, or encoded images as bytes, which messages call by ``title`` and a number."""

    def __init__(
        self,
        items: Sequence[str | bytes],
        labels: np.ndarray,
        preprocessing: Preprocessing,
        title: str = "",
        unreadable: Unreadable | None = None,
        cache: Cache | None = None,
    ):
        self.items, self.title = items, title
        self.labels = np.asarray(labels, np.int64)
        self.numbers = np.arange(len(self.labels))  # of the items in use
        self.preprocessing = preprocessing
        self.unreadable = unreadable or Unreadable()
        self.cache = cache or Cache()

    def __len__(self) -> int:
        return len(self.labels)

    def name(self, index: int) -> str:
        number = int(self.numbers[index])
        return f"{self.title}[{number}]" if self.title else str(self.items[number])

    def image(self, index: int) -> Image.Image:
        """The decoded image with the preprocessing's channels, the same with and without the cache; raises ElLarqError."""
        name = self.name(index)
        found = self.cache.images.get(name)
        if found is None:
            item = self.items[int(self.numbers[index])]
            found = self.preprocessing.open(name, item if isinstance(item, bytes) else None)
            self.cache.keep(name, found)
        return found

    def readable(self, index: int) -> tuple[int, Image.Image]:
        """The image at that index or, if it cannot be read, the next one that can. Batches thus stay complete, and the
        replacement is a function of the index alone."""
        for step in range(len(self)):
            other = (index + step) % len(self)
            image = self.try_image(other)
            if image is not None:
                return other, image
        raise self.unreadable.fail(ElLarqError(f"{self.name(index)}: neither this nor any other image can be read"))

    def try_image(self, index: int) -> Image.Image | None:
        try:
            return self.image(index)
        except ElLarqError as error:
            self.unreadable.report(self.name(index), error)
            return None

    def without_unreadable(self) -> Self:
        """Decode all images, in several threads, and return the split without those that cannot be read."""
        with ThreadPoolExecutor(_THREADS) as pool:
            good = list(pool.map(lambda index: self.try_image(index) is not None, range(len(self))))
        return self if all(good) else self.part(np.array(good))

    def with_preprocessing(self, preprocessing: Preprocessing, cache: Cache) -> Self:
        """The same images for another input; the cache's images are decoded for it."""
        changed = copy.copy(self)
        changed.preprocessing, changed.cache = preprocessing, cache
        return changed

    def part(self, chosen: np.ndarray) -> Self:
        """The images selected by a mask or by an array of indices."""
        kept = copy.copy(self)
        kept.labels, kept.numbers = self.labels[chosen], self.numbers[chosen]
        return kept

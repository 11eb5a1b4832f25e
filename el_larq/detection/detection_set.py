"""Data sets of images with annotated boxes."""

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Self, cast

import numpy as np
from PIL import Image

from el_larq.data import infer_preprocessing
from el_larq.data.encoded import CHECK_BYTES, Cache, Encoded, Unreadable
from el_larq.data.held_out import count_held_out
from el_larq.data.indexed import IndexedImages
from el_larq.data.names import Name
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.threads import in_threads
from el_larq.detection.annotation_splits import Splits, overlaps
from el_larq.detection.annotations import AnnotatedImages, Findings, Objects, collect_images
from el_larq.detection.box_augmentation import BoxAugmentation
from el_larq.detection.matching import targets
from el_larq.errors import ElLarqError, UsageError

IMAGE_SIZE = 300
LISTED = 100
"""The number of rows per image in batches of listed objects, if no image has more objects."""


class AnnotatedSplit(Encoded):
    """A split whose images have objects. Its ``labels`` are the numbers of the images among all of the split.

    names: what messages call the images; empty for the paths, or the title and a number.
    """

    def __init__(
        self,
        items: Sequence[str | bytes],
        objects: Sequence[Objects],
        preprocessing: Preprocessing,
        title: str = "",
        unreadable: Unreadable | None = None,
        cache: Cache | None = None,
        names: Sequence[str] = (),
    ):
        super().__init__(items, np.arange(len(objects)), preprocessing, title, unreadable, cache)
        self._objects, self._names = tuple(objects), names

    def name(self, index: int) -> str:
        return self._names[int(self.numbers[index])] if self._names else super().name(index)

    def objects(self, index: int) -> Objects:
        """The objects of the image at that index."""
        return self._objects[int(self.numbers[index])]

    @property
    def most(self) -> int:
        """The number of objects of the image with most of them."""
        return max(map(len, self._objects), default=0)

    def class_counts(self, classes: int) -> list[int]:
        """The number of objects of each class, without ignored ones."""
        found = [self.objects(index).required.classes for index in range(len(self))]
        return np.bincount(np.concatenate([np.zeros(0, np.int64), *found]), minlength=classes).tolist()


@dataclass(frozen=True, repr=False)
class DetectionSet(IndexedImages):
    """Batches have images and, for each image, one of two things:

    - without anchors, the objects themselves, float32 (L, 5): class and box in corner form; a class of -1 where there are fewer. L
      is `LISTED`, or more if an image has more objects;
    - with ``anchors``, centre form (A, 4), what a detector shall predict: float32 (A, 5), a class from 1, or 0 for background, and
      the encoded box, see `el_larq.detection.matching.targets`.

    augmentation: None for none.
    """

    task: ClassVar[str] = "detection"

    train: AnnotatedSplit
    test: AnnotatedSplit
    augmentation: BoxAugmentation | None
    validation: AnnotatedSplit | None = field(default=None, kw_only=True)
    anchors: np.ndarray | None = field(default=None, kw_only=True)

    @property
    def augments(self) -> bool:
        return self.augmentation is not None

    def class_counts(self) -> dict[str, list[int]]:
        """The number of objects per class, by split."""
        return {name: split.class_counts(self.num_classes) for name, split in self.annotated_splits.items()}

    @property
    def annotated_splits(self) -> dict[str, AnnotatedSplit]:
        """`splits`, of which each has objects."""
        return cast(dict[str, AnnotatedSplit], self.splits)

    def with_anchors(self, anchors: np.ndarray) -> Self:
        """This data set with batches for a detector with these anchors (A, 4), in centre form."""
        return replace(self, anchors=anchors)

    def hold_out(self, share: float) -> Self:
        # The legacy generator's stream never changes.
        held = np.zeros(self.train_size, bool)
        held[np.random.RandomState(0).permutation(self.train_size)[: count_held_out(self, self.train_size, share)]] = True
        return replace(self, train=self.train.part(~held), validation=self.train.part(held))

    def augmented(self, index: int, seed: int, position: int) -> tuple[np.ndarray, Objects]:
        """A training image, uint8 (H, W, C), and its objects after augmentation; another image if this one cannot be read."""
        found, image = self.train.readable(index)
        objects = self.train.objects(found).required
        if self.augmentation is None:
            return self.preprocessing.pixels(image), objects
        return self.augmentation.apply(image, objects, self.preprocessing, seed, position)

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        def batch(indices: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            samples = [
                self.augmented(int(index), int(seed), int(position)) for index, (seed, position) in zip(indices, keys, strict=True)
            ]
            return np.stack([pixels for pixels, _ in samples]), np.stack([self._described(objects) for _, objects in samples])

        return self._in_threads(order.batch(batch_size, drop_remainder=True), batch, batch_size)

    def _plain_pixels(self, split: AnnotatedSplit, batch_size: int) -> Any:
        import tensorflow as tf

        def batch(indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            try:
                pixels = np.stack([self.preprocessing.pixels(split.image(int(index))) for index in indices])
            except ElLarqError as error:
                raise split.unreadable.fail(error) from error
            return pixels, np.stack([self._described(split.objects(int(index)).required) for index in indices])

        return self._in_threads(tf.data.Dataset.range(len(split)).batch(batch_size), batch, None)

    @functools.cached_property
    def _rows(self) -> int:
        return max(LISTED, *(split.most for split in self.annotated_splits.values()))

    def _described(self, objects: Objects) -> np.ndarray:
        if self.anchors is not None:
            labels, codes = targets(objects.boxes, objects.classes, self.anchors)
            return np.concatenate([labels[:, None].astype(np.float32), codes], axis=1)
        listed = np.full((self._rows, 5), -1, np.float32)
        listed[: len(objects), 0], listed[: len(objects), 1:] = objects.classes, objects.boxes
        return listed

    def _in_threads(self, elements: Any, batch: Callable[..., Any], batch_size: int | None) -> Any:
        described = self._rows if self.anchors is None else len(self.anchors), 5
        shape = self.preprocessing.input_shape
        return in_threads(elements, batch, shape, batch_size, label_shape=described, label_dtype="float32")


def box_augmentation(name: Name) -> BoxAugmentation | None:
    """The augmentation that a data set's name asks for: SSD's, or none. Raises UsageError for others, which are for classes."""
    if name.augment not in (None, "none"):
        raise UsageError(f"{name.augment} augments images without boxes; for detection, omit --augment, or give none")
    return None if name.augment else BoxAugmentation()


def load_splits(
    name: Name,
    splits: Splits,
    findings: Findings,
    empty: str,
    image_size: int | None,
    preprocessing: Preprocessing | None,
    notify: Callable[[str], None],
    folder: Path | None = None,
    slug: str = "",
) -> DetectionSet:
    """The data set of a folder from what a reader found in it.

    Arguments:
        empty: the kind of finding (`annotations.KINDS`) that an image without boxes is.
        image_size: None for 300 pixels.
        preprocessing: that of the model which the images are for; None computes mean and standard deviation from a sample.
        folder, slug: if they are not those of the data set's name.

    Raises:
        ElLarqError: no images with boxes for training, or none for testing; with ``strict``, the first finding or unreadable image.
    """
    augmentation = box_augmentation(name)
    path = folder or Path(name.base)
    for line in overlaps(splits.images):
        notify(f"{name}: {line}")
    annotated = {split: collect_images(images, splits.labels, findings, empty) for split, images in splits.images.items()}
    train = annotated["train"]
    annotated["train"] = train.part([index for index, found in enumerate(train.objects) if len(found.required)])
    for split, purpose in (("train", "training"), ("test", "testing")):
        if not sum(len(found.required) for found in annotated[split].objects):
            raise ElLarqError(f"{path}: no image with a box for {purpose} can be used: {findings.summary() or 'none is annotated'}")
    if summary := findings.summary():
        notify(f"{name}: {summary}")
    if "validation" in annotated and not sum(len(found.required) for found in annotated["validation"].objects):
        del annotated["validation"]
        notify(f"{name}: none of the validation images has a box, so they are not used; a share of the others is held out instead")
    size = image_size or IMAGE_SIZE
    how = preprocessing or Preprocessing(size, size, 3, stretch=True)
    unreadable, cache = Unreadable(findings.strict, notify), Cache()
    parts = {
        split: AnnotatedSplit(splits.items(found.paths), found.objects, how, "", unreadable, cache, found.paths)
        for split, found in annotated.items()
    }
    if sum(splits.size(file) for found in annotated.values() for file in found.paths) <= CHECK_BYTES:
        parts = {split: part.without_unreadable() for split, part in parts.items()}
        if empties := [split for split, part in parts.items() if not len(part)]:
            raise ElLarqError(f"{path}: no image of the {empties[0]} split can be read")
        if unreadable.errors:
            notify(f"{len(unreadable.errors)} of {sum(map(len, annotated.values()))} images cannot be read and are left out")
    if preprocessing is None:
        sample = map(parts["train"].try_image, infer_preprocessing.sample_indices(len(parts["train"])))
        measured = infer_preprocessing.with_statistics(how, (image for image in sample if isinstance(image, Image.Image)))
        if measured is None:
            raise ElLarqError(f"{path}: none of its images can be read")
        how = measured
    contents = _fingerprint(path, splits, splits.labels, [annotated["train"], annotated["test"]], [parts["train"], parts["test"]])
    validation = parts.get("validation")
    data = DetectionSet(
        str(name),
        1,
        splits.labels,
        how,
        parts["train"],
        parts["test"],
        augmentation,
        slug or path.name or "root",
        contents,
        validation=validation,
        validation_contents=""
        if validation is None
        else f"; validation {_fingerprint(path, splits, (), [annotated['validation']], [validation])}",
    )
    return data.with_preprocessing(how)


def _fingerprint(
    path: Path, splits: Splits, labels: Sequence[str], found: Sequence[AnnotatedImages], used: Sequence[AnnotatedSplit]
) -> str:
    """A hash of names, sizes and boxes, and the number of images that can be read: if one no longer can, the positions shift."""
    digest = hashlib.sha256("\0".join(labels).encode())
    for images in found:
        for file, objects in zip(images.paths, images.objects, strict=True):
            place = os.path.relpath(file, path).replace(os.sep, "/")
            digest.update(f"\n{place}\0{splits.size(file)}\0".encode("utf-8", "surrogateescape"))
            digest.update(objects.boxes.tobytes() + objects.classes.tobytes() + objects.ignored.tobytes())
    return f"{digest.hexdigest()[:16]}, {sum(map(len, used))} images"

"""`tfds:NAME`: a data set with boxes that TensorFlow Datasets (TFDS) has prepared, such as `voc`. See `el_larq.data.prepared`.

One of its features is a sequence, usually called "objects", of a box (ymin, xmin, ymax, xmax as fractions of the image) and its
class; `is_difficult` or `is_crowd` says which objects are ignored. TensorFlow is imported only inside functions.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from el_larq.data.names import Name
from el_larq.data.prepared import find, open_builder, readable, split_records
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.streaming import Records
from el_larq.detection.annotation_splits import Splits
from el_larq.detection.annotations import Findings, StatedImage, StatedObject
from el_larq.detection.detection_set import DetectionSet, load_splits
from el_larq.errors import UsageError

MEMORY_BYTES = 1 << 32
"""The largest data set that is read: all images are held in memory, still encoded."""

_IGNORED = ("is_difficult", "is_crowd")
_FORMAT = "REL_YXYX"


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> DetectionSet:
    """Load a prepared data set; see `el_larq.detection.detection_set.load_splits` for arguments.

    Raises:
        UsageError: its features are not images with boxes and classes, it has no training split, or it does not fit in memory.
        ElLarqError: it does not exist or is damaged, or no image can be used.
    """
    name, folder = find(name)
    findings = Findings(strict)
    with readable(folder, name):
        builder = open_builder(folder)
        features = _find_features(builder, name)
        records = split_records(builder, name, features.parse, _has_objects)
        if (size := sum(part.bytes for part in records.values())) > MEMORY_BYTES:
            raise UsageError(
                f"{name}: {size / 1e9:.1f} GB; sets with boxes are held in memory, up to {MEMORY_BYTES / 1e9:.1f} GB: "
                "unpack the archives that it was made from, and read their folder with voc:PATH or coco:PATH"
            )
        images: dict[str, list[StatedImage]] = {}
        encoded: dict[str, bytes] = {}
        for split, part in records.items():
            images[split] = []
            for number, (_, _, content, rows) in enumerate(part.read().as_numpy_iterator()):
                path = str(folder / f"{split}[{number}]")
                encoded[path] = content
                images[split].append(StatedImage(path, path, (1, 1), [features.stated(row) for row in rows.tolist()]))
    splits = Splits(features.labels, images, encoded)
    slug = f"tfds-{name.base}"
    return load_splits(name, splits, findings, "background", image_size, preprocessing, notify, folder, slug)


def _has_objects(records: Records) -> bool:
    """Whether any image of a split has objects. Test images of competitions are published without."""
    return any(len(rows) for *_, rows in records.read().as_numpy_iterator())


@dataclass(frozen=True)
class _Features:
    """The keys of an example: of the image, and of boxes, classes and, possibly, of what says that an object is ignored."""

    image: str
    box: str
    label: str
    ignored: str | None
    labels: tuple[str, ...]

    def parse(self, example: Any) -> tuple[Any, Any]:
        """The encoded image of a serialized example, and float32 (T, 6): boxes in corner form, classes, whether ignored."""
        import tensorflow as tf

        def several(shape: list[int], dtype: Any) -> Any:
            return tf.io.FixedLenSequenceFeature(shape, dtype, allow_missing=True)

        wanted: dict[str, Any] = {self.image: tf.io.FixedLenFeature([], tf.string)}
        wanted |= {self.box: several([4], tf.float32), self.label: several([], tf.int64)}
        if self.ignored:
            wanted[self.ignored] = several([], tf.int64)
        found: Any = tf.io.parse_single_example(example, wanted)
        classes = tf.cast(found[self.label], tf.float32)
        ignored = tf.cast(found[self.ignored], tf.float32) if self.ignored else tf.zeros_like(classes)
        return found[self.image], tf.concat([found[self.box], classes[:, None], ignored[:, None]], axis=1)

    def stated(self, row: list[float]) -> StatedObject:
        top, left, bottom, right, number, ignored = row
        known = 0 <= number < len(self.labels)
        label = self.labels[int(number)] if known else f"class {number:g}"
        return StatedObject(label, (top, left, bottom, right), bool(ignored))


def _find_features(builder: Any, name: Name) -> _Features:
    import tensorflow_datasets as tfds

    features = builder.info.features
    images = [key for key, feature in features.items() if type(feature) is tfds.features.Image]
    found = []
    for key, feature in features.items():
        inner = feature.feature if type(feature) is tfds.features.Sequence else None
        if isinstance(inner, tfds.features.FeaturesDict):
            boxes, classes = (
                [part for part, kind in inner.items() if type(kind) is wanted]
                for wanted in (tfds.features.BBoxFeature, tfds.features.ClassLabel)
            )
            if len(boxes) == len(classes) == 1:
                found.append((key, inner, boxes[0], classes[0]))
    if len(images) != 1 or len(found) != 1:
        raise UsageError(f"{name}: not images with one sequence of boxes and classes each; its features are {', '.join(features)}")
    (key, inner, box, label) = found[0]
    # Sets that were prepared before boxes had several formats have this one.
    form = getattr(inner[box], "bbox_format", _FORMAT)
    if getattr(form, "value", form) != _FORMAT:
        raise UsageError(f"{name}: its boxes are in the format {getattr(form, 'value', form)}; only {_FORMAT} is read")
    ignored = next((f"{key}/{part}" for part in _IGNORED if part in inner), None)
    return _Features(images[0], f"{key}/{box}", f"{key}/{label}", ignored, tuple(inner[label].names))

"""Data sets that TensorFlow Datasets (TFDS) has prepared on disk. Nothing is downloaded and no code of a data set is executed: its
folder contains its description. TensorFlow is imported only inside the functions that need it; `find` does not.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from el_larq.data import infer_preprocessing
from el_larq.data.dataset import Dataset
from el_larq.data.encoded import Cache, Encoded, Unreadable
from el_larq.data.indexed import Indexed
from el_larq.data.names import Name, at_version, augmentation
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.standard import STANDARD
from el_larq.data.streaming import RecordRange, Records, Streaming
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import parse_json, read_bytes

MEMORY_BYTES = 1 << 30
"""Data sets up to this size are read into memory, still encoded; larger ones are read from disk as needed."""

VALIDATION_SPLITS = ("validation", "val", "valid")
TEST_SHARE = 0.2
_INFO, _FEATURES = "dataset_info.json", "features.json"
_MAX_FEATURES = 1 << 24
"""Bytes of features.json, at most."""

_VERSION = re.compile(r"\d+\.\d+\.\d+")
_SMALL = 64


def data_dir(name: Name) -> Path:
    """The folder of prepared data sets: the one in the name, $TFDS_DATA_DIR, or TFDS's default."""
    return Path(name.data_dir or os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def find(name: Name) -> tuple[Name, Path]:
    """The name of a prepared data set, completed for "tfds" with configuration and version, and its folder.

    Raises:
        UsageError: it has several configurations and the name contains none.
        ElLarqError: it does not exist; the message says how to prepare it.
    """
    parent = data_dir(name)
    place = parent / name.base
    config = name.config
    if config is None and not _versions(place):
        configs = sorted(path.name for path in place.iterdir() if path.is_dir() and _versions(path)) if place.is_dir() else []
        if len(configs) > 1:
            raise UsageError(f"{name}: comes in several configurations; name one as tfds:{name.base}/CONFIG: {', '.join(configs)}")
        config = configs[0] if configs else None
    folder = place / config if config else place
    versions = _versions(folder)
    if not versions or (name.version and name.version not in versions):
        wanted = name.base + (f"/{config}" if config else "") + (f":{name.version}" if name.version else "")
        where = f" --data_dir {parent}" if name.data_dir or os.environ.get("TFDS_DATA_DIR") else ""
        there = f" (there is {', '.join(versions)})" if versions else ""
        manual = "; TFDS needs the archives of image-net.org in its downloads/manual for it" if name.base == "imagenet2012" else ""
        command = f"python -m tensorflow_datasets.scripts.cli.main build {wanted}{where}"
        other = "or name its folder with --data-dir"
        raise ElLarqError(f"{name}: not in {parent}{there}; prepare it with `{command}`{manual}, {other}")
    version = name.version or versions[-1]
    return (at_version(name, config, version) if name.kind == "tfds" else name), folder / version


def _versions(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    found = [p.name for p in folder.iterdir() if _VERSION.fullmatch(p.name) and (p / _INFO).is_file()]
    return sorted(found, key=lambda version: tuple(map(int, version.split("."))))


def tasks(name: Name) -> tuple[str, ...]:
    """What the labels of a prepared data set can be for, as far as its features.json says: "classification", "detection" or both.

    It is for detection if it has a sequence with boxes and their classes, and then for classification if it also has a class of the
    whole image.

    Raises:
        UsageError, ElLarqError: as `find`; or the file is damaged.
    """
    name, folder = find(name)
    file = folder / _FEATURES
    if not file.is_file():
        return ("classification",)  # whoever reads the set reports it
    try:
        content = parse_json(read_bytes(file, _MAX_FEATURES))
        # The second form is that of TFDS before 4.5.
        features = content["featuresDict"]["features"] if "featuresDict" in content else content["content"]
        kinds = [str(feature.get("pythonClassName", feature.get("type"))).rpartition(".")[2] for feature in features.values()]
        texts = [json.dumps(feature) for feature in features.values()]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise ElLarqError(f"{name}: {file} cannot be read: {summarize(error)}; prepare it again") from error
    boxes = any(
        kind == "Sequence" and '.BBoxFeature"' in text and '.ClassLabel"' in text for kind, text in zip(kinds, texts, strict=True)
    )
    return (*(("classification",) if not boxes or "ClassLabel" in kinds else ()), *(("detection",) if boxes else ()))


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> Dataset:
    """Load a prepared data set; arguments as in `el_larq.data.image_folder.load`.

    Raises:
        UsageError: the data set does not consist of images with one label each, or has no training split.
        ElLarqError: it does not exist, or is damaged.
    """
    name, folder = find(name)
    with readable(folder, name):
        builder = open_builder(folder)
        image, label = _keys(builder, name)
        records = split_records(builder, name, _parse(image, label))
        train, test = records["train"], records["test"]
    unreadable = Unreadable(strict, notify)
    feature = builder.info.features[image]
    names = tuple(builder.info.features[label].names)
    contents = f"{name.base} {folder.name}: {len(train)} + {len(test)} images, {train.bytes + test.bytes} bytes"
    more = f"; validation {len(found)} images, {found.bytes} bytes" if (found := records.get("validation")) else ""
    slug = (name.base if name.kind == "standard" else f"tfds-{name.base}").replace("/", "-")
    with readable(folder, name):
        if sum(part.bytes for part in records.values()) > MEMORY_BYTES:
            sample = [content for _, _, content, _ in train.read().take(infer_preprocessing.SAMPLE).as_numpy_iterator()]
            how = preprocessing or _preprocessing(name, image_size, feature.shape, sample, unreadable)
            vary = _augmentation(name, feature.shape, how)
            options: Any = {"validation": found, "validation_contents": more}
            return Streaming(str(name), 1, names, how, train, test, vary, slug, contents, unreadable, **options)
        parts = {title: _in_memory(part) for title, part in records.items()}
    sample = [parts["train"][0][index] for index in infer_preprocessing.sample_indices(len(train))]
    how = preprocessing or _preprocessing(name, image_size, feature.shape, sample, unreadable)
    cache = Cache()
    splits = {
        title: Encoded(*part, how, f"{name} {title}", unreadable, cache).without_unreadable() for title, part in parts.items()
    }
    if unreadable.errors:
        notify(f"{len(unreadable.errors)} of {sum(map(len, records.values()))} images cannot be read and are left out")
    if not all(len(split) for split in splits.values()):
        raise ElLarqError(f"{name}: a split without images that can be read")
    vary = _augmentation(name, feature.shape, how)
    return Indexed(
        str(name),
        1,
        names,
        how,
        splits["train"],
        splits["test"],
        vary,
        slug,
        contents,
        validation=splits.get("validation"),
        validation_contents=more,
    )


def read_encoded(name: Name) -> dict[str, tuple[list[bytes], np.ndarray]]:
    """The encoded images and labels of a prepared data set, by split, "train" and "test" first.

    Raises:
        UsageError, ElLarqError: as `load`.
    """
    name, folder = find(name)
    with readable(folder, name):
        builder = open_builder(folder)
        records = split_records(builder, name, _parse(*_keys(builder, name)))
        return {title: _in_memory(part) for title, part in records.items()}


@contextlib.contextmanager
def readable(folder: Path, name: Name) -> Iterator[None]:
    """Context for code that reads a prepared data set: errors of TFDS and TensorFlow become an ElLarqError of one line."""
    try:
        yield
    except ElLarqError:
        raise
    except Exception as error:  # TFDS and TensorFlow's readers raise nearly every kind of error for damaged files
        raise ElLarqError(f"{name}: {folder} cannot be read: {summarize(error)}; prepare it again") from error


def open_builder(folder: Path) -> Any:
    """TFDS's description of the data set in a folder, which it reads from files."""
    import tensorflow_datasets as tfds

    return tfds.builder_from_directory(folder)


def _keys(builder: Any, name: Name) -> tuple[str, str]:
    """The names of the features that contain the image and its class."""
    import tensorflow_datasets as tfds

    features = builder.info.features
    kinds = {
        kind: [key for key, feature in features.items() if type(feature) is kind]
        for kind in (tfds.features.Image, tfds.features.ClassLabel)
    }
    images, labels = kinds.values()
    keys = builder.info.supervised_keys
    if keys and len(keys) == 2 and keys[0] in images and keys[1] in labels:
        return keys
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    raise UsageError(f"{name}: not images with one class each; its features are {', '.join(features)}")


def _parse(image: str, label: str) -> Callable[[Any], tuple[Any, Any]]:
    def parse(example: Any) -> tuple[Any, Any]:
        import tensorflow as tf

        wanted = {image: tf.io.FixedLenFeature([], tf.string), label: tf.io.FixedLenFeature([], tf.int64)}
        found: Any = tf.io.parse_single_example(example, wanted)
        return found[image], found[label]

    return parse


def _has_class(records: Records) -> bool:
    """Whether the images of a split have labels. Test images of competitions are published without, which is a label of -1."""
    return any(label >= 0 for *_, label in records.read().take(1).as_numpy_iterator())


def split_records(
    builder: Any, name: Name, parse: Callable[[Any], tuple[Any, Any]], labelled: Callable[[Records], bool] = _has_class
) -> dict[str, Records]:
    """The splits "train" and "test", and "validation" if the data set has both a test and a validation split.

    Arguments:
        parse: from a serialized example to the encoded image and its label.
        labelled: whether a split has labels; without, it is not used for testing.
    """
    splits = builder.info.splits
    if "train" not in splits:
        raise UsageError(f"{name}: has no split named train, only {', '.join(splits) or 'none'}")
    if builder.info.file_format.value != "tfrecord":
        raise UsageError(f"{name}: stored as {builder.info.file_format.value}; prepare it with --file_format tfrecord")
    train = _records(splits["train"], parse)
    reported = STANDARD[name.base].test if name.kind == "standard" else "test"
    wanted = [reported, *(split for split in VALIDATION_SPLITS if split != reported)]
    found = [records for split in wanted if split in splits and labelled(records := _records(splits[split], parse))]
    if not found:
        # TFDS shuffled the images when it wrote them, so the last ones are a random sample.
        train, test = train.halves(len(train) - round(TEST_SHARE * len(train)))
        return {"train": train, "test": test}
    return dict(zip(("train", "test", "validation"), (train, *found[:2]), strict=False))


def _records(split: Any, parse: Callable[[Any], tuple[Any, Any]]) -> Records:
    pieces = tuple(RecordRange(piece.filename, piece.skip, piece.take) for piece in split.file_instructions)
    if not pieces:
        raise UsageError(f"the split {split.name} is empty")
    return Records(pieces, int(split.num_bytes), parse)


def _in_memory(records: Records) -> tuple[list[bytes], np.ndarray]:
    images, labels = [], []
    for _, _, image, label in records.read().as_numpy_iterator():
        images.append(image)
        labels.append(label)
    return images, np.array(labels, np.int64)


def _preprocessing(
    name: Name, image_size: int | None, shape: tuple[int | None, ...], sample: Sequence[bytes], unreadable: Unreadable
) -> Preprocessing:
    if name.kind == "standard":
        return STANDARD[name.base].preprocessing(image_size)
    channels = 1 if shape[-1] == 1 else 3
    opened = Encoded(
        list(sample),
        np.zeros(len(sample)),
        Preprocessing(infer_preprocessing.LARGEST, infer_preprocessing.LARGEST, channels),
        str(name),
        unreadable,
    )

    def images() -> Iterator[Image.Image]:
        return (image for index in range(len(sample)) if (image := opened.try_image(index)) is not None)

    sizes = [] if image_size else [image.size for image in images()]
    how = None
    if image_size or sizes:
        side = image_size or infer_preprocessing.choose_size(sizes)
        how = infer_preprocessing.with_statistics(Preprocessing(side, side, channels), images())
    if how is None:
        raise ElLarqError(f"{name}: none of its first {len(sample)} images can be read; prepare it again")
    return how


def _augmentation(name: Name, shape: tuple[int | None, ...], how: Preprocessing) -> Any:
    """The augmentation in the name; else that of the literature, else CIFAR's for small images of one size, else random crops."""
    if name.augment:
        kind = name.augment
    elif name.kind == "standard":
        kind = STANDARD[name.base].augment
    else:
        kind = "shift-mirror" if None not in shape[:2] and max(shape[:2]) <= _SMALL else "crop-mirror"  # pyright: ignore[reportArgumentType]
    return augmentation(kind, how.height)

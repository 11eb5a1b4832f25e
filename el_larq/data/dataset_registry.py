"""The registry of data sets by name. To add an embedded one, write its file and add one line to `DATASETS`.

A kind of folder is in `names.FOLDERS`, `PATTERNS` and `LOADERS`.

Data sets in MNIST's format are listed in `mnist_like.KNOWN`, those of TensorFlow Datasets with preprocessing from the literature in
`standard.STANDARD`.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, overload

from el_larq.by_name import load_by_name
from el_larq.data import mnist_like, names
from el_larq.data.dataset import Dataset
from el_larq.data.in_memory import InMemory
from el_larq.data.mnist_like import KNOWN
from el_larq.data.preprocessing import Preprocessing
from el_larq.data.standard import STANDARD
from el_larq.errors import UsageError

MIN_IMAGE_SIZE = 8


@dataclass(frozen=True)
class DatasetEntry:
    """module: the module of an embedded data set; empty if the data must be prepared first. task: `Dataset.task`."""

    name: str
    summary: str
    module: str = ""
    task: str = "classification"


DATASETS = {
    entry.name: entry
    for entry in (
        DatasetEntry("digits", "1,797 handwritten digits, 10 classes, 16x16 grey; embedded", "el_larq.data.digits"),
        DatasetEntry("photos", "12,240 crops of 18 photographs, 18 classes, 32x32 grey; embedded, hard", "el_larq.data.photos"),
        DatasetEntry(
            "shapes",
            "1,500 photographs with 5 classes of drawn shapes, 300x300 in colour, with boxes; embedded",
            "el_larq.detection.shapes",
            "detection",
        ),
        *(DatasetEntry(entry.name, entry.summary) for entry in (*KNOWN.values(), *STANDARD.values())),
    )
}

PATTERNS = {
    "dir:PATH": "a folder of images with train/, val/ and test/, or to be split; one folder per class",
    "idx:PATH": "a folder with four IDX files, as MNIST comes in: train-images-idx3-ubyte, ..., with or without .gz",
    "voc:PATH": "images with boxes in the layout of Pascal VOC: Annotations/*.xml, JPEGImages/ and, possibly, ImageSets/",
    "coco:PATH": "images with boxes in COCO's format: annotations/instances_*.json, or train/_annotations.coco.json",
    "yolo:PATH": "images with boxes as text files: images/, labels/, and data.yaml or classes.txt",
    "tfds:NAME": "any set of images with classes, or with boxes, that TensorFlow Datasets has prepared; tfds:NAME:VERSION@DATA_DIR",
}

LOADERS = {
    "dir": "el_larq.data.image_folder:load",
    "idx": "el_larq.data.mnist_like:load",
    "voc": "el_larq.detection.voc_folder:load",
    "coco": "el_larq.detection.coco_folder:load",
    "yolo": "el_larq.detection.yolo_folder:load",
    "mnist": "el_larq.data.mnist_like:load",
    "tfds": "el_larq.data.prepared:load",
    "standard": "el_larq.data.prepared:load",
}
"""By kind of data set, "module:function" of ``(name, image_size, preprocessing, strict, notify)``; see `load_dataset`."""

_PREPARED_BOXES = "el_larq.detection.prepared_boxes:load"
"""The same, of a set of TensorFlow Datasets that is read for detection."""

_DETECTION = ("voc", "coco", "yolo")
"""Kinds whose images have boxes."""

_EMBEDDED = tuple(entry.name for entry in DATASETS.values() if entry.module)


def parse_name(name: str) -> names.Name:
    """The parts of a data set's name; raises UsageError for an unknown one."""
    return names.parse(name, _EMBEDDED, tuple(STANDARD), tuple(KNOWN))


def tasks_of(name: str) -> tuple[str, ...]:
    """What a data set's labels can be for: "classification", "detection" or both.

    Raises:
        UsageError: an unknown name.
        ElLarqError: a set of TensorFlow Datasets that is not there, or is damaged.
    """
    parsed = parse_name(name)
    if parsed.kind == "embedded":
        return (DATASETS[parsed.base].task,)
    if parsed.kind == "tfds":
        from el_larq.data.prepared import tasks

        return tasks(parsed)
    return ("detection",) if parsed.kind in _DETECTION else ("classification",)


def _choose_task(name: str, task: str | None) -> str:
    """What a data set's labels are used for, where ``task`` is what they must be for, or None for the first thing they can."""
    tasks = tasks_of(name)
    if task is None or task in tasks:
        return task or tasks[0]
    if task == "classification":
        raise UsageError(f"{name} has images with boxes, for detection; this needs a data set with a class per image")
    has = "has no boxes with classes" if name.startswith(names.TFDS) else "has a class per image, and no boxes"
    raise UsageError(
        f"{name} {has}; this needs one with boxes: shapes, voc:PATH, coco:PATH, yolo:PATH, or tfds:NAME of a set that has boxes"
    )


def check_dataset(name: str, task: str | None = "classification") -> None:
    """Raise ElLarqError if a data set cannot be loaded, as far as can be checked without TensorFlow and without reading images.

    task: what its labels must be for; None for anything.
    """
    parsed = parse_name(name)
    _choose_task(name, task)
    if parsed.kind in _DETECTION and not Path(parsed.base).is_dir():
        raise UsageError(f"{parsed.base}: no such folder; {parsed.kind}:PATH takes one with images and boxes")
    if parsed.kind == "dir" and not Path(parsed.base).is_dir():
        raise UsageError(f"{parsed.base}: no such folder; dir:PATH takes one with train/ and test/, or with one folder per class")
    if parsed.kind in ("idx", "mnist"):
        mnist_like.check(parsed)
    if parsed.kind in ("tfds", "standard"):
        from el_larq.data.prepared import find

        find(parsed)


def check_image_size(image_size: int | None) -> None:
    if image_size is not None and image_size < MIN_IMAGE_SIZE:
        raise UsageError(f"image size {image_size} is too small; the minimum is {MIN_IMAGE_SIZE}")


@overload
def load_dataset(name: Literal["digits", "photos"], image_size: int | None = None) -> InMemory: ...


@overload
def load_dataset(
    name: str,
    image_size: int | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = ...,
    task: str | None = ...,
) -> Dataset: ...


def load_dataset(
    name: str,
    image_size: int | None = None,
    *,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
    task: str | None = "classification",
) -> Dataset:
    """Load a data set by name, in its own image size or the given one.

    Arguments:
        name: as printed by `el-larq list datasets`: "digits", "fashion_mnist", "cifar10", "dir:PATH", "voc:PATH", "tfds:NAME", ...;
            `el_larq.data.names` describes the syntax.
        image_size: height and width in pixels, 8 or more; None is the data set's own.
        preprocessing: that of the model which the images are for; for an embedded data set, it is ignored if its size or channels
            differ from those of the images.
        strict: an image that cannot be read is an error; otherwise it is reported, left out and counted.
        notify: called with one line for each such image, and with other notes.
        task: what its labels must be for: "classification", "detection" (the result is then a
            `el_larq.detection.detection_set.DetectionSet`), or None for either.

    Raises:
        UsageError: an unknown name, an image size that is too small, or data that cannot be used.
        ElLarqError: the data do not exist or cannot be read.
    """
    parsed = parse_name(name)
    check_image_size(image_size)
    task = _choose_task(name, task)
    if parsed.kind == "embedded":
        module = importlib.import_module(DATASETS[parsed.base].module)
        data = module.load() if image_size is None else module.load(image_size)
        fits = preprocessing is not None and preprocessing.input_shape == data.preprocessing.input_shape
        return data.with_preprocessing(preprocessing) if preprocessing is not None and fits else data
    loader = _PREPARED_BOXES if parsed.kind == "tfds" and task == "detection" else LOADERS[parsed.kind]
    data = load_by_name(loader)(parsed, image_size, preprocessing, strict, notify)
    # Otherwise, a run would be resumed on changed data, and its folder named after a path.
    assert type(data).fingerprint is not Dataset.fingerprint, (
        f"{type(data).__name__} needs a fingerprint of its files, as in MnistLike"
    )
    assert type(data).slug is not Dataset.slug, f"{type(data).__name__} needs a slug, as in MnistLike"
    return data

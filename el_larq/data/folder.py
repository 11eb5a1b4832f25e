"""`dir:PATH`: a folder of images, one folder a class. Imports no TensorFlow.

    PATH/train/CLASS/image.jpg and PATH/test/CLASS/image.jpg (or val, validation), or
    PATH/CLASS/image.jpg, of which a fixed fifth of each class is the test split

Which images of a class are for testing follows from their names alone (in the order of a hash of them), not from the order
in which a file system lists them. Classes are sorted by name.
"""

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from el_larq.data import looks
from el_larq.data.encoded import CHECK_BYTES, Cache, Encoded, Unreadable
from el_larq.data.indexed import Indexed
from el_larq.data.names import Name, augmentation
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError, summarize

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
TRAIN, TEST = "train", ("test", "val", "validation")
TEST_SHARE = 0.2

File = tuple[str, int]
Files = list[File]
"""Path and bytes."""

AUGMENT = "crop-mirror"


@dataclass(frozen=True)
class Listing:
    """The image files of a split: path and bytes of each, by class in the order of their names."""

    files: tuple[File, ...]
    labels: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(size for _, size in self.files)


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> Indexed:
    """The data set in a folder.

    Arguments:
        image_size: None takes the usual one of these images, at most 224.
        preprocessing: of a model that is to see them; None computes mean and standard deviation of a sample.
        strict: an image that cannot be read is an error; otherwise it is named, left out and counted.

    Raises:
        UsageError: no folder, no images, one class only, or classes that differ between the splits.
    """
    path = Path(name.base)
    labels, train, test = read_folder(path)
    unreadable = Unreadable(strict, notify)
    how = preprocessing or _preprocessing(train, image_size, unreadable)
    cache = Cache()
    splits = [
        Encoded([file for file, _ in part.files], np.array(part.labels), how, "", unreadable, cache) for part in (train, test)
    ]
    if train.bytes + test.bytes <= CHECK_BYTES:
        splits = [split.without_unreadable() for split in splits]
        for title, split in zip(("train", "test"), splits, strict=True):
            _require_images(path, title, labels, split)
        if unreadable.errors:
            notify(f"{len(unreadable.errors)} of {len(train.files) + len(test.files)} images cannot be read and are left out")
    if preprocessing is None:
        how = _measured(how, splits[0])
    # An image that could be read when a run began, and cannot any more, changes what its positions mean.
    contents = f"{_fingerprint(path, train, test)}, {sum(map(len, splits))} used"
    vary = augmentation(name.augment or AUGMENT, how.height)
    return Indexed(str(name), 1, labels, how, splits[0], splits[1], vary, path.name or "root", contents)


def read_folder(path: Path) -> tuple[tuple[str, ...], Listing, Listing]:
    """Class names, training and test files."""
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; dir:PATH takes one with train/ and test/, or with one folder a class")
    try:
        if (path / TRAIN).is_dir():
            tests = [path / name for name in TEST if (path / name).is_dir()]
            train = _classes(path / TRAIN)
            if tests:
                return _two_splits(path, train, tests[0])
            path = path / TRAIN
        else:
            train = _classes(path)
    except OSError as error:
        raise ElLarqError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    for name, files in train.items():
        if len(files) < 2:
            raise UsageError(f"{path / name}: holds one image; a class needs two at least, one of them for testing")
    parts = {name: _split(path, name, files) for name, files in train.items()}
    return (
        tuple(train),
        _listing({name: part[0] for name, part in parts.items()}),
        _listing({name: part[1] for name, part in parts.items()}),
    )


def _two_splits(path: Path, train: dict[str, Files], folder: Path) -> tuple[tuple[str, ...], Listing, Listing]:
    test = _classes(folder)
    only = [sorted(set(a) - set(b)) for a, b in ((train, test), (test, train))]
    for names, here, there in ((only[0], TRAIN, folder.name), (only[1], folder.name, TRAIN)):
        if names:
            more = f" and {len(names) - 3} more" if len(names) > 3 else ""
            raise UsageError(f"{path}: {here}/ has classes that {there}/ has not: {', '.join(names[:3])}{more}; make them the same")
    return tuple(train), _listing(train), _listing(test)


def _classes(path: Path) -> dict[str, Files]:
    """The image files of each class folder, with their sizes, everything in the order of names."""
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    found = {name: _images(str(path / name)) for name in folders}
    if not any(found.values()):
        raise UsageError(f"{path}: no images in folders, one a class (known: {', '.join(SUFFIXES)})")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UsageError(f"{path / empty[0]}: a class without images (known: {', '.join(SUFFIXES)}); add some or remove the folder")
    if len(found) == 1:
        raise UsageError(f"{path}: only one class, {folders[0]!r}; a classifier needs two at least")
    return found


def _images(folder: str) -> Files:
    found = []
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            found += _images(entry.path)
        elif entry.name.lower().endswith(SUFFIXES):
            try:
                found.append((entry.path, entry.stat().st_size))
            except OSError:
                found.append((entry.path, 0))  # a dangling link: named when it is read
    return sorted(found)


def _split(path: Path, name: str, files: Files) -> tuple[Files, Files]:
    folder = path / name

    def key(file: File) -> bytes:
        return hashlib.sha256(f"{name}/{_relative(file[0], folder)}".encode("utf-8", "surrogateescape")).digest()

    test = set(sorted(files, key=key)[: max(1, round(TEST_SHARE * len(files)))])
    return [file for file in files if file not in test], [file for file in files if file in test]


def _relative(file: str, folder: Path) -> str:
    return os.path.relpath(file, folder).replace(os.sep, "/")


def _listing(classes: dict[str, Files]) -> Listing:
    files = [file for part in classes.values() for file in part]
    labels = [label for label, part in enumerate(classes.values()) for _ in part]
    return Listing(tuple(files), tuple(labels))


def _fingerprint(path: Path, train: Listing, test: Listing) -> str:
    """Of names and sizes, not of contents: a set may be larger than what one wants to read twice."""
    digest = hashlib.sha256()
    for part in (train, test):
        for file, size in part.files:
            digest.update(f"{_relative(file, path)}\0{size}\n".encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return f"{len(train.files)} + {len(test.files)} files {digest.hexdigest()[:16]}"


def _preprocessing(train: Listing, image_size: int | None, unreadable: Unreadable) -> Preprocessing:
    """Size and channels from the headers of a sample; without mean and standard deviation yet."""
    sizes, grey = [], True
    for index in looks.spread(len(train.files)):
        path = train.files[index][0]
        try:
            with Image.open(path) as image:
                sizes.append(image.size)
                grey = grey and looks.is_grey(image)
        except Exception as error:  # Pillow's decoders raise nearly every kind of error for damage
            unreadable.report(path, ElLarqError(f"{path}: cannot be read as an image: {summarize(error)}"))
    if not sizes:
        raise ElLarqError(
            f"{Path(train.files[0][0]).parent.parent}: none of its images can be read; give PNG, JPEG or another common format"
        )
    side = image_size or looks.usual_size(sizes)
    return Preprocessing(side, side, 1 if grey else 3)


def _measured(how: Preprocessing, train: Encoded) -> Preprocessing:
    images = [image for index in looks.spread(len(train)) if (image := train.try_image(index)) is not None]
    if not images:
        raise ElLarqError(f"{train.name(0)}: neither this nor any other image can be read")
    return looks.with_statistics(how, images)


def _require_images(path: Path, split: str, labels: tuple[str, ...], images: Encoded) -> None:
    counts = np.bincount(images.labels, minlength=len(labels))
    for label, count in zip(labels, counts, strict=True):
        if not count:
            raise ElLarqError(f"{path}: no image of class {label!r} for {split} can be read")

"""`dir:PATH`: a folder of images, one folder per class. Does not import TensorFlow.

    PATH/train/CLASS/image.jpg, PATH/test/CLASS/image.jpg and, optionally, a validation split: val, valid or validation
        (in upper or lower case: Train, VAL); without test/, the validation split is the test split, as for ImageNet
    PATH/CLASS/image.jpg, or PATH/train/CLASS/image.jpg alone: a fixed fifth of each class becomes the test split

Which images of a class are for testing follows from their names alone (in the order of a hash of them), not from the order
in which a file system lists them. Classes are sorted by name.
"""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from el_larq.data import infer_preprocessing
from el_larq.data.encoded import CHECK_BYTES, Cache, Encoded, Unreadable
from el_larq.data.indexed import Indexed
from el_larq.data.names import Name, augmentation
from el_larq.data.preprocessing import Preprocessing, image_formats
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.printable import listed

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
SPLITS = {"train": "train", "test": "test", "val": "validation", "valid": "validation", "validation": "validation"}
"""Names of folders, in lower case, and the split that each contains."""

TEST_SHARE = 0.2

File = tuple[str, int]
Files = list[File]
"""Path and size in bytes of each file."""

AUGMENT = "crop-mirror"


@dataclass(frozen=True)
class Listing:
    """The image files of a split: path and size in bytes of each, ordered by class and by name."""

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
    """Load the data set in a folder.

    Arguments:
        image_size: None infers it from the sizes of these images, at most 224.
        preprocessing: that of the model which the images are for; None computes mean and standard deviation from a sample.
        strict: an image that cannot be read is an error; otherwise it is reported, left out and counted.

    Raises:
        UsageError: no folder, no images, only one class, or classes that differ between the splits.
        ElLarqError: the folder cannot be read, or all images of a class, or with ``strict`` a single one.
    """
    path = Path(name.base)
    labels, parts = read_folder(path, notify)
    train = parts["train"]
    unreadable = Unreadable(strict, notify)
    how = preprocessing or _preprocessing(train, image_size, unreadable)
    cache = Cache()
    splits = {
        title: Encoded([file for file, _ in part.files], np.array(part.labels), how, "", unreadable, cache)
        for title, part in parts.items()
    }
    if sum(part.bytes for part in parts.values()) <= CHECK_BYTES:
        splits = {title: split.without_unreadable() for title, split in splits.items()}
        for title, split in splits.items():
            _require_images(path, title, labels, split)
        if unreadable.errors:
            count = sum(len(part.files) for part in parts.values())
            notify(f"{len(unreadable.errors)} of {count} images cannot be read and are left out")
    if preprocessing is None:
        how = _measured(how, splits["train"])
    # The fingerprint includes the number of readable images: if one becomes unreadable during a run, the positions shift.
    contents, more = (
        _fingerprint(path, [parts[title] for title in titles], sum(len(splits[title]) for title in titles))
        for titles in (("train", "test"), ("validation",) if "validation" in parts else ())
    )
    return Indexed(
        str(name),
        1,
        labels,
        how,
        splits["train"],
        splits["test"],
        augmentation(name.augment or AUGMENT, how.height),
        path.name or "root",
        contents,
        validation=splits.get("validation"),
        validation_contents=f"; validation {more}" if more else "",
    )


def read_folder(path: Path, notify: Callable[[str], None]) -> tuple[tuple[str, ...], dict[str, Listing]]:
    """Class names, and the files of "train", "test" and, if the folder has both test and validation images, "validation"."""
    if not path.is_dir():
        raise UsageError(f"{path}: no such folder; dir:PATH takes one with train/ and test/, or with one folder per class")
    try:
        folders = _split_folders(path, notify)
        classes = {split: _classes(folder) for split, folder in folders.items()} if folders else {"train": _classes(path)}
    except OSError as error:
        raise ElLarqError(f"{error.filename or path}: cannot be read: {error.strerror or error}") from error
    train = classes["train"]
    for split, found in classes.items():
        if split != "train":
            _check_same_classes(path, (folders["train"].name, train), (folders[split].name, found))
    if "test" not in classes and "validation" in classes:
        classes["test"] = classes.pop("validation")
    if "test" not in classes:
        place = folders.get("train", path)
        for name, files in train.items():
            if len(files) < 2:
                raise UsageError(f"{place / name}: contains one image; a class needs at least two, one of them for testing")
        parts = {name: _split(place, name, files) for name, files in train.items()}
        classes["train"], classes["test"] = ({name: part[side] for name, part in parts.items()} for side in (0, 1))
    return tuple(train), {split: _listing(found) for split, found in classes.items()}


def _split_folders(path: Path, notify: Callable[[str], None]) -> dict[str, Path]:
    """The folder of each split; empty if the folders are classes.

    Raises:
        UsageError: two folders for the same split, or no training split among the splits.
    """
    names = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    known = [(SPLITS[name.lower()], name) for name in names if name.lower() in SPLITS]
    found = {split: path / name for split, name in known}
    if "train" not in found:
        if known and len(known) == len(names):
            raise UsageError(f"{path}: has {', '.join(f'{name}/' for name in names)} and no train/; add it, or name one of them")
        return {}  # they are classes, one of which may be called "valid"
    for split, name in known:
        if found[split].name != name:
            raise UsageError(f"{path}: {name}/ and {found[split].name}/ both contain the {split} split; remove or rename one")
    if others := [f"{name}/" for name in names if name.lower() not in SPLITS]:
        notify(f"{path}: {', '.join(others)} left out; a folder with train/ takes its images from train/, val/ and test/")
    return found


def _check_same_classes(path: Path, *splits: tuple[str, dict[str, Files]]) -> None:
    for (here, ours), (there, theirs) in (splits, splits[::-1]):
        if names := sorted(set(ours) - set(theirs)):
            raise UsageError(
                f"{path}: {here}/ contains classes missing from {there}/: {listed(names, 3)}; use the same classes in both"
            )


def _classes(path: Path) -> dict[str, Files]:
    """The image files of each class folder, with their sizes; classes and files are sorted by name."""
    folders = sorted(entry.name for entry in os.scandir(path) if entry.is_dir() and not entry.name.startswith("."))
    found = {name: image_files(str(path / name)) for name in folders}
    if not any(found.values()):
        raise UsageError(f"{path}: no images in folders, one per class (known: {', '.join(SUFFIXES)})")
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise UsageError(f"{path / empty[0]}: a class without images (known: {', '.join(SUFFIXES)}); add some or remove the folder")
    if len(found) == 1:
        raise UsageError(f"{path}: only one class, {folders[0]!r}; a classifier needs at least two")
    return found


def image_files(folder: str) -> Files:
    """The images in a folder and its subfolders, by their suffixes, sorted; hidden ones are left out."""
    found = []
    for entry in os.scandir(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir(follow_symlinks=False):
            found += image_files(entry.path)
        elif entry.name.lower().endswith(SUFFIXES):
            try:
                found.append((entry.path, entry.stat().st_size))
            except OSError:
                found.append((entry.path, 0))  # a dangling link: reported when it is read
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


def _fingerprint(path: Path, parts: Sequence[Listing], used: int) -> str:
    """A hash of names and sizes, not of contents, since reading a large data set twice would take too long; "" for no parts."""
    if not parts:
        return ""
    digest = hashlib.sha256()
    for part in parts:
        for file, size in part.files:
            digest.update(f"{_relative(file, path)}\0{size}\n".encode("utf-8", "surrogateescape"))
        digest.update(b"\n")
    return f"{' + '.join(str(len(part.files)) for part in parts)} files {digest.hexdigest()[:16]}, {used} used"


def _preprocessing(train: Listing, image_size: int | None, unreadable: Unreadable) -> Preprocessing:
    """Size and channels inferred from the headers of a sample; mean and standard deviation are not set yet."""
    sizes, grey = [], True
    for index in infer_preprocessing.sample_indices(len(train.files)):
        path = train.files[index][0]
        try:
            with Image.open(path, formats=image_formats()) as image:
                sizes.append(image.size)
                grey = grey and infer_preprocessing.is_grey(image)
        except Exception as error:  # Pillow's decoders raise nearly every kind of error for damaged files
            unreadable.report(path, ElLarqError(f"{path}: cannot be read as an image: {summarize(error)}"))
    if not sizes:
        raise ElLarqError(
            f"{Path(train.files[0][0]).parent.parent}: none of its images can be read; give PNG, JPEG or another common format"
        )
    side = image_size or infer_preprocessing.choose_size(sizes)
    return Preprocessing(side, side, 1 if grey else 3)


def _measured(how: Preprocessing, train: Encoded) -> Preprocessing:
    sample = map(train.try_image, infer_preprocessing.sample_indices(len(train)))
    measured = infer_preprocessing.with_statistics(how, (image for image in sample if image is not None))
    if measured is None:
        raise ElLarqError(f"{train.name(0)}: neither this nor any other image can be read")
    return measured


def _require_images(path: Path, split: str, labels: tuple[str, ...], images: Encoded) -> None:
    counts = np.bincount(images.labels, minlength=len(labels))
    for label, count in zip(labels, counts, strict=True):
        if not count:
            raise ElLarqError(f"{path}: no image of class {label!r} for {split} can be read")

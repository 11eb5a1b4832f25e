"""What the formats of annotations have in common: lists of files, names of images, splits. Does not import TensorFlow."""

import hashlib
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from el_larq.data.image_folder import SPLITS, TEST_SHARE, image_files
from el_larq.detection.annotations import Findings, StatedImage
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import read_bytes
from el_larq.printable import counted, listed

MAX_TEXT = 1 << 22
"""Bytes of a text file that is read, at most."""

MAX_CLASSES = 10_000

_SPLITS = SPLITS | {"training": "train", "testing": "test"}
_WORD = re.compile("[A-Z]?[a-z]+|[A-Z]+")
_PURPOSES = {"train": "training", "validation": "validation", "test": "test"}

_ABSOLUTE = re.compile("/|[A-Za-z]:/")


@dataclass(frozen=True)
class Splits:
    """labels: the names of the classes. images: by "train", "test" and, possibly, "validation". encoded: the images by their paths,
    if they are not files."""

    labels: tuple[str, ...]
    images: dict[str, list[StatedImage]]
    encoded: Mapping[str, bytes] | None = None

    def items(self, paths: Sequence[str]) -> Sequence[str | bytes]:
        """What to decode for these paths: the files, or their contents."""
        return paths if self.encoded is None else [self.encoded[path] for path in paths]

    def size(self, path: str) -> int:
        """Of an encoded image, in bytes; 0 for a file that cannot be read, which is reported when it is."""
        try:
            return os.stat(path).st_size if self.encoded is None else len(self.encoded[path])
        except OSError:
            return 0


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, stripped, without empty ones. Raises ElLarqError if it cannot be read or is not text."""
    try:
        return [line.strip() for line in read_bytes(path, MAX_TEXT).decode("utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError:
        raise ElLarqError(f"{path}: not a text in UTF-8") from None


def is_inside(name: str) -> bool:
    """Whether a file's name in an annotation stays inside the folder it is relative to: neither absolute nor upwards."""
    normal = name.replace("\\", "/")
    return not (_ABSOLUTE.match(normal) or ".." in PurePosixPath(normal).parts or "\0" in normal)


def split_of(*names: str) -> str | None:
    """The split that a word of these names of files or folders stands for, such as "train" for "InstancesTrain2017"."""
    words = [word.lower() for name in names for word in _WORD.findall(name)]
    return next((_SPLITS[word] for word in words if word in _SPLITS), None)


def left_out(names: Sequence[str]) -> str:
    """What to say about files or folders whose names stand for no split."""
    return f"{listed(names, 3)} left out: without train, val or test in the name"


def overlaps(images: Mapping[str, Sequence[StatedImage]]) -> Iterator[str]:
    """What to say about images that are in two splits."""
    paths = {split: {image.path for image in images.get(split, ())} for split in _PURPOSES}
    for one, other in itertools.combinations(_PURPOSES, 2):
        if both := len(paths[one] & paths[other]):
            counts = f"{both:,} of {len(paths[other]):,} {_PURPOSES[other]} images are also {_PURPOSES[one]} images"
            yield f"{counts}; scores on them do not count for others"


def image_index(folder: Path) -> dict[str, list[str]]:
    """The paths of the images in a folder and its subfolders, by path in the folder and by name, with and without suffix.

    If the path or name of one image is that of another without suffix, it is the former's; a path comes before a name.
    """
    try:
        paths = [Path(path) for path, _ in image_files(str(folder))]
    except OSError as error:
        raise ElLarqError(f"{error.filename or folder}: cannot be read: {error.strerror or error}") from error
    whole = [path.relative_to(folder) for path in paths]
    index: dict[str, list[str]] = {}
    for keys in (
        [path.stem for path in paths],
        [path.with_suffix("").as_posix() for path in whole],
        [path.name for path in paths],
        [path.as_posix() for path in whole],
    ):
        named = defaultdict(list)
        for key, path in zip(keys, paths, strict=True):
            named[key].append(str(path))
        index |= named
    return index


def split_by_names(folder: Path, images: Sequence[StatedImage], findings: Findings) -> dict[str, list[StatedImage]]:
    """A fixed fifth of the images for testing, which follows from their names in the folder alone."""

    def key(image: StatedImage) -> bytes:
        name = os.path.relpath(image.path, folder).replace(os.sep, "/")
        return hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()

    if len(images) < 2:
        found = counted(len(images), "annotated image")
        reason = f": {findings.summary()}" if findings.counts else ""
        raise UsageError(f"{folder}: contains {found}; at least two are needed, one of them for testing{reason}")
    test = {image.path for image in sorted(images, key=key)[: max(1, round(TEST_SHARE * len(images)))]}
    return {
        "train": [image for image in images if image.path not in test],
        "test": [image for image in images if image.path in test],
    }


def with_test(
    folder: Path, images: dict[str, list[StatedImage]], findings: Findings, notify: Callable[[str], None]
) -> dict[str, list[StatedImage]]:
    """The splits that were found, completed: without test images, those for validation take their place, or a fixed fifth.

    Test images of which none has objects were published without annotations, and are left out.
    """
    found = {split: part for split, part in images.items() if part}
    labelled = {split for split, part in found.items() if any(image.objects for image in part)}
    if "train" not in found:
        raise ElLarqError(f"{folder}: no annotated images for training: {findings.summary() or 'none is annotated'}")
    if "test" in found and "test" not in labelled:
        notify(f"{len(found.pop('test')):,} test images left out: none is annotated")
    if "test" not in found and "validation" in labelled:
        found["test"] = found.pop("validation")
    return found if "test" in found else found | split_by_names(folder, found["train"], findings)


def check_labels(path: Path, labels: Iterable[str]) -> tuple[str, ...]:
    """Names of classes from a file, in their order. Raises ElLarqError for none, too many, an empty name or a repeated one."""
    names = tuple(labels)
    if not names:
        raise ElLarqError(f"{path}: names no classes")
    if len(names) > MAX_CLASSES:
        raise ElLarqError(f"{path}: names {len(names):,} classes; at most {MAX_CLASSES:,} are read")
    times = Counter(names)
    if (repeated := next((name for name in names if times[name] > 1 or not name.strip()), None)) is not None:
        raise ElLarqError(f"{path}: the class {repeated[:80]!r} is empty or occurs twice; give each class a name of its own")
    return names

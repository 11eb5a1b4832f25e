"""MNIST and the data sets made after it, from the four IDX files or as TensorFlow Datasets (TFDS) prepared them.

Grey images of one size, 28x28 in all sets known by name. A set known by name is looked for, in this order, as IDX files in the
folder that its name contains (or in a subfolder with the set's name), in the folder of TFDS and in the system's folder of data
sets, and then as prepared by TFDS. ``idx:PATH`` is any folder with four IDX files; its classes are numbered.

Images are decoded, resized and held in memory. Does not import TensorFlow.
"""

import hashlib
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from el_larq.data import idx, infer_preprocessing
from el_larq.data.encoded import Encoded, Unreadable
from el_larq.data.in_memory import InMemory, Split
from el_larq.data.names import Name, augmentation
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError

VERSION = 1
AUGMENTATIONS = ("shift", "none", "shift-mirror")
"""The default comes first."""

SYSTEM = Path("/usr/share/datasets")
"""Where Debian installs data sets; its package dataset-fashion-mnist contains Fashion-MNIST."""

Arrays = tuple[np.ndarray, np.ndarray]
"""Images, uint8 (N, H, W), and labels (N,)."""


@dataclass(frozen=True)
class Known:
    """A data set that is known by name.

    folders: names of its folder in the places that are searched. prefix: what precedes the usual names of its IDX files.
    first_label: the label of the first class. transposed: whether rows and columns of its images are exchanged.
    """

    name: str
    summary: str
    labels: tuple[str, ...]
    folders: tuple[str, ...]
    prefix: str = ""
    first_label: int = 0
    transposed: bool = False

    @property
    def slug(self) -> str:
        return self.name.replace("/", "-")


_FASHION = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_MERGED = string.digits + string.ascii_uppercase + "abdefghnqrt"
"""Lower-case letters that look like their capitals are one class with them."""


def _emnist(split: str, images: str, labels: str, first_label: int = 0) -> Known:
    summary = f"{images} handwritten {'digits' if len(labels) == 10 else 'characters'}, {len(labels)} classes, 28x28 grey"
    folders = ("emnist", f"emnist-{split}", f"emnist_{split}")
    return Known(f"emnist/{split}", summary, tuple(labels), folders, f"emnist-{split}-", first_label, transposed=True)


KNOWN = {
    entry.name: entry
    for entry in (
        Known(
            "fashion_mnist",
            "70,000 pictures of clothes, 10 classes, 28x28 grey; Debian's dataset-fashion-mnist, IDX files or TFDS",
            _FASHION,
            ("fashion_mnist", "fashion-mnist"),
        ),
        Known("mnist", "70,000 handwritten digits, 10 classes, 28x28 grey; IDX files or TFDS", tuple(string.digits), ("mnist",)),
        Known(
            "kmnist",
            "70,000 cursive Japanese characters, 10 classes, 28x28 grey; IDX files or TFDS",
            ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            ("kmnist",),
        ),
        _emnist("balanced", "131,600", _MERGED),
        _emnist("byclass", "814,255", string.digits + string.ascii_uppercase + string.ascii_lowercase),
        _emnist("bymerge", "814,255", _MERGED),
        _emnist("digits", "280,000", string.digits),
        _emnist("letters", "145,600", string.ascii_uppercase, first_label=1),
        _emnist("mnist", "70,000", string.digits),
    )
}


@dataclass(frozen=True)
class MnistLike(InMemory):
    """short_name: for names of folders. contents: identifies the images and labels by their hash."""

    short_name: str = field(kw_only=True)
    contents: str = field(kw_only=True)

    @property
    def slug(self) -> str:
        return self.short_name

    @property
    def fingerprint(self) -> str:
        return self.contents


def check(name: Name) -> None:
    """Raise ElLarqError if the data set is not there. Only looks for files."""
    if name.kind == "idx":
        if not Path(name.base).is_dir():
            raise UsageError(
                f"{name.base}: no such folder; idx:PATH takes one with four IDX files, such as {idx.ROLES[0]}-idx3-ubyte"
            )
    elif _files(name) is None:
        _find_prepared(name)


def load(
    name: Name,
    image_size: int | None = None,
    preprocessing: Preprocessing | None = None,
    strict: bool = False,
    notify: Callable[[str], None] = lambda line: None,
) -> MnistLike:
    """Load a data set of this kind; arguments as in `el_larq.data.image_folder.load`.

    The input is scaled by the mean and std of all training images in their own size.

    Raises:
        UsageError: there is no such folder, or labels are out of range, or an augmentation that these data sets do not have.
        ElLarqError: a file is missing, damaged or of another size than the others, see `el_larq.data.idx`; or no data were found.
    """
    check(name)
    kind = name.augment or AUGMENTATIONS[0]
    if kind not in AUGMENTATIONS:
        raise UsageError(f"{name}: augmentation {kind} is for photographs; grey images of one size take {', '.join(AUGMENTATIONS)}")
    known = KNOWN.get(name.base) if name.kind == "mnist" else None
    train, test = _arrays(name, strict, notify)
    labels = known.labels if known else tuple(map(str, range(int(train[1].max()) + 1)))
    train, test = (_checked(part, labels, known, f"{name} {title}") for part, title in ((train, "train"), (test, "test")))
    height, width = train[0].shape[1:]
    side = image_size or infer_preprocessing.choose_size([(width, height)])
    mean, std = _statistics(train[0])
    how = preprocessing or Preprocessing(side, side, 1, mean, std)
    digest = hashlib.sha256()
    for array in (*train, *test):
        digest.update(array.tobytes())
    slug = known.slug if known else f"idx-{Path(name.base).name}"
    vary = augmentation(kind, how.height)
    return MnistLike(
        str(name),
        VERSION,
        labels,
        how,
        Split(_resized(train[0], how), train[1]),
        Split(_resized(test[0], how), test[1]),
        shift=vary.pad,
        mirror=vary.mirror,
        black=True,
        short_name=slug,
        contents=f"{slug}: {len(train[1])} + {len(test[1])} images, sha256 {digest.hexdigest()}",
    )


def _resized(images: np.ndarray, how: Preprocessing) -> np.ndarray:
    """Images (N, H, W) as the preprocessing takes them, before scaling: uint8 (N, height, width, channels)."""
    if images.shape[1:] != (how.height, how.width) or how.crop != 1:
        grey = Preprocessing(how.height, how.width, 1, crop=how.crop)
        images = np.stack([grey.pixels(Image.fromarray(image)) for image in images])[..., 0]
    return np.repeat(images[..., None], how.channels, axis=-1) if how.channels > 1 else images[..., None]


def _arrays(name: Name, strict: bool, notify: Callable[[str], None]) -> tuple[Arrays, Arrays]:
    if name.kind == "idx":
        folder = Path(name.base)
        return idx.read_splits(idx.find_files(folder), folder)
    if (found := _files(name)) is not None:
        folder, files = found
        return idx.read_splits(files, folder)
    from el_larq.data.prepared import read_encoded

    grey = Preprocessing(28, 28, 1)
    prepared, _ = _find_prepared(name)
    splits = []
    for title, (images, labels) in read_encoded(prepared).items():
        unreadable = Unreadable(strict, notify)
        split = Encoded(images, labels, grey, f"{name} {title}", unreadable).without_unreadable()
        splits.append((np.stack([np.asarray(split.image(index)) for index in range(len(split))]), split.labels))
    return splits[0], splits[1]


def _files(name: Name) -> tuple[Path, dict[str, Path]] | None:
    """The first folder with IDX files of a data set known by name, and those files."""
    from el_larq.data.prepared import data_dir

    known = KNOWN[name.base]
    place = data_dir(name)
    folders = [*((place,) if name.data_dir else ()), *(place / folder for folder in known.folders)]
    if not name.data_dir:
        folders += [SYSTEM / folder for folder in known.folders]
    for folder in folders:
        if files := idx.find_files(folder, known.prefix):
            return folder, files
    return None


def _find_prepared(name: Name) -> tuple[Name, Path]:
    """As `el_larq.data.prepared.find`, of a set known by name."""
    from el_larq.data.prepared import data_dir, find

    base, _, config = name.base.partition("/")
    prepared = Name("tfds", base, config or None, None, name.data_dir)
    try:
        return find(prepared)
    except ElLarqError as error:
        build = str(error).partition("; ")[2].partition(", or name")[0]
        package = " install Debian's package dataset-fashion-mnist," if name.base == "fashion_mnist" else ""
        file = f"{KNOWN[name.base].prefix}train-images-idx3-ubyte.gz"
        raise ElLarqError(
            f"{name}: neither IDX files nor prepared by TFDS in {data_dir(name)};{package} name the folder of its four IDX files"
            f" ({file}, ...) with --data-dir, or {build}"
        ) from error


def _checked(part: Arrays, labels: tuple[str, ...], known: Known | None, title: str) -> Arrays:
    """Images upright, and labels from 0 as int64."""
    images, numbers = part
    first = known.first_label if known else 0
    numbers = numbers.astype(np.int64) - first
    wrong = np.flatnonzero((numbers < 0) | (numbers >= len(labels)))
    if len(wrong):
        found = numbers[wrong[0]] + first
        raise UsageError(
            f"{title}: image {wrong[0]} has label {found}; "
            f"labels are {first} to {first + len(labels) - 1}; check that the files are of this data set"
        )
    return np.ascontiguousarray(images.transpose(0, 2, 1)) if known and known.transposed else images, numbers


def _statistics(images: np.ndarray) -> tuple[float, float]:
    """Mean and standard deviation (at least 1) of all values, from their histogram, which needs little memory and is exact."""
    counts = sum(np.bincount(image.reshape(-1), minlength=256) for image in np.array_split(images, -(-len(images) // 1000)))
    levels = np.arange(256)
    mean = float((counts * levels).sum() / images.size)
    std = float(np.sqrt((counts * (levels - mean) ** 2).sum() / images.size))
    return round(mean, 3), max(round(std, 3), 1.0)

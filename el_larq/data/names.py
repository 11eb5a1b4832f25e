"""How data sets are named on the command line. A name contains everything that is needed to load the data set again.

    digits, photos, shapes                    embedded
    dir:PATH                                  a folder of images
    idx:PATH                                  a folder with four IDX files
    voc:PATH, coco:PATH, yolo:PATH            a folder of images with boxes, in one of these formats
    tfds:NAME[/CONFIG][:VERSION][@DATA_DIR]   prepared by TensorFlow Datasets
    cifar10[@DATA_DIR], ...                   the same, with the preprocessing that is usual in the literature
    fashion_mnist[@DATA_DIR], ...             MNIST and sets like it, as IDX files or prepared by TensorFlow Datasets

All but the embedded ones may end in ",augment=KIND". Does not import TensorFlow.
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

from el_larq.data.augmentation import Augmentation
from el_larq.errors import UsageError, unknown_name

FOLDERS = {"dir": "dir:", "idx": "idx:", "voc": "voc:", "coco": "coco:", "yolo": "yolo:"}
"""Kinds of data sets that are a folder of the user's, and what precedes the folder in their names."""

TFDS = "tfds:"

AUGMENTATIONS = {
    "none": "images as they are",
    "shift": "shifted by up to an eighth of the side, black next to it",
    "shift-mirror": "the same, and mirrored: usual for CIFAR",
    "crop": "a random part of at least a quarter of the area",
    "crop-mirror": "the same, and mirrored",
    "imagenet": "a random part of at least 8 % of the area, and mirrored: usual for ImageNet",
}

_OPTION = re.compile(r"^(?P<rest>.*),augment=(?P<augment>[^,]*)$", re.DOTALL)
_PREPARED = re.compile(r"(?P<set>\w+)(?:/(?P<config>[\w.-]+))?(?::(?P<version>\d+\.\d+\.\d+))?")


@dataclass(frozen=True)
class Name:
    """kind: "embedded", "tfds", "standard", "mnist", or one of `FOLDERS`. base: PATH for a folder, NAME for "tfds", otherwise the
    name itself."""

    kind: str
    base: str
    config: str | None = None
    version: str | None = None
    data_dir: str | None = None
    augment: str | None = None

    def __str__(self) -> str:
        text = {**FOLDERS, "tfds": TFDS}.get(self.kind, "") + self.base
        text += f"/{self.config}" if self.config else ""
        text += f":{self.version}" if self.version else ""
        text += f"@{self.data_dir}" if self.data_dir else ""
        return text + (f",augment={self.augment}" if self.augment else "")


def parse(name: str, embedded: tuple[str, ...], standard: tuple[str, ...], mnist: tuple[str, ...] = ()) -> Name:
    """The parts of a name; folders become absolute.

    Raises:
        UsageError: an unknown or incomplete name.
    """
    augment, rest = None, name
    if option := _OPTION.match(name):
        rest, augment = option["rest"], option["augment"]
        if augment not in AUGMENTATIONS:
            raise unknown_name("augmentation", augment, AUGMENTATIONS)
    for kind, prefix in FOLDERS.items():
        if rest.startswith(prefix):
            path = rest.removeprefix(prefix)
            if not path:
                raise UsageError(f"{prefix} does not name a folder; write {prefix}PATH")
            return Name(kind, str(Path(path).expanduser().absolute()), augment=augment)
    base, _, data_dir = rest.partition("@")
    folder = str(Path(data_dir).expanduser().absolute()) if data_dir else None
    if base in embedded:
        if data_dir or augment:
            raise UsageError(f"{base} is embedded: it takes neither a folder nor an augmentation")
        return Name("embedded", base)
    if base in standard:
        return Name("standard", base, data_dir=folder, augment=augment)
    if base in mnist:
        return Name("mnist", base, data_dir=folder, augment=augment)
    if base.startswith(TFDS):
        found = _PREPARED.fullmatch(base.removeprefix(TFDS))
        if found is None:
            raise UsageError(f"{base}: write {TFDS}NAME, {TFDS}NAME/CONFIG or {TFDS}NAME:VERSION, as in {TFDS}beans:0.1.0")
        return Name("tfds", found["set"], found["config"], found["version"], folder, augment)
    if Path(base).is_dir():
        raise UsageError(f"unknown data set {name!r}; did you mean the folder, {FOLDERS['dir']}{name}?")
    raise unknown_name(
        "data set", name, (*embedded, *standard, *mnist, *(f"{prefix}PATH" for prefix in FOLDERS.values()), f"{TFDS}NAME")
    )


def with_options(name: str, data_dir: str | Path | None = None, augment: str | None = None) -> str:
    """The name with the values of --data-dir and --augment added. Raises UsageError if it already has them."""
    if augment is not None:
        if _OPTION.match(name):
            raise UsageError(f"{name} already names its augmentation; omit --augment")
        if augment not in AUGMENTATIONS:
            raise unknown_name("augmentation", augment, AUGMENTATIONS)
    if data_dir is not None:
        if "@" in name or name.startswith(tuple(FOLDERS.values())):
            raise UsageError(f"{name} already names its folder; omit --data-dir")
        option = _OPTION.match(name)
        name = f"{option['rest']}@{data_dir},augment={option['augment']}" if option else f"{name}@{data_dir}"
    return f"{name},augment={augment}" if augment is not None else name


def folders(name: str) -> tuple[Path, ...]:
    """The folder of a data set that is one (`FOLDERS`), which no results may be written to; empty for the other kinds."""
    return (Path(parse(name, (), ()).base),) if name.startswith(tuple(FOLDERS.values())) else ()


def augmentation(kind: str, image_size: int) -> Augmentation:
    """The augmentation called ``kind`` for inputs of ``image_size`` pixels."""
    pad = max(1, image_size // 8)
    return {
        "none": Augmentation(),
        "shift": Augmentation(pad=pad),
        "shift-mirror": Augmentation(mirror=True, pad=pad),
        "crop": Augmentation(area=(0.25, 1.0)),
        "crop-mirror": Augmentation(mirror=True, area=(0.25, 1.0)),
        "imagenet": Augmentation(mirror=True, area=(0.08, 1.0)),
    }[kind]


def at_version(name: Name, config: str | None, version: str) -> Name:
    return replace(name, config=config, version=version)

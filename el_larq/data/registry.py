"""Every data set by name. Adding an embedded one takes its file and one line here."""

import importlib
from dataclasses import dataclass

from el_larq.data.dataset import Dataset
from el_larq.errors import UsageError, unknown_name

MIN_IMAGE_SIZE = 8


@dataclass(frozen=True)
class DatasetEntry:
    name: str
    summary: str
    module: str


DATASETS = {
    entry.name: entry
    for entry in (
        DatasetEntry("digits", "1,797 handwritten digits, 10 classes, 16x16 grey; embedded", "el_larq.data.digits"),
        DatasetEntry("photos", "11,520 crops of 18 photographs, 18 classes, 32x32 grey; embedded, hard", "el_larq.data.photos"),
    )
}


def load_dataset(name: str, image_size: int | None = None) -> Dataset:
    """The data set of that name, in its own image size or the one asked for."""
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    if image_size is not None and image_size < MIN_IMAGE_SIZE:
        raise UsageError(f"image size {image_size} is too small; the least is {MIN_IMAGE_SIZE}")
    module = importlib.import_module(DATASETS[name].module)
    return module.load() if image_size is None else module.load(image_size)

"""Selection of the training images held out for validation: a fixed part of each class. Does not import TensorFlow."""

from typing import Any

import numpy as np

from el_larq.data.dataset import Dataset
from el_larq.errors import UsageError


def held_out(data: Dataset, labels: np.ndarray, share: float) -> np.ndarray:
    """A mask of the training images that are held out, bool (N,): the given fraction of each class, rounded, and at least one.

    It depends only on the labels (N,) in their order and on ``share``, so that runs with different seeds can be compared.

    Raises:
        UsageError: a class with a single training image.
    """
    held = np.zeros(len(labels), bool)
    random = np.random.RandomState(0)  # the legacy generator's stream never changes
    for label, name in enumerate(data.labels):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members):
            held[members[: count_held_out(data, len(members), share, f" of class {name!r}")]] = True
    return held


def count_held_out(data: Dataset, images: int, share: float, of: str = "") -> int:
    """How many of ``images`` training images are held out. Raises UsageError for fewer than two."""
    if images < 2:
        raise UsageError(
            f"{data.name}: {images} training image{of}, so none can be held out for validation; "
            "give more images, or train without validation: --validation 0"
        )
    return min(max(1, round(share * images)), images - 1)


def counts(data: Any) -> dict[str, list[int]]:
    """The number of images per class, by split, for a data set whose splits have ``labels`` (N,)."""
    return {name: np.bincount(split.labels, minlength=data.num_classes).tolist() for name, split in data.splits.items()}

"""Which training images are held out for validation: a share of each class, the same ones each time. Imports no TensorFlow."""

from typing import Any

import numpy as np

from el_larq.data.dataset import Dataset
from el_larq.errors import UsageError


def held_out(data: Dataset, labels: np.ndarray, share: float) -> np.ndarray:
    """A mask of the training images that are held out, bool (N,): of each class the share, rounded, and at least one.

    It depends on nothing but labels (N,) in their order and the share, so that runs of any seed compare.

    Raises:
        UsageError: a class with a single training image.
    """
    held = np.zeros(len(labels), bool)
    random = np.random.RandomState(0)  # the legacy generator's stream is fixed for good
    for label, name in enumerate(data.labels):
        members = random.permutation(np.flatnonzero(labels == label))
        if len(members):
            held[members[: count_held_out(data, len(members), share, f" of class {name!r}")]] = True
    return held


def count_held_out(data: Dataset, images: int, share: float, of: str = "") -> int:
    """How many of so many training images are held out."""
    if images < 2:
        raise UsageError(
            f"{data.name}: {images} training image{of}, so none can be held out for validation; "
            "give more images, or train without validation: --validation 0"
        )
    return min(max(1, round(share * images)), images - 1)


def counts(data: Any) -> dict[str, list[int]]:
    """Images of each class by split, of a data set whose splits have ``labels`` (N,)."""
    return {name: np.bincount(split.labels, minlength=data.num_classes).tolist() for name, split in data.splits.items()}

"""Which epoch validation selects, as a function of the epochs' records. Does not import TensorFlow."""

from collections.abc import Mapping, Sequence
from typing import Any

EpochRecord = dict[str, Any]

ACCURACY, MAP_50, MAP_50_95 = "accuracy", "map_50", "map_50_95"
"""What is measured on a split: of classifiers; of detectors, at an IoU of 0.5 (VOC, all points) and at COCO's thresholds."""

TITLES = {ACCURACY: "accuracy", MAP_50: "mAP@0.5", MAP_50_95: "mAP@[.5:.95]"}

_VALIDATED = f"val_{ACCURACY}", f"val_{MAP_50}"


def measured(task: str) -> str:
    """The name of the figure that decides how good a network for that task is."""
    return MAP_50 if task == "detection" else ACCURACY


def validated(record: Mapping[str, Any]) -> float | None:
    """The validation accuracy of an epoch, or a detector's mAP@0.5; None without validation."""
    return next((record[name] for name in _VALIDATED if name in record), None)


def best_epoch(records: Sequence[EpochRecord]) -> EpochRecord:
    """The record with the best validation, the first of equals. All records have one."""
    return max(records, key=lambda record: validated(record) or 0.0)


def has_stalled(records: Sequence[EpochRecord], patience: int) -> bool:
    """Whether validation has not improved for ``patience`` epochs; never for 0."""
    found = [validated(record) or 0.0 for record in records]
    return bool(patience and found) and len(found) - 1 - found.index(max(found)) >= patience

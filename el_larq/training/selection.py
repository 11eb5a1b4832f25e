"""Which epoch validation selects, as a function of the epochs' records. Does not import TensorFlow."""

from collections.abc import Sequence
from typing import Any

EpochRecord = dict[str, Any]


def best_epoch(records: Sequence[EpochRecord]) -> EpochRecord:
    """The record with the best validation accuracy, the first of equals. All records have one."""
    return max(records, key=lambda record: record["val_accuracy"])


def has_stalled(records: Sequence[EpochRecord], patience: int) -> bool:
    """Whether validation has not improved for ``patience`` epochs; never for 0."""
    accuracies = [record.get("val_accuracy", 0.0) for record in records]
    return bool(patience and accuracies) and len(accuracies) - 1 - accuracies.index(max(accuracies)) >= patience

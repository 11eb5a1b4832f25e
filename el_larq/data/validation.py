"""What each epoch is measured on, and the best one is chosen by: never the test split, which is used once, at the end.

A data set's own validation split where it has one, else a share of its training images (`el_larq.data.held_out`).
"""

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, UsageError

SHARE = 0.1

SPLIT = "split"
"""In place of a share: the data set's own validation split."""

TEST = "test"
"""The test split: runs that were begun before schema 3 had no other validation, and go on as they began."""

Rule = str | float


def choose(data: Dataset, share: float | None) -> Rule:
    """`SPLIT` or the share of training images, for the share asked for or None. 0 is no validation at all.

    Raises:
        UsageError: a share beside a validation split, or one out of range.
    """
    if share is not None:
        check_share(share)
        if share and data.validation is not None:
            raise UsageError(f"{data.name} has a validation split; leave --validation out")
        return float(share)
    return SHARE if data.validation is None else SPLIT


def check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise UsageError(f"validation must be a share of the training images, from 0 to below 1; got {share:g}")


def apply(data: Dataset, rule: Rule) -> Dataset:
    """The data set with the validation split of a rule.

    Raises:
        UsageError: a share out of range, or too few training images to hold some out.
        ElLarqError: the data set has no validation split, or the rule is none of these.
    """
    if rule == TEST:
        return data.validated_by_testing()
    if rule == SPLIT:
        if data.validation is None:
            raise ElLarqError(f"{data.name} has no validation split; the run was begun with one")
        return data
    if isinstance(rule, str):
        raise ElLarqError(f"validation {rule!r} is unknown; a run has {SPLIT!r}, {TEST!r} or a share")
    check_share(rule)
    return data.hold_out(rule) if rule else data.without_validation()

"""The split that each epoch is evaluated on and the best epoch is chosen by.

It is the data set's own validation split if it has one, otherwise a fraction of its training images (`el_larq.data.held_out`). The
test split is used only once, at the end; only runs of schema 1 and 2 validate on it.
"""

from el_larq.data.dataset import Dataset
from el_larq.errors import ElLarqError, UsageError

SHARE = 0.1

SPLIT = "split"
"""In place of a fraction: the data set's own validation split."""

TEST = "test"
"""The test split: runs of schema 1 and 2 had no other validation, and keep it when they are resumed."""

ValidationRule = str | float


def choose(data: Dataset, share: float | None) -> ValidationRule:
    """The rule for a requested fraction or None: `SPLIT`, or the fraction of training images to hold out; 0 for no validation.

    Raises:
        UsageError: a fraction for a data set with a validation split, or one out of range.
    """
    if share is not None:
        check_share(share)
        if share and data.validation is not None:
            raise UsageError(f"{data.name} has a validation split; omit --validation")
        return float(share)
    return SHARE if data.validation is None else SPLIT


def check_share(share: float) -> None:
    if not 0 <= share < 1:
        raise UsageError(f"validation must be a share of the training images, from 0 to below 1; got {share:g}")


def apply(data: Dataset, rule: ValidationRule) -> Dataset:
    """The data set with the validation split that a rule defines.

    Raises:
        UsageError: a fraction out of range, or too few training images to hold some out.
        ElLarqError: the data set has no validation split, or the rule is unknown.
    """
    if rule == TEST:
        return data.validated_by_testing()
    if rule == SPLIT:
        if data.validation is None:
            raise ElLarqError(f"{data.name} has no validation split, but the run was started with one")
        return data
    if isinstance(rule, str):
        raise ElLarqError(f"validation {rule!r} is unknown; a run has {SPLIT!r}, {TEST!r} or a share")
    check_share(rule)
    return data.hold_out(rule) if rule else data.without_validation()

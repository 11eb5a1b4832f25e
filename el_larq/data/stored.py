"""What data sets share whose images lie encoded in files."""

from dataclasses import dataclass, field, replace
from typing import Self

from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset import Dataset


@dataclass(frozen=True)
class Stored(Dataset):
    """short_name: for folders.

    contents: what training and test split are, as a hash or a version; validation_contents: the same of a validation split.
    """

    augmentation: Augmentation
    short_name: str
    contents: str
    validation_contents: str = field(default="", kw_only=True)

    @property
    def slug(self) -> str:
        return self.short_name

    @property
    def fingerprint(self) -> str:
        return self.contents + self.validation_contents

    def validated_by_testing(self) -> Self:
        return replace(super().validated_by_testing(), validation_contents="")

"""What data sets of encoded images have in common."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset import Dataset


@dataclass(frozen=True, repr=False)
class Stored(Dataset):
    """augmentation: of images, or of images and the boxes in them; declared by each class.

    short_name: for names of folders.

    contents: identifies the training and test splits, by a hash or a version; validation_contents: the same for a validation split.
    """

    augmentation: Any
    short_name: str
    contents: str
    validation_contents: str = field(default="", kw_only=True)

    @property
    def slug(self) -> str:
        return self.short_name

    @property
    def augments(self) -> bool:
        return self.augmentation != Augmentation()

    @property
    def augmentation_text(self) -> str:
        return str(self.augmentation)

    @property
    def fingerprint(self) -> str:
        return self.contents + self.validation_contents

    def validated_by_testing(self) -> Self:
        return replace(super().validated_by_testing(), validation_contents="")

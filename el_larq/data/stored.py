"""What data sets share whose images lie encoded in files."""

from collections.abc import Sized
from dataclasses import dataclass

from el_larq.data.augmentation import Augmentation
from el_larq.data.dataset import Dataset


@dataclass(frozen=True)
class Stored(Dataset):
    """short_name: for folders. contents: what the data are, as a hash or a version."""

    train: Sized
    test: Sized
    augmentation: Augmentation
    short_name: str
    contents: str

    @property
    def train_size(self) -> int:
        return len(self.train)

    @property
    def test_size(self) -> int:
        return len(self.test)

    @property
    def slug(self) -> str:
        return self.short_name

    @property
    def fingerprint(self) -> str:
        return self.contents

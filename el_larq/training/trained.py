"""What a training returns: a finished run."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import tf_keras as keras

from el_larq.tables import html_table
from el_larq.training.selection import ACCURACY, TITLES


@dataclass(frozen=True)
class Trained:
    """A finished run.

    folder: the run folder.
    model: the model that was saved.
    figures: of that model on the test split, 0 to 1: "accuracy" or, of a detector, "map_50" and "map_50_95".
    seconds: the time that the training took.
    """

    folder: Path
    model: keras.Model
    figures: Mapping[str, float]
    seconds: float

    @property
    def accuracy(self) -> float:
        """On the test split. Raises KeyError for a detector."""
        return self.figures[ACCURACY]

    def _tested(self) -> list[tuple[str, str]]:
        return [(f"test {title}", f"{self.figures[name]:.4f}") for name, title in TITLES.items() if name in self.figures]

    def __repr__(self) -> str:
        return f"Trained({str(self.folder)!r}: {', '.join(map(' '.join, self._tested()))}, {self.seconds:,.0f} s)"

    def _repr_html_(self) -> str:
        rows = [
            ("model", f"{self.model.name}, {self.model.count_params():,} parameters"),
            *self._tested(),
            ("seconds", f"{self.seconds:,.0f}"),
        ]
        return html_table(self.folder, rows)

    @property
    def h5(self) -> Path:
        return self.folder / "model.h5"

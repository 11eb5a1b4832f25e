"""What a training returns: a finished run."""

from dataclasses import dataclass
from pathlib import Path

import tf_keras as keras

from el_larq.tables import html_table


@dataclass(frozen=True)
class Trained:
    """A finished run.

    folder: the run folder.
    model: the model that was saved.
    accuracy: that model's accuracy on the test split, 0 to 1.
    seconds: the time that the training took.
    """

    folder: Path
    model: keras.Model
    accuracy: float
    seconds: float

    def __repr__(self) -> str:
        return f"Trained({str(self.folder)!r}: test accuracy {self.accuracy:.4f}, {self.seconds:,.0f} s)"

    def _repr_html_(self) -> str:
        rows = [
            ("model", f"{self.model.name}, {self.model.count_params():,} parameters"),
            ("test accuracy", f"{self.accuracy:.4f}"),
            ("seconds", f"{self.seconds:,.0f}"),
        ]
        return html_table(self.folder, rows)

    @property
    def h5(self) -> Path:
        return self.folder / "model.h5"

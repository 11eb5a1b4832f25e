"""The table of a run and its float twin: what `el-larq compare RUN --against float` found. Does not import TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.errors import ElLarqError
from el_larq.files import parse_json

TWIN = "twin.json"
SCHEMA = 1
BINARY, FLOAT = "binary", "float"

HEADINGS = ("figure", "binary", "float twin", "float / binary")


@dataclass(frozen=True)
class TwinFigure:
    """One row of the table: a figure of the binary model and of its twin; None where it is unknown."""

    name: str
    binary: float | None
    real: float | None
    digits: int

    def cells(self) -> tuple[str, ...]:
        texts = ["–" if value is None else f"{value:,.{self.digits}f}" for value in (self.binary, self.real)]
        if self.binary is None or self.real is None:
            return (self.name, *texts, "–")
        if self.name.endswith("%"):
            return (self.name, *texts, f"{self.real - self.binary:+.2f} points")
        return (self.name, *texts, f"{self.real / self.binary:.2f}" if self.binary else "–")


@dataclass(frozen=True)
class Twins:
    """title: what was trained, and how. caveat: about the latencies. hashes: SHA-256 of the binary and the float .tflite."""

    folder: Path
    title: str
    figures: tuple[TwinFigure, ...]
    caveat: str
    hashes: tuple[str, str]

    def to_dict(self) -> dict[str, Any]:
        rows = [{"name": one.name, BINARY: one.binary, FLOAT: one.real, "digits": one.digits} for one in self.figures]
        return {"schema": SCHEMA, "title": self.title, "figures": rows, "caveat": self.caveat, "sha256": list(self.hashes)}

    def cells(self) -> list[tuple[str, ...]]:
        return [one.cells() for one in self.figures]

    def files(self) -> tuple[Path, Path]:
        """The binary .tflite and the float one."""
        return self.folder / BINARY / "model.tflite", self.folder / FLOAT / "model.tflite"


def read_twins(path: Path) -> Twins | None:
    """The table of a finished comparison in the folder ``path``; None if it is not finished.

    Raises:
        ElLarqError: the file is damaged.
    """
    try:
        content = parse_json(own_folders.read(path / TWIN))
        if "figures" not in content:
            return None
        figures = [
            TwinFigure(str(row["name"]), _number(row[BINARY]), _number(row[FLOAT]), int(row["digits"]))
            for row in content["figures"]
        ]
        binary, real = content["sha256"]
        return Twins(path, str(content["title"]), tuple(figures), str(content["caveat"]), (str(binary), str(real)))
    except (ValueError, KeyError, TypeError) as error:
        raise ElLarqError(f"{path / TWIN} is damaged; run el-larq compare RUN --against float again") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)

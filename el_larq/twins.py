"""The table of a run and its twins: what `el-larq compare RUN --against float|int8` found. Does not import TensorFlow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.errors import ElLarqError
from el_larq.files import parse_json

TWIN = "twin.json"
MODEL = "model.tflite"
SCHEMA = 2
BINARY, FLOAT, BINARY_INT8, INT8 = "binary", "float", "binary-int8", "int8"
COLUMNS = {BINARY: "binary", FLOAT: "float twin", BINARY_INT8: "binary, int8", INT8: "int8 twin"}
"""The folders of the .tflite files, in the order of the table, and their headings. The last two are there with the int8 twin."""


@dataclass(frozen=True)
class TwinFigure:
    """One row of the table: a figure of each file, in the order of the columns; None where it is unknown."""

    name: str
    values: tuple[float | None, ...]
    digits: int

    def cells(self) -> tuple[str, ...]:
        """The last cell compares the last twin with the binary network in front of it, whose real-valued layers are alike."""
        texts = ["–" if value is None else f"{value:,.{self.digits}f}" for value in self.values]
        binary, real = self.values[-2:]
        if binary is None or real is None:
            return (self.name, *texts, "–")
        if self.name.endswith("%"):
            return (self.name, *texts, f"{real - binary:+.2f} points")
        return (self.name, *texts, f"{real / binary:.2f}" if binary else "–")


@dataclass(frozen=True)
class Twins:
    """title: what was trained, and how. caveat: about the latencies. hashes: SHA-256 of the .tflite of each column, by folder."""

    folder: Path
    title: str
    figures: tuple[TwinFigure, ...]
    caveat: str
    hashes: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        rows = [{"name": one.name, **dict(zip(self.hashes, one.values, strict=True)), "digits": one.digits} for one in self.figures]
        return {"schema": SCHEMA, "title": self.title, "figures": rows, "caveat": self.caveat, "sha256": self.hashes}

    def headings(self) -> tuple[str, ...]:
        names = [COLUMNS[column] for column in self.hashes]
        return ("figure", *names, f"{names[-1]} / {names[-2]}")

    def cells(self) -> list[tuple[str, ...]]:
        return [one.cells() for one in self.figures]

    def files(self) -> list[Path]:
        """The .tflite of each column."""
        return [self.folder / column / MODEL for column in self.hashes]


def read_twins(path: Path) -> Twins | None:
    """The table of a finished comparison in the folder ``path``; None if it is not finished.

    Raises:
        ElLarqError: the file is damaged, or of another version of el-larq.
    """
    again = f"run el-larq compare RUN --against {INT8 if own_folders.is_there(path / INT8 / MODEL) else FLOAT} again"
    try:
        content = parse_json(own_folders.read(path / TWIN))
        if "figures" not in content:
            return None
        if (schema := content.get("schema", SCHEMA)) != SCHEMA:
            raise ElLarqError(f"{path / TWIN} was made by {'an older' if schema < SCHEMA else 'a newer'} el-larq; {again}")
        hashes = {column: str(content["sha256"][column]) for column in COLUMNS if column in content["sha256"]}
        if [*hashes] not in ([*COLUMNS][:2], [*COLUMNS]):
            raise ValueError
        figures = [
            TwinFigure(str(row["name"]), tuple(_number(row[column]) for column in hashes), int(row["digits"]))
            for row in content["figures"]
        ]
        return Twins(path, str(content["title"]), tuple(figures), str(content["caveat"]), hashes)
    except (ValueError, KeyError, TypeError) as error:
        raise ElLarqError(f"{path / TWIN} is damaged; {again}") from error


def _number(value: Any) -> float | None:
    return None if value is None else float(value)

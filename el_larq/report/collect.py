"""The data of a report: training runs, results of measurements, and the contents of .tflite files."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from el_larq import card, own_folders
from el_larq.devices import record
from el_larq.devices.latency_comparison import ModelLatency, compare_latencies
from el_larq.devices.record import Record
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import parse_json, read_bytes
from el_larq.printable import counted
from el_larq.tflite.macs import count_macs, mac_bits
from el_larq.tflite.reader import parse
from el_larq.training.config import check_not_newer, read_epochs
from el_larq.training.run_folder import is_stage
from el_larq.twins import TWIN, Twins, read_twins

# The largest float32, the type of the metrics; this excludes NaN, Inf and values that plots cannot show.
_LARGEST = 3.5e38


@dataclass(frozen=True)
class TrainingRun:
    """A run folder: its settings, one dict of numbers per epoch, and its result (empty if the run is not finished)."""

    folder: Path
    config: dict[str, Any]
    epochs: list[dict[str, float]]
    result: dict[str, Any]
    environment: dict[str, Any]

    @property
    def name(self) -> str:
        place = self.folder.resolve()  # works for "." and ".." too
        return f"{place.parent.name}/{place.name}" if is_stage(place) else place.name


@dataclass(frozen=True)
class ModelFile:
    """A .tflite: its size in bytes, MACs by bit width, number of convolutions by operator, and its card."""

    name: str
    path: str
    sha256: str
    size: int
    macs_by_bits: dict[int, int]
    convolutions: dict[str, int]
    card: dict[str, Any]

    @property
    def accuracy(self) -> float | None:
        value = self.card.get("accuracy")
        top1 = value.get("top1") if isinstance(value, dict) else None
        return float(top1) if isinstance(top1, (int, float)) and 0 <= top1 <= 1 else None

    @property
    def verified(self) -> dict[str, Any]:
        found = self.card.get("verified")
        return found if isinstance(found, dict) else {}


@dataclass
class Material:
    runs: list[TrainingRun] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    models: dict[str, ModelFile] = field(default_factory=dict)
    twins: list[Twins] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        parts = (self.runs, "training run"), (self.records, "measurement"), (self.models, "model")
        return ", ".join(counted(len(found), word) for found, word in parts)

    @property
    def groups(self) -> dict[str, list[ModelLatency]]:
        """Comparisons by target and engine, so that one table never mixes figures of different devices or binaries."""
        found: dict[str, list[Record]] = {}
        for entry in self.records:
            found.setdefault(place(entry), []).append(entry)
        return {target: rows for target, entries in found.items() if (rows := compare_latencies(entries))}

    @property
    def profiles(self) -> list[Record]:
        """The last profile of each model on each target and engine."""
        last = {(place(entry), entry.model["sha256"]): entry for entry in self.records if entry.layers}
        return list(last.values())


def place(entry: Record) -> str:
    """Where something was measured, for display: the target and the engine that ran the model there."""
    name = entry.engine.get("name")
    return f"{entry.target} ({name})" if name else entry.target


def collect(paths: Sequence[Path]) -> Material:
    """Collect everything under ``paths``: run folders, folders of runs, results, folders of results, .tflite files.

    Raises:
        UsageError: a path contains nothing for a report.
        ElLarqError: a path does not exist, or a file in it is damaged or is a link.
    """
    material = Material()
    for path in paths:
        before = (len(material.runs), len(material.records), len(material.models))
        _add(path, material)
        if before == (len(material.runs), len(material.records), len(material.models)):
            raise UsageError(f"{path} contains neither a training run, a benchmark result nor a .tflite")
    material.records.sort(key=lambda entry: (entry.time, entry.runtime.get("order", 0)))
    for entry in material.records:
        _find_model(entry, material)
    return material


def _add(path: Path, material: Material) -> None:
    if not path.exists():
        raise ElLarqError(f"{path} does not exist; give run folders, results of el-larq benchmark or .tflite files")
    if path.suffix == ".tflite":
        model = read_model(path)
        material.models[model.sha256] = model
    elif path.is_file():
        material.records.append(record.read(path))
    elif own_folders.is_there(path / TWIN):
        if (twins := read_twins(path)) is not None:
            material.twins.append(twins)
            for file in twins.files():
                _add(file, material)
        for entry in sorted(path.iterdir()):
            if own_folders.is_there(entry / "config.json"):
                _add(entry, material)
    elif own_folders.is_there(path / "config.json"):
        material.runs.append(read_run(path))
        for entry in sorted(path.iterdir()):  # the stages of a run
            if entry.is_dir() and own_folders.is_there(entry / "config.json"):
                _add(entry, material)
        for file in sorted(path.glob("*.tflite")):
            own_folders.is_there(file)
            model = read_model(file)
            material.models[model.sha256] = model
    else:
        for entry in sorted(path.iterdir()):
            if os.path.lexists(entry / "config.json"):
                own_folders.is_there(entry)
                _add(entry, material)
            elif entry.suffix == ".json" and entry.is_file() and not entry.name.startswith("."):
                own_folders.is_there(entry)
                material.records.append(record.read(entry))


def _find_model(entry: Record, material: Material) -> None:
    """Add the model file of a result, if it is still the one that was measured; otherwise, list it as missing."""
    sha256, path = entry.model["sha256"], Path(entry.model["path"])
    if sha256 in material.models:
        return
    if os.path.isfile(path) and hashlib.sha256(read_bytes(path)).hexdigest() == sha256:
        material.models[sha256] = read_model(path)
    elif str(path) not in material.missing:
        material.missing.append(str(path))


def read_run(folder: Path) -> TrainingRun:
    """Read a run folder; if the training is not finished, its result is empty."""

    def load(name: str) -> dict[str, Any]:
        path = folder / name
        if not own_folders.is_there(path):
            return {}
        try:
            content = parse_json(own_folders.read(path))
            _check(name, content)
        except ValueError as error:
            raise ElLarqError(f"{path} is damaged; train again, or leave this run out") from error
        return content

    config = load("config.json")
    check_not_newer(config, folder)
    return TrainingRun(folder, config, _epochs(folder), load("result.json"), load("environment.json"))


def _check(name: str, content: Any) -> None:
    """Raise ValueError if the content of a run's file does not have the types that the report needs."""
    if not isinstance(content, dict):
        raise ValueError("no JSON object")
    accuracy = content.get("accuracy", 0.0)
    if name == "result.json" and not (_is_number(accuracy) and abs(accuracy) <= _LARGEST):
        raise ValueError("an accuracy that is not a valid number")
    if name == "environment.json":
        command, packages = content.get("command") or [], content.get("packages") or {}
        if not isinstance(command, list) or not isinstance(packages, dict):
            raise ValueError("no command, or no packages")


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _epochs(folder: Path) -> list[dict[str, float]]:
    """The numbers of each epoch."""
    records = read_epochs(folder, skip_damaged=True)
    return [{k: float(v) for k, v in record.items() if _is_number(v) and abs(v) <= _LARGEST} for record in records]


def read_model(path: Path) -> ModelFile:
    content = read_bytes(path)
    graph = parse(content, str(path))
    by_bits: dict[int, int] = {}
    convolutions: dict[str, int] = {}
    try:
        for operator in graph.operators:
            if count := count_macs(operator):
                by_bits[mac_bits(operator)] = by_bits.get(mac_bits(operator), 0) + count
                convolutions[operator.name] = convolutions.get(operator.name, 0) + 1
    except ElLarqError as error:
        raise ElLarqError(f"{path}: {error}") from None
    metadata = graph.metadata.get(card.NAME)
    facts = card.parse(metadata, str(path)) if metadata else {}
    sha256 = hashlib.sha256(content).hexdigest()
    return ModelFile(path.name, str(path), sha256, len(content), dict(sorted(by_bits.items())), convolutions, facts)

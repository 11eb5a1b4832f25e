"""The data of a report: training runs, results of measurements and evaluations, and the contents of .tflite files."""

import hashlib
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from el_larq import card, own_folders
from el_larq.devices import record
from el_larq.devices.latency_comparison import ModelLatency, compare_latencies
from el_larq.devices.record import Record
from el_larq.downloads.asset import hash_file
from el_larq.errors import ElLarqError, UsageError
from el_larq.files import parse_json, read_bytes
from el_larq.printable import counted
from el_larq.report.stored_detection import StoredDetection
from el_larq.report.stored_evaluation import EVALUATION, StoredEvaluation, read_evaluation
from el_larq.tflite.macs import count_macs, mac_bits
from el_larq.tflite.reader import parse
from el_larq.training.config import check_not_newer, read_epochs
from el_larq.training.run_folder import is_stage
from el_larq.training.selection import ACCURACY, MAP_50
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

    @cached_property
    def model_hashes(self) -> frozenset[str]:
        """The SHA-256 of the run's model files, by which a .tflite and an evaluation name them."""
        files = [self.folder / name for name in ("model.h5", "model.keras")]
        return frozenset(hash_file(file) for file in files if file.is_file() and not file.is_symlink())


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
    evaluations: list[StoredEvaluation | StoredDetection] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def summary(self) -> str:
        parts = (self.runs, "training run"), (self.records, "measurement"), (self.models, "model"), (self.evaluations, "evaluation")
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
    """Collect everything under ``paths``: run folders, evaluations, results, .tflite files, and folders that contain them.

    Folders are searched at any depth, but not through links, hidden folders and checkpoints. Other files in them are left out.

    Raises:
        UsageError: a path contains nothing for a report, or a folder has too many folders inside.
        ElLarqError: a path does not exist, or a file in it is damaged or is a link.
    """
    material = Material()
    seen: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ElLarqError(
                f"{path} does not exist; give run folders, results of el-larq benchmark or evaluate, or .tflite files"
            )
        before = len(seen)
        known = path.resolve() in seen
        for entry in _entries(path):
            place = entry.resolve()
            if place not in seen:
                _add(entry, material)
                seen.add(place)
        if before == len(seen) and not known:
            raise UsageError(f"{path} contains neither a training run, a result of benchmark or evaluate, nor a .tflite")
    material.records.sort(key=lambda entry: (entry.time, entry.runtime.get("order", 0)))
    for entry in material.records:
        _find_model(entry, material)
    return material


_MOST_FOLDERS = 20_000
_SKIPPED = ("checkpoints", "tensorboard", "__pycache__", "node_modules")

_RECORD = re.compile(r"\d{8}T\d{6}-.*\.json")
"""The names under which `el_larq.devices.record.write` keeps results; others are recognized by their content."""


def _entries(path: Path) -> Iterator[Path]:
    """What a report is made of under ``path``: files, and the folders of runs and of comparisons with a float twin.

    The path itself may be of any name. Entries of folders that are links are an error if they would be part of the report.
    """
    if not path.is_dir():
        yield path
        return
    stack, folders = [path], 0
    while stack:
        folder = stack.pop()
        if (folders := folders + 1) > _MOST_FOLDERS:
            raise UsageError(f"{path} contains more than {_MOST_FOLDERS:,} folders; name those with runs and results")
        if own_folders.is_there(folder / TWIN) or _is_ours(folder / _CONFIG):
            yield folder
        deeper = []
        try:
            entries = sorted(folder.iterdir())
        except OSError as error:
            raise ElLarqError(f"cannot read {folder}: {error.strerror or error}") from error
        for entry in entries:
            if _is_folder(entry):
                if not entry.name.startswith(".") and entry.name not in _SKIPPED:
                    deeper.append(entry)
            elif _is_wanted(entry):
                yield entry
        stack += reversed(deeper)


_CONFIG = "config.json"
_KEYS = {_CONFIG: {"network", "recipe", "dataset"}, EVALUATION: {"confusion", "top1", "by_class"}}
"""Keys of the two files whose names other programs use too."""


def _is_ours(file: Path) -> bool:
    """Whether there is such a file, and it is not an object with none of the keys that ours have. A damaged one may be ours."""
    if not own_folders.is_there(file):
        return False
    try:
        content = parse_json(own_folders.read(file, _MOST_BYTES))
    except ValueError:
        return True
    return not isinstance(content, dict) or bool(_KEYS[file.name] & content.keys())


_MOST_BYTES = 1 << 26


def _is_folder(entry: Path) -> bool:
    """Whether to look inside. A link to a run is an error, others are not followed."""
    if not entry.is_dir():
        return False
    if entry.is_symlink():
        if any(os.path.lexists(entry / name) for name in (_CONFIG, TWIN, EVALUATION)):
            own_folders.is_there(entry)
        return False
    return True


def _is_wanted(entry: Path) -> bool:
    """Whether a file of a folder is part of the report. It is an error if it might be, but is a link."""
    if entry.name.startswith(".") or entry.name in _OF_RUNS or entry.suffix not in (".json", ".tflite"):
        return False
    if not own_folders.is_there(entry) or not entry.is_file():
        return False
    if entry.name == EVALUATION:
        return _is_ours(entry)
    if entry.suffix == ".tflite" or _RECORD.fullmatch(entry.name):
        return True
    with own_folders.open_file(entry) as file:
        return b'"latency_metrics"' in file.read(_HEAD)


_OF_RUNS = (_CONFIG, TWIN, "result.json", "environment.json")
_HEAD = 1 << 20


def _add(path: Path, material: Material) -> None:
    if path.is_dir():
        if own_folders.is_there(path / TWIN) and (twins := read_twins(path)) is not None:
            material.twins.append(twins)
        if _is_ours(path / _CONFIG):
            material.runs.append(read_run(path))
    elif path.suffix == ".tflite":
        model = read_model(path)
        material.models.setdefault(model.sha256, model)
    elif path.name == EVALUATION:
        material.evaluations.append(read_evaluation(path))
    else:
        material.records.append(record.read(path))


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
    tested = [content.get(figure, 0.0) for figure in (ACCURACY, MAP_50)]
    if name == "result.json" and not all(_is_number(figure) and abs(figure) <= _LARGEST for figure in tested):
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
    facts = card.of_metadata(graph.metadata, str(path))
    sha256 = hashlib.sha256(content).hexdigest()
    return ModelFile(path.name, str(path), sha256, len(content), dict(sorted(by_bits.items())), convolutions, facts)

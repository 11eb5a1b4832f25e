"""Records of measured runs: one JSON file each, with the raw log next to it, never changed afterwards.

`latency_metrics`, `memory_metrics` and `misc_metrics` have the fields of LiteRT's BenchmarkResult; other fields are el-larq's own.
"""

import os
import re
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from el_larq.devices.measurement import Measurement
from el_larq.devices.record_form import RECORD, find_misfit
from el_larq.errors import ElLarqError
from el_larq.files import parse_json, read_bytes, write_bytes, write_json
from el_larq.model_files import TFLITE

SCHEMA = 1


@dataclass(frozen=True)
class Record:
    """One run of the benchmark of one model.

    model: path, name, sha256, bytes. device: probe.Device as a dict. engine: the benchmark binary, or the interpreter.
    command: the command line on the device. runtime: num_threads, cores, use_xnnpack, repeat (from 0). before, after:
    temperatures in °C. layers: of a profile, measured_layers.MeasuredLayer as dicts. marks: notes to print with the numbers.
    """

    time: str
    target: str
    model: dict[str, Any]
    device: dict[str, Any]
    engine: dict[str, Any]
    runtime: dict[str, Any]
    latency_metrics: dict[str, float]
    memory_metrics: dict[str, float] = field(default_factory=dict)
    misc_metrics: dict[str, Any] = field(default_factory=dict)
    command: tuple[str, ...] = ()
    before: dict[str, Any] = field(default_factory=dict)
    after: dict[str, Any] = field(default_factory=dict)
    layers: tuple[dict[str, Any], ...] = ()
    marks: tuple[str, ...] = ()
    schema: int = SCHEMA

    @property
    def threads(self) -> int:
        return int(self.runtime["num_threads"])

    @property
    def profiled(self) -> bool:
        return bool(self.runtime.get("profile"))

    @property
    def latency_ms(self) -> float:
        """The median if the tool prints it, otherwise the average."""
        return self.latency_metrics.get("median_ms", self.latency_metrics["avg_ms"])

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_measurement(
    measurement: Measurement, size: int, device: dict[str, Any], time: str, marks: tuple[str, ...], order: int = 0
) -> Record:
    """The record of an in-process measurement; ``order`` is the position of the model: the first one is the baseline."""
    latencies = measurement.latencies_ms
    return Record(
        time=time,
        target=measurement.target,
        model={
            "path": measurement.model,
            "name": Path(measurement.model).name,
            "sha256": measurement.sha256,
            "bytes": size,
        },
        device=device,
        engine={"name": "LCE's interpreter in Python", "kernel": measurement.kernel},
        runtime={"num_threads": measurement.threads, "use_xnnpack": True, "repeat": 0, "order": order},
        latency_metrics={
            "avg_ms": statistics.fmean(latencies),
            "min_ms": min(latencies),
            "max_ms": max(latencies),
            "stddev_ms": statistics.pstdev(latencies),
            "median_ms": measurement.median_ms,
            "iqr_ms": measurement.iqr_ms,
        },
        misc_metrics={"model_size_mb": size / 1e6, "num_runs": len(latencies), "num_warmup_runs": measurement.warmup},
        marks=marks,
    )


def write(folder: Path, record: Record, logs: dict[str, str] | None = None) -> Path:
    """Add a record, and its raw logs by suffix, to a folder of results; returns the path of the JSON file.

    Raises:
        ElLarqError: the folder cannot be written.
    """
    model = Path(record.model["path"])
    title = model.parent.name if model.name == TFLITE else model.stem  # model.tflite is that of the run folder around it
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", title)[:40] or "model"
    kind = re.sub(r"[^A-Za-z0-9_-]+", "_", record.target)[:40]
    stamp = re.sub(r"[^0-9T]", "", record.time)[:15]
    written: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = _reserve(folder, f"{stamp}-{name}-{kind}-t{record.threads}")
        written.append(path)
        content = record.to_dict() | {"logs": [f"{path.stem}.{suffix}.txt" for suffix in logs or {}]}
        for suffix, text in (logs or {}).items():
            written.append(folder / f"{path.stem}.{suffix}.txt")
            write_bytes(written[-1], text.encode("utf-8", "replace"))
        # Atomically replaces the empty file of the reservation.
        write_json(path, content)
        written.clear()
    except ElLarqError as error:
        raise ElLarqError(f"{error}; choose another folder with -o") from error
    except OSError as error:
        raise ElLarqError(f"cannot write results to {folder}: {error.strerror or error}; choose another folder with -o") from error
    finally:
        for file in written:  # of a record that could not be completed
            file.unlink(missing_ok=True)
    return path


def _reserve(folder: Path, stem: str) -> Path:
    """Create an empty file under a new name, so that existing results, and those of concurrent runs, are never replaced."""
    number = 1
    while True:
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))
            return path
        except FileExistsError:
            number += 1


def read(path: Path) -> Record:
    """Read a record from its file.

    Raises:
        ElLarqError: it is not a record, or a value in it has the wrong type.
    """
    content: Any = None
    try:
        content = parse_json(read_bytes(path))
    except ValueError:
        wrong = "it is not JSON"
    else:
        wrong = find_misfit(content, RECORD, "record")
    if not wrong:
        latency = content["latency_metrics"]
        if min(latency["avg_ms"], latency.get("median_ms", 1), content["runtime"]["num_threads"]) <= 0:
            wrong = "its latency or its number of threads is not positive"
    if wrong:
        raise ElLarqError(f"{path} is not a result of el-larq benchmark, or it is damaged ({wrong}); measure again")
    known = {name: content[name] for name in Record.__dataclass_fields__ if name in content}
    for name in ("command", "layers", "marks"):
        known[name] = tuple(known.get(name, ()))
    return Record(**known)

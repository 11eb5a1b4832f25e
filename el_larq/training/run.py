"""The run folder: everything about one training, in files that other programs read.

config.json       what was asked for, complete: enough to train the same again
environment.json  versions and machine
metrics.jsonl     one line an epoch
tensorboard/      the same for TensorBoard
checkpoints/      best.weights.h5 (by validation accuracy) and last.weights.h5
model.h5, model.keras, result.json   when the training is done
"""

import importlib.metadata
import json
import os
import platform
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.files import write_json

SCHEMA = 1
_PACKAGES = ("el-larq", "tensorflow", "tf-keras", "larq", "larq-compute-engine", "numpy")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides what a training computes."""

    network: str
    method: str
    link: str
    placement: str | None
    link_options: dict[str, Any]
    method_options: dict[str, Any]
    dataset: str
    dataset_version: int
    image_size: int
    width: float
    network_options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    schema: int = SCHEMA
    facts: dict[str, Any] = field(default_factory=dict)


class Run:
    """A run folder that this process writes."""

    def __init__(self, folder: Path, config: TrainConfig):
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                raise ElLarqError(f"{folder} already holds files; choose another folder with -o, or remove it")
            self.checkpoints.mkdir()
        except OSError as error:
            raise ElLarqError(f"cannot write a run to {folder}: {error.strerror or error}") from error
        write_json(folder / "config.json", asdict(config))
        write_json(folder / "environment.json", environment())

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"


def free_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or with -2, -3 ... behind it when that is taken."""
    folder, number = parent / name, 1
    while folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def environment() -> dict[str, Any]:
    """Versions and machine, for a reader who wants to know why two runs differ."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "packages": versions,
        "command": sys.argv,
    }


def append_line(path: Path, record: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")

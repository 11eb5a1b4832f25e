"""The run folder: everything about one training, in files that other programs can read.

A run of several stages has a run folder for each stage in its own, 1-NAME, 2-NAME, ..., and the files of a finished run: the
last stage's model, its result with those of the stages, and the epochs of all stages in one file. Only the stages have states.

config.json       the complete configuration: enough to repeat the training
environment.json  versions and machine; at which steps the run was resumed, and what was different then
metrics.jsonl     one line per epoch; metrics.csv is the same as a table
tensorboard/      the same for TensorBoard
checkpoints/      best.weights.h5 (by validation accuracy) and last.weights.h5; during training, the states it can be resumed from
model.h5, model.keras, learning_curve.png, confusion_matrix.png, result.json   written when the training is finished
failure.json      written if the loss or the state was not finite
network.py        a copy of the user's own network
.lock             locked by the process that writes to the folder

The folder is created together with its config or not at all. From then on the run can be resumed, however it was ended: a state
(`el_larq.training.state_files`) contains everything that the rest of the training depends on, and all other files are either
written before the next state or can be rewritten from it.
"""

import contextlib
import glob
import importlib.metadata
import json
import os
import platform
import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

from el_larq.errors import ElLarqError
from el_larq.files import is_temporary, temporary_path, write_bytes, write_json
from el_larq.training.config import CONFIG, METRICS, TrainConfig, read_config, read_json
from el_larq.training.lock import NAME as LOCK
from el_larq.training.lock import Lock

_PACKAGES = ("el-larq", "tensorflow", "tf-keras", "larq", "larq-compute-engine", "numpy")


class RunFolder:
    """A run folder that this process writes; a context manager that releases the folder's lock at its end."""

    def __init__(self, folder: Path, config: TrainConfig, lock: Lock):
        self.folder, self.config, self._lock = folder, config, lock

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    @property
    def metrics(self) -> Path:
        return self.folder / METRICS

    @property
    def command(self) -> str:
        """The command that resumes this run, or the run that it is a stage of."""
        several = (self.config.distribution or {}).get("workers", 1) > 1
        return resume_command(self.folder.parent if is_stage(self.folder) else self.folder, several)

    def change(self, config: TrainConfig) -> None:
        """Replace the run's config."""
        write_json(self.folder / CONFIG, asdict(config))
        self.config = config

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._lock.release()


def is_stage(folder: Path) -> bool:
    """Whether a run folder belongs to a stage of a run: it lies in a run folder."""
    return (folder.absolute().parent / CONFIG).is_file()


def resume_command(folder: Path, several: bool = False) -> str:
    """The command that resumes a run; of ``several`` workers, the one for each of them."""
    workers = " --workers HOST:PORT,... --worker-index INDEX" if several else ""
    return f"el-larq train --resume {shlex.quote(str(folder))}{workers}"


def create(folder: Path, config: TrainConfig, files: Mapping[str, bytes] | None = None) -> RunFolder:
    """Create a run folder with ``files`` in it.

    It is created under a temporary name next to ``folder`` and then renamed, so that there is never a folder without a config.

    Raises:
        ElLarqError: the folder already contains files, is in use, or cannot be written.
    """
    files = files or {}
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        place = Path(os.path.realpath(folder))  # a link to a folder is kept
        if _is_taken(place):
            raise ElLarqError(f"{folder} already contains files; choose another folder with -o, or remove it")
        try:
            lock = _create_renamed(place, config, files)
        except OSError:
            # Another process created it meanwhile, or the folder exists and can be written to, but not replaced (a mount point).
            if not place.is_dir() or _is_taken(place):
                raise
            lock = _fill(place, config, files)
    except OSError as error:
        raise ElLarqError(f"cannot write a run to {folder}: {error.strerror or error}") from error
    return RunFolder(folder, config, lock)


def _is_taken(folder: Path) -> bool:
    """Whether something other than the remains of a run that was killed before it had a config is at ``folder``."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    return any(entry.name != LOCK and not is_temporary(entry.name) for entry in folder.iterdir())


def _create_renamed(place: Path, config: TrainConfig, files: Mapping[str, bytes]) -> Lock:
    _remove_abandoned(place)
    temporary = temporary_path(place)
    temporary.mkdir()
    lock = None
    try:
        lock = _fill(temporary, config, files)
        if place.is_dir():
            for entry in place.iterdir():
                entry.unlink()  # left by a killed process, see `_is_taken`
        os.rename(temporary, place)
    except BaseException:
        if lock is not None:
            lock.release()
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return lock


def _fill(folder: Path, config: TrainConfig, files: Mapping[str, bytes]) -> Lock:
    lock = Lock(folder)
    try:
        if not config.recipe.get("stages"):
            (folder / "checkpoints").mkdir(exist_ok=True)
        for name, content in files.items():
            write_bytes(folder / name, content)
        write_json(folder / "environment.json", environment() | {"resumed": []})
        write_json(folder / CONFIG, asdict(config))
    except BaseException:
        lock.release()
        raise
    return lock


def _remove_abandoned(place: Path) -> None:
    """Remove the temporary folders of killed processes, recognized by the lock that no process holds."""
    for entry in place.parent.glob(f".*.part.{glob.escape(place.name)}"):
        if entry.is_dir() and not entry.is_symlink():
            with contextlib.suppress(OSError, ElLarqError):
                lock = Lock(entry)
                shutil.rmtree(entry)
                lock.release()


def open_run(folder: Path) -> RunFolder:
    """Lock a run folder in order to resume it, and remove the partly written files of a killed process.

    Raises:
        ElLarqError: it is not a run folder, is damaged or in use, or cannot be written.
    """
    read_config(folder)  # before the lock, so that no lock file is created in a folder that is not a run folder
    lock = None
    try:
        lock = Lock(folder)
        config = read_config(folder)
        parts = [folder] if config.recipe.get("stages") else [folder, folder / "checkpoints"]
        for part in parts:
            part.mkdir(exist_ok=True)
            for entry in part.iterdir():
                if is_temporary(entry.name) and not entry.is_dir():
                    entry.unlink(missing_ok=True)
        return RunFolder(folder, config, lock)
    except BaseException as error:
        if lock is not None:
            lock.release()
        if isinstance(error, OSError):
            raise ElLarqError(f"cannot resume {folder}: {error.strerror or error}") from error
        raise


def free_folder(parent: Path, name: str) -> Path:
    """``parent/name``, or that name with the suffix -2, -3, ... if it is taken."""
    folder, number = parent / name, 1
    while folder.exists() and _is_taken(folder):
        number += 1
        folder = parent / f"{name}-{number}"
    return folder


def environment() -> dict[str, Any]:
    """Versions and machine, to help find out why two runs differ."""
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


def record_resume(run: RunFolder, step: int) -> list[str]:
    """Record in environment.json that the run was resumed at ``step``; returns how the environment differs from the first one."""
    path = run.folder / "environment.json"
    try:
        first = read_json(path)
    except ElLarqError:
        first = {}  # the training does not depend on this file
    here = environment()
    then = first.get("packages") if isinstance(first.get("packages"), dict) else {}
    pairs = [(name, then.get(name), version) for name, version in here["packages"].items() if name in then]
    pairs += [(name, first.get(name), here[name]) for name in ("python", "machine", "cpus") if name in first]
    differences = [f"{name} {before} then, {now} now" for name, before, now in pairs if before != now]
    resumed = first.get("resumed")
    entry = {"step": step, "differences": differences}
    write_json(path, (first or here) | {"resumed": [*(resumed if isinstance(resumed, list) else []), entry]})
    return differences


def write_lines(path: Path, records: list[dict[str, Any]]) -> None:
    """Replace metrics.jsonl as a whole, so that a reader never finds a partial line."""
    write_bytes(path, "".join(json.dumps(record) + "\n" for record in records).encode())

"""The model that a path stands for: a file, a SavedModel, or the model of a run folder; and the run that a file belongs to."""

import os
import shlex
from pathlib import Path

from el_larq.errors import ElLarqError

MODEL = "model.h5"
"""The model of a finished run."""

TFLITE = "model.tflite"
"""The name under which a run's model is converted into the run folder."""


def model_file(path: Path) -> Path:
    """The model.h5 of a run folder; any other path is returned unchanged.

    Raises:
        ElLarqError: the run is not finished.
    """
    # os.path.isfile, unlike Path.is_file, is also False for a name that is too long; who opens the file reports that.
    if not os.path.isfile(path / "config.json") or (path / "saved_model.pb").is_file():
        return path
    model = path / MODEL
    if not model.is_file():
        remedy = f"finish it with el-larq train --resume {shlex.quote(str(path))}"
        if os.path.isfile(best := path / "checkpoints" / "best.weights.h5"):
            remedy += f", or give its best weights so far, {best}"
        raise ElLarqError(f"{path} is a run that is not finished and has no model; {remedy}")
    return model


def tflite_file(path: Path) -> Path:
    """The model.tflite in a run folder; any other path is returned unchanged.

    Raises:
        ElLarqError: the path is a Keras model, or a run folder without model.tflite.
    """
    converted = path / TFLITE
    if os.path.isfile(converted):
        return converted
    is_run = os.path.isfile(path / "config.json")
    is_keras = path.suffix in (".h5", ".hdf5", ".keras") and os.path.isfile(path)
    if is_run or is_keras or os.path.isfile(path / "saved_model.pb"):
        target = converted if is_run else path.with_suffix(".tflite")
        what = f"a run folder without {TFLITE}" if is_run else "a Keras model"
        command = f"el-larq convert {shlex.quote(str(path))} -o {shlex.quote(str(target))}"
        raise ElLarqError(f"{path}: {what}; convert it first: {command}")
    return path


def described_by(path: Path) -> Path:
    """The HDF5 file with the configuration and card of an HDF5 file: itself, or, for weights only, the model of their run.

    Raises:
        OSError: the file, or the run's model, is damaged.
    """
    import h5py

    run = run_of_model(path)
    if run is None or not os.path.isfile(run / MODEL):
        return path
    with h5py.File(path, "r") as file:
        return path if "model_config" in file.attrs else run / MODEL


def run_of_model(path: Path) -> Path | None:
    """The run folder that a model file or a file of weights belongs to: it is in the folder, or in its checkpoints."""
    parents = path.absolute().parents
    candidates = parents[:2] if path.absolute().parent.name == "checkpoints" else parents[:1]
    return next((folder for folder in candidates if os.path.isfile(folder / "config.json")), None)

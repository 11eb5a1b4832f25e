"""The work of a comparison's processes: a training with its conversion, and the measurement of all .tflite files."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

import json
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras
from rich.console import Console

from el_larq.comparison.comparison_plan import Task
from el_larq.comparison.results_folder import clear, hash_of, recorded
from el_larq.converters.job import Options
from el_larq.converters.pipeline import convert
from el_larq.converters.steps import CALIBRATION_IMAGES
from el_larq.counting.counts import count
from el_larq.devices.local import caveat, measure
from el_larq.errors import ElLarqError
from el_larq.files import write_json
from el_larq.inspection.inspect import inspect
from el_larq.models.network_registry import NETWORKS
from el_larq.training.config import CONFIG, FIRST_RESUMABLE, RESULT, read_config, read_result
from el_larq.training.run_data import load_data
from el_larq.training.run_options import RunOptions
from el_larq.training.train import resume_run, start

_MODEL = "model.h5"

# At import time, because the process that imports this module then captures messages about missing GPUs.
tf.config.list_physical_devices()


def perform(task: Task) -> dict[str, Any]:
    """Train or resume, unless the run is finished, and convert if the task says so; returns the run's result.

    The run is the same as that of `el-larq train` with the same settings: `start` sets all seeds, and clearing the session removes
    every trace of earlier runs in this process, including the counters in names of layers.
    """
    done = task.folder / RESULT
    if not done.is_file():
        keras.backend.clear_session()
        quiet = RunOptions(console=Console(quiet=True))  # progress bars of several processes would overwrite each other
        if _can_go_on(task.folder):
            resume_run(task.folder, quiet)
        else:
            clear(task.folder)
            start(task.plan, quiet)
    if task.deploy and not (task.folder / "deployed.json").is_file():
        deploy(task.folder, task.plan.network_name)
    return json.loads(done.read_text())


def _can_go_on(folder: Path) -> bool:
    """Whether a run was started by a version that saves states to resume from."""
    return (folder / CONFIG).is_file() and read_config(folder).schema >= FIRST_RESUMABLE


def perform_twins(argument: tuple[Path, list[Path], Task]) -> None:
    """Convert a finished run and its float twin into the folders of a comparison; skip what is done.

    With four folders, the last two are for both converted with int8 (`el_larq.comparison.float_twin`). The twin is trained only
    after the run's own conversions, which may be refused.

    Raises:
        ElLarqError: the run's data have changed since, so that the twin would not be trained alike; or a conversion failed.
    """
    source, places, task = argument
    config = read_config(source)
    data = load_data(task.plan, lambda line: None)
    if config.dataset_fingerprint not in (None, data.fingerprint):
        raise ElLarqError(f"{source}: the data of {data.name} have changed since it was trained; train it again first")
    images = min(CALIBRATION_IMAGES, data.train_size)
    network = task.plan.network_name
    int8 = {"int8": "full", "calibrate": data.name, "calibration_images": images}
    binary, real, *quantized = places
    for folder, place, place_int8 in zip((source, task.folder), (binary, real), quantized or (None, None), strict=True):
        if folder == task.folder:
            perform(task)
        _deploy_once(folder, network, place)
        if place_int8 is not None:
            try:
                _deploy_once(folder, network, place_int8, **int8)
            except ElLarqError as error:
                raise ElLarqError(f"{folder} cannot be converted with int8, so compare --against float: {error}") from error


def _deploy_once(folder: Path, network: str, place: Path, **options: Any) -> None:
    """Convert the model of the run in ``folder`` unless ``place`` has it already, from the same weights."""
    if recorded(place / "deployed.json", "source_sha256") != hash_of(folder / _MODEL):
        place.mkdir(exist_ok=True)
        deploy(folder, network, place, **options)


def deploy(folder: Path, network: str, place: Path | None = None, **options: Any) -> None:
    """Convert a run's model and write deployed.json: the Keras model's MACs, as counted in the literature, and the file's size.

    Both files are written into ``place``, the run's folder by default. ``options`` are more options of the conversion.
    """
    keras.backend.clear_session()
    place = place or folder
    target = place / "model.tflite"
    allow = NETWORKS[network].allow if network in NETWORKS else tuple(read_result(folder).get("allow", []))
    source = hash_of(folder / _MODEL)
    job = convert(folder / _MODEL, target, options=Options(allow=allow, **options))
    details = {entry.step: entry.details for entry in job.report}
    assert job.loaded is not None
    counts = count(job.loaded)
    facts = {
        "bops": counts.bops,
        "flops": counts.flops,
        "ops": counts.ops,
        "binary_convolutions": details["audit"]["binary"],
        "tflite_bytes": target.stat().st_size,
        "peak_ram_bytes": inspect(target).arena,
        "source_sha256": source,
        "sha256": hash_of(target),
        "top1_agreement": details["verify"]["top1_agreement"],
    }
    write_json(place / "deployed.json", facts)


def measure_all(paths: list[Path]) -> dict[str, Any]:
    """Latencies of .tflite files on this machine by SHA-256, measured alternately, and a caveat about them."""
    found = measure(paths)
    return {"caveat": caveat(), **{one.sha256: one.to_dict() for one in found}}

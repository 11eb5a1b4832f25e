"""The configuration of a training, as stored in a run folder's config.json. Does not import TensorFlow.

Schema 1 had a field ``facts``, always empty, and lacked the fields that now have defaults; its runs keep no state, so they can be
read and reported but not resumed. Runs of schema 2 validated on the test split and used binary depthwise convolutions in MobileNet
unless configured otherwise; when resumed, they continue to do so.
"""

import shlex
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.data.validation import TEST
from el_larq.errors import ElLarqError
from el_larq.files import parse_json
from el_larq.training.recipe import Recipe
from el_larq.training.selection import ACCURACY, MAP_50

SCHEMA = 3

FIRST_RESUMABLE = 2
"""The first schema whose runs save a state to resume from."""

_REAL_DEPTHWISE = 3
"""The first schema whose MobileNets have real-valued depthwise convolutions by default."""

OWN = "own"
"""The value of method and link if a user network chooses them itself."""

OWN_SOURCE = "network.py"
"""The copy of a user network's file in the run folder."""

OWN_MODEL = "network.keras"
"""A model that was given as an object, as it was before the training, in the run folder; then it is also the network's name."""


CONFIG, RESULT, FAILURE, METRICS = "config.json", "result.json", "failure.json", "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that determines what a training computes.

    dataset_fingerprint: see `el_larq.data.dataset.Dataset.fingerprint`; None if unknown.
    init_from: the model that the weights were initialized from, see `el_larq.training.initialize.Initialized.to_dict`.
    validation: what the best epoch is chosen by, see `el_larq.data.validation`.
    deterministic: whether the seed determines the weights, see `el_larq.training.determinism`; older runs always are.
    distribution: strategy, workers, replicas, and what batch size and learning rate of the recipe were multiplied with; None for
        one device.
    teacher: the model that the loss compares with, as a path from the run folder or an absolute one.
    compiled: names of the optimizer and loss of a user network that comes compiled, see `el_larq.training.compiled`.
    changes: changes made on resume, each of one of two kinds: {"step", "learning_rate"}, the learning rate from that step on, or
        {"step", "epochs", "epochs_before"}, more epochs and their schedule from that step on (`el_larq.training.extension`).
    """

    network: str
    method: str
    link: str
    placement: str | None
    link_options: dict[str, Any]
    method_options: dict[str, Any] = field(default_factory=dict)
    dataset: str
    dataset_version: int
    dataset_fingerprint: str | None = None
    image_size: int
    preprocessing: dict[str, Any] | None = None
    width: float
    network_options: dict[str, Any]
    recipe: dict[str, Any]
    seed: int
    strict: bool = False
    deterministic: bool = True
    distribution: dict[str, Any] | None = None
    validation: str | float = TEST
    init_from: dict[str, Any] | None = None
    teacher: str | None = None
    compiled: dict[str, Any] | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    schema: int = SCHEMA


_TYPES: dict[str, type | tuple[type, ...]] = {
    "network": str,
    "method": str,
    "link": str,
    "placement": (str, type(None)),
    "link_options": dict,
    "method_options": dict,
    "dataset": str,
    "dataset_version": int,
    "dataset_fingerprint": (str, type(None)),
    "image_size": int,
    "preprocessing": (dict, type(None)),
    "width": (int, float),
    "network_options": dict,
    "recipe": dict,
    "seed": int,
    "strict": bool,
    "deterministic": bool,
    "distribution": (dict, type(None)),
    "validation": (str, int, float),
    "init_from": (dict, type(None)),
    "teacher": (str, type(None)),
    "compiled": (dict, type(None)),
    "changes": list,
}


def read_config(folder: Path) -> TrainConfig:
    """Read the config of a run folder, of this schema or an older one.

    Raises:
        ElLarqError: the folder is not a run folder or contains a link or a pipe, or the config is damaged or of a newer schema.
    """
    if not folder.is_dir():
        raise ElLarqError(f"there is no run folder {folder}")
    path = folder / CONFIG
    if not own_folders.is_there(path):
        raise ElLarqError(
            f"{folder} is not a run folder: it has no {CONFIG}; start a run there with "
            f"el-larq train NETWORK -o {shlex.quote(str(folder))}"
        )
    own_folders.check_all(folder)
    content = read_json(path)
    check_not_newer(content, folder)
    schema = content.get("schema")
    if not isinstance(schema, int) or isinstance(schema, bool) or schema < 1:
        raise damaged(path)
    names = {entry.name for entry in fields(TrainConfig)}
    known = {name: value for name, value in content.items() if name in names}
    for name, value in known.items():
        if name in _TYPES and not isinstance(value, _TYPES[name]):
            raise damaged(path)
    try:
        config = TrainConfig(**known)
    except TypeError as error:
        raise damaged(path) from error
    if schema < _REAL_DEPTHWISE and config.network == "mobilenet" and "variant" not in config.network_options:
        config = replace(config, network_options={"depthwise": "binary"} | config.network_options)
    return config


def check_not_newer(config: dict[str, Any], folder: Path) -> None:
    """Raise ElLarqError if the run's schema is newer than this program supports."""
    schema = config.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ElLarqError(
            f"{folder} is a run of schema {schema}, made by a newer el-larq; this one supports schemas up to {SCHEMA}: update it"
        )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file of the run folder that contains one JSON object."""
    try:
        content = parse_json(own_folders.read(path))
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def read_result(folder: Path) -> dict[str, Any]:
    """Read the result of a finished run."""
    result = read_json(folder / RESULT)
    allow = result.get("allow", [])
    score = MAP_50 if MAP_50 in result else ACCURACY
    if not all(isinstance(result.get(name), (int, float)) for name in (score, "seconds")):
        raise damaged(folder / RESULT)
    if not (isinstance(allow, list) and all(isinstance(entry, str) for entry in allow)):
        raise damaged(folder / RESULT)
    return result


def read_epochs(folder: Path, *, skip_damaged: bool = False) -> list[dict[str, Any]]:
    """The records of a run's epochs, each with its number as ``epoch``.

    Arguments:
        skip_damaged: leave out invalid lines, such as an incomplete last one, and take a missing file for an empty one.

    Raises:
        ElLarqError: the file cannot be read, or, without ``skip_damaged``, a line is invalid.
    """
    path = folder / METRICS
    if skip_damaged and not own_folders.is_there(path):
        return []
    records = []
    for line in own_folders.read(path).splitlines():
        try:
            record = parse_json(line)
            records.append({**record, "epoch": int(record["epoch"])})
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            if not skip_damaged:
                raise damaged(path) from error
    return records


def damaged(path: Path) -> ElLarqError:
    return ElLarqError(f"{path} is damaged; take it from a backup, or train again into another folder")


def is_finished(folder: Path) -> bool:
    """Whether the run is finished: the result is written last, after the model files."""
    return (folder / RESULT).exists()


def recipe_of(config: TrainConfig, folder: Path) -> Recipe:
    try:
        return Recipe(**_with_ranges(config.recipe)).with_changes()
    except TypeError as error:
        raise damaged(folder / CONFIG) from error


def _with_ranges(recipe: dict[str, Any]) -> dict[str, Any]:
    """A stored recipe; in versions without the field qat_ranges, all ranges were averaged."""
    stages = {"stages": [_with_ranges(stage) for stage in recipe["stages"]]} if recipe.get("stages") else {}
    return ({"qat_ranges": "averaged"} if recipe.get("qat_bits") else {}) | recipe | stages

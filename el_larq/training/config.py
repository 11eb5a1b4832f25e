"""What was asked of a training, as it lies in a run folder's config.json. Imports no TensorFlow.

Schema 1 had ``facts``, always empty, and not the fields that have defaults; its runs keep no state, so that they are read and
reported, but not resumed. Runs of schema 2 validated on the test split and had binary depthwise convolutions in MobileNet unless
they said otherwise; they go on so.
"""

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from el_larq import own_folders
from el_larq.data.validation import TEST
from el_larq.errors import ElLarqError
from el_larq.files import parse_json

SCHEMA = 3

FIRST_RESUMABLE = 2
"""The first schema whose runs keep a state."""

_REAL_DEPTHWISE = 3
"""The first schema whose MobileNets have real-valued depthwise convolutions where nothing is said."""

CONFIG, RESULT, FAILURE = "config.json", "result.json", "failure.json"


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a training computes.

    dataset_fingerprint: see `el_larq.data.dataset.Dataset.fingerprint`; None where it is not known.
    init_from: the model it started from, see `el_larq.training.initialize.Initialized.to_dict`.
    validation: what chooses the best epoch, see `el_larq.data.validation`.
    compiled: names of optimizer and loss of a network of one's own that came compiled, see `el_larq.training.compiled`.
    changes: what was changed on the way: {"step", "learning_rate"} from that step on.
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
    validation: str | float = TEST
    init_from: dict[str, Any] | None = None
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
    "validation": (str, int, float),
    "init_from": (dict, type(None)),
    "compiled": (dict, type(None)),
    "changes": list,
}


def read_config(folder: Path) -> TrainConfig:
    """The config of a run folder, of this schema or an older one.

    Raises:
        ElLarqError: no run folder, a damaged config, one of a newer schema, or a folder that holds a link or a pipe.
    """
    if not folder.is_dir():
        raise ElLarqError(f"there is no run folder {folder}")
    path = folder / CONFIG
    if not own_folders.is_there(path):
        raise ElLarqError(f"{folder} holds no run: it has no {CONFIG}; start one there with el-larq train NETWORK -o {folder}")
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
    """Refuse a run of a schema that is newer than this program."""
    schema = config.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise ElLarqError(
            f"{folder} is a run of schema {schema}, made by a newer el-larq; this one knows schemas up to {SCHEMA}: update it"
        )


def read_json(path: Path) -> dict[str, Any]:
    """A file of the run folder that holds one JSON object."""
    try:
        content = parse_json(own_folders.read(path))
    except ValueError as error:
        raise damaged(path) from error
    if not isinstance(content, dict):
        raise damaged(path)
    return content


def read_result(folder: Path) -> dict[str, Any]:
    """The result of a finished run."""
    result = read_json(folder / RESULT)
    if not all(isinstance(result.get(name), (int, float)) for name in ("accuracy", "seconds")):
        raise damaged(folder / RESULT)
    return result


def damaged(path: Path) -> ElLarqError:
    return ElLarqError(f"{path} is damaged; take it from a backup, or train again into another folder")


def is_finished(folder: Path) -> bool:
    """A result is written last, when the models are there."""
    return (folder / RESULT).exists()

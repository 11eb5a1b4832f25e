"""Whether a folder that a model's card names may be read without an explicit request by the user.

The card may come from someone else and name any folder on this machine.
"""

import os
from pathlib import Path

from el_larq import own_folders
from el_larq.data.dataset_registry import parse_name
from el_larq.errors import ElLarqError
from el_larq.files import parse_json
from el_larq.model_files import run_of_model

_CONFIG = "config.json"
"""The config file of a run folder, see `el_larq.training.config`."""


_EMBEDDED = ("embedded",)
_IN_A_DATA_DIR = ("tfds", "standard", "mnist")
"""Kinds of data sets without a folder unless their name ends in @DATA_DIR."""


def foreign_folder(dataset: str, model: Path) -> str | None:
    """The folder that loading the data set on a model's card would read. None if the data set's name contains no folder, or if
    the model is in a run folder that belongs to this user and whose config names the same data set.

    Raises:
        UsageError: the data set's name is invalid.
    """
    name = parse_name(dataset)
    if name.kind in _EMBEDDED:
        folder = None
    elif name.kind in _IN_A_DATA_DIR:
        folder = name.data_dir
    else:  # also a kind that was added later: its name may contain a folder
        folder = name.base
    return None if folder is None or _is_of_own_run(dataset, model) else folder


def _is_of_own_run(dataset: str, model: Path) -> bool:
    try:
        model = model.resolve()
        folder = run_of_model(model) or model.parent
        config = folder / _CONFIG
        content = parse_json(own_folders.read(config))
        says = isinstance(content, dict) and content.get("dataset") == dataset
        return says and all(map(_is_own, (model, model.parent, folder, config)))
    except (ElLarqError, OSError, ValueError):
        return False


def _is_own(path: Path) -> bool:
    return not hasattr(os, "getuid") or path.lstat().st_uid == os.getuid()

"""Loads .keras archives of Keras 2.12 to 2.14, whose weights tf-keras does not find."""

import inspect
import io
import zipfile
from pathlib import Path
from typing import Any

import h5py

from el_larq.errors import ElLarqError
from el_larq.keras_internals import from_archive_config, load_older_state
from el_larq.loading.containers import SavedConfig
from el_larq.loading.keras_names import registered

_FUNCTIONS = ("initializer", "quantizer", "activation")
"""Suffixes of the fields of layers that may name a function."""


def load_older_archive(path: Path, saved: SavedConfig, trust: bool) -> Any:
    """The model in the archive, whose container and configuration have been checked.

    Raises:
        ElLarqError: its layers have files of their own, such as vocabularies.
    """
    with zipfile.ZipFile(path) as archive:
        if any(name.startswith("assets/") and not name.endswith("/") for name in archive.namelist()):
            raise ElLarqError(
                f"{path}: contains vocabularies or other files of layers, in the form of a Keras before 2.15; load it there and "
                "save it as .h5"
            )
        weights = io.BytesIO(archive.read("model.weights.h5"))
    model = from_archive_config(_with_functions(saved.config), safe=not trust)
    with h5py.File(weights, "r") as file:
        load_older_state(model, file, repeats=saved.version < (2, 14))
    return model


def _with_functions(config: Any) -> Any:
    """The configuration with registered functions as Keras 2.13 names them; 2.12 writes their names only."""
    if isinstance(config, list):
        return [_with_functions(part) for part in config]
    if not isinstance(config, dict):
        return config
    return {key: _function(value) if str(key).endswith(_FUNCTIONS) else _with_functions(value) for key, value in config.items()}


def _function(value: Any) -> Any:
    if isinstance(value, str) and inspect.isfunction(registered(value)):
        return {"module": "builtins", "class_name": "function", "config": value, "registered_name": "function"}
    return _with_functions(value)

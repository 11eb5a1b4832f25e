"""The model that a path stands for: a file, a SavedModel, or the model of a run folder."""

import os
from pathlib import Path

from el_larq.errors import ElLarqError


def model_file(path: Path) -> Path:
    """The model.h5 of a run folder; any other path is returned unchanged.

    Raises:
        ElLarqError: the run is not finished.
    """
    # os.path.isfile, unlike Path.is_file, is also False for a name that is too long; who opens the file reports that.
    if not os.path.isfile(path / "config.json") or (path / "saved_model.pb").is_file():
        return path
    model = path / "model.h5"
    if not model.is_file():
        raise ElLarqError(f"{path} is a run that is not finished and has no model; finish it with el-larq train --resume {path}")
    return model

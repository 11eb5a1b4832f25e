"""Models by name: zoo:NAME stands for a pretrained network of Larq Zoo wherever a model's path is accepted."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from el_larq.errors import ElLarqError
from el_larq.model_files import model_file
from el_larq.models.zoo.zoo_registry import PREFIX
from el_larq.zoo.weights_cache import need_weights

if TYPE_CHECKING:
    import tf_keras as keras


def is_zoo_name(source: str | os.PathLike[str]) -> bool:
    return os.fspath(source).startswith(PREFIX)


def check_model(source: str | os.PathLike[str]) -> None:
    """Check that there is a model of this path or name. Does not import TensorFlow.

    Raises:
        UsageError: there is no such network in Larq Zoo.
        ElLarqError: there is no such file, or the network's weights have not been fetched.
    """
    if is_zoo_name(source):
        need_weights(os.fspath(source))
    elif not Path(source).exists():
        raise ElLarqError(f"{source}: no such file")


def find_model(source: str | os.PathLike[str]) -> Path:
    """The file of a model: of zoo:NAME, which may have to be written first, or of a run folder. Other paths are unchanged.

    Raises:
        UsageError: there is no such network in Larq Zoo.
        ElLarqError: its weights have not been fetched or do not fit, or the run is not finished.
    """
    if not is_zoo_name(source):
        return model_file(Path(source))
    weights = need_weights(os.fspath(source))
    from el_larq.zoo.zoo_model import zoo_model_file

    return zoo_model_file(weights)


def load_model(path: str | os.PathLike[str], trust: bool = False) -> "keras.Model":
    """Load a Keras model, without its optimizer; no code in the file is executed unless it is trusted.

    Arguments:
        path: a .h5, .hdf5 or .keras file, a SavedModel or run folder, or zoo:NAME, a network of Larq Zoo that has been fetched.
        trust: load it as Keras does, including any code in it and without size limits.

    Raises:
        UsageError: there is no such network in Larq Zoo.
        ElLarqError: the file is missing, not a model, damaged, weights only, contains code, or declares more than its size allows.
    """
    from el_larq.loading.load import load_model as load_file

    return load_file(find_model(path), trust=trust)

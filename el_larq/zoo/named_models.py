"""Models by name, wherever a model's path is accepted, and the networks of these names.

zoo:NAME is a pretrained network of Larq Zoo, keras:NAME=PATH one of Keras Applications with the weights in the file PATH. The name
may be left out if the file still has the name that Keras gave to it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from el_larq.downloads.asset import hash_file
from el_larq.errors import ElLarqError
from el_larq.files import hash_path
from el_larq.model_files import model_file
from el_larq.models.keras_applications import PREFIX as KERAS_PREFIX
from el_larq.models.keras_applications import get_application
from el_larq.models.zoo.zoo_registry import PREFIX as ZOO_PREFIX
from el_larq.models.zoo.zoo_registry import get_zoo_network
from el_larq.zoo.application_model import ApplicationWeights, application_model_file, build_application
from el_larq.zoo.weights_cache import need_weights

if TYPE_CHECKING:
    import tf_keras as keras


def is_model_name(source: str | os.PathLike[str]) -> bool:
    """Whether it is a name, zoo:NAME or keras:NAME=PATH, in place of a path."""
    return os.fspath(source).startswith((ZOO_PREFIX, KERAS_PREFIX))


def check_model(source: str | os.PathLike[str]) -> None:
    """Check that there is a model of this path or name. Does not import TensorFlow.

    Raises:
        UsageError: there is no such network in Larq Zoo or Keras Applications.
        ElLarqError: there is no such file, or the network's weights have not been fetched.
    """
    if os.fspath(source).startswith(ZOO_PREFIX):
        need_weights(os.fspath(source))
    elif (weights := ApplicationWeights.parse(source)) is not None:
        weights.check()
    elif not Path(source).exists():
        raise ElLarqError(f"{source}: no such file")


def find_model(source: str | os.PathLike[str]) -> Path:
    """The file of a model: of a name, for which it may have to be written first, or of a run folder. Other paths are unchanged.

    Raises:
        UsageError: there is no such network in Larq Zoo or Keras Applications.
        ElLarqError: its weights are missing or do not fit, or the run is not finished.
    """
    if os.fspath(source).startswith(ZOO_PREFIX):
        weights = need_weights(os.fspath(source))
        from el_larq.zoo.zoo_model import zoo_model_file

        return zoo_model_file(weights)
    if (weights := ApplicationWeights.parse(source)) is not None:
        return application_model_file(weights)
    return model_file(Path(source))


def hash_model(path: Path) -> str:
    """The SHA-256 by which an evaluation names a model: of its file, or of a SavedModel's files."""
    return hash_file(path) if path.is_file() else hash_path(path)


def absolute_model(source: str | os.PathLike[str]) -> str:
    """The same model with an absolute path, if its name contains one."""
    text = os.fspath(source)
    if text.startswith(ZOO_PREFIX):
        return text
    weights = ApplicationWeights.parse(text) if text.startswith(KERAS_PREFIX) else None
    return os.path.abspath(text) if weights is None else weights.absolute


def check_network(network: str) -> None:
    """Raise UsageError unless a name of the form zoo:NAME or keras:NAME is that of a network that can be trained."""
    get_zoo_network(network) if network.startswith(ZOO_PREFIX) else get_application(network)


def build_named(network: str, input_shape: tuple[int, int, int], num_classes: int) -> "keras.Model":
    """The network of the name zoo:NAME or keras:NAME with initial weights, from images to logits.

    Raises:
        UsageError: an unknown name, or an input that is too small for the network.
    """
    if network.startswith(KERAS_PREFIX):
        return build_application(network, input_shape, num_classes)
    from el_larq.models.zoo.zoo_build import build_zoo

    return build_zoo(network, input_shape=input_shape, num_classes=num_classes, softmax=False)


def load_model(path: str | os.PathLike[str], trust: bool = False) -> "keras.Model":
    """Load a Keras model, without its optimizer; no code in the file is executed unless it is trusted.

    Arguments:
        path: a .h5, .hdf5 or .keras file, a SavedModel or run folder, zoo:NAME, a network of Larq Zoo that has
            been fetched, or keras:NAME=PATH, weights of Keras Applications.
        trust: load it as Keras does, including any code in it and without size limits.

    Raises:
        UsageError: there is no such network in Larq Zoo or Keras Applications.
        ElLarqError: the file is missing, not a model, damaged, weights only, contains code, or declares more than its size allows.
    """
    from el_larq.loading.load import load_model as load_file

    return load_file(find_model(path), trust=trust)

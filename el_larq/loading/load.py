"""Loads a Keras model from .h5, .keras or a SavedModel folder, with Larq's and this project's layers registered.

Files of Keras 3, and SavedModels without Keras layers or with a Lambda among them, become models with one layer, their graph
(`keras3`, `saved_function`).

A file may be untrusted. Before Keras reads it, its configuration (`guard`), its graphs (`saved_graphs`) and its container
(`containers`) are checked; while Keras builds the model, the size of each variable is checked before memory is allocated.
docs/safety.md describes what this prevents and what it does not.
"""

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import Any

import larq  # noqa: F401  (registers its layers and quantizers)
import tensorflow as tf
import tf_keras as keras

import el_larq.layers
import el_larq.loading.larq_zoo_objects  # noqa: F401  (registers Larq Zoo's objects)
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.files import is_hdf5, read_bytes
from el_larq.keras_internals import all_layers, returned_tensors
from el_larq.loading import containers
from el_larq.loading.guard import MAX_NAME, check_config, check_root, contains_lambda
from el_larq.loading.keras3 import load_keras3
from el_larq.loading.older_archive import load_older_archive
from el_larq.loading.saved_function import graph_layer, load_saved_function
from el_larq.loading.saved_graphs import check_graphs
from el_larq.loading.user_modules import imported_modules
from el_larq.loading.weights_file import load_weights as load_weights
from el_larq.loading.weights_file import load_weights_only
from el_larq.loading.weights_file import stored_shapes as stored_shapes
from el_larq.native_output import without_warnings

FORMATS = (".h5", ".hdf5", ".keras")

_OTHER_FILES = {
    ".tflite": "is converted already; inspect, evaluate or benchmark it",
    ".json": "contains an architecture without weights; build the model from it, load its weights, and save it with model.save()",
    ".index": "is a checkpoint, which contains weights only; build the model, load them, and save it with model.save()",
    ".ckpt": "is a checkpoint, which contains weights only; build the model, load them, and save it with model.save()",
    ".pb": "is one file of a SavedModel, or a frozen graph; give the SavedModel's folder",
    ".onnx": "is an ONNX model; only Keras models and SavedModels can be read",
    ".pt": "is a PyTorch model; only Keras models and SavedModels can be read",
    ".pth": "is a PyTorch model; only Keras models and SavedModels can be read",
}
"""What files with other suffixes are, to complete a message, and what to do with them."""


def load_model(path: str | Path, trust: bool = False) -> keras.Model:
    """Load a Keras model, without its optimizer; no code in the file is executed unless it is trusted.

    Arguments:
        path: a .h5, .hdf5 or .keras file, or a SavedModel folder.
        trust: load it as Keras does, including any code in it and without size limits.

    Raises:
        ElLarqError: the file is missing, not a model, damaged, weights only, contains code, or declares more than its size allows.
    """
    path = Path(path)
    if not path.exists():
        raise ElLarqError(f"{path}: no such file")
    saved = _check(path, trust)
    if saved is None:
        return _load_graph(path)
    if saved.version[0] > 2:
        return load_keras3(path, saved.config, trust, imported_modules())
    limit = containers.allowance(path)
    refused: list[ElLarqError] = []
    try:
        with without_warnings(), _limited_variables(None if trust else limit, path, refused):
            archive = containers.is_archive(path)
            safety = {"safe_mode": not trust} if archive else {}
            if saved.weights_only:
                model = load_weights_only(path, saved.config)
            elif archive and saved.version < containers.TF_KERAS:
                model = load_older_archive(path, saved, trust)
            else:
                with containers.named_functions(path, saved) as readable:
                    model = keras.models.load_model(readable, compile=False, **safety)
    except ElLarqError:
        raise
    except Exception as error:  # Keras raises almost any kind of error for a file it cannot load
        if refused:
            raise refused[0] from error
        if unknown := re.search(r"Unknown ([a-z ]+): '([^']+)'", str(error)):  # Keras quotes the whole configuration before this
            kind, name = unknown[1], unknown[2][:MAX_NAME]
            raise ElLarqError(f"{path}: unknown {kind} {name!r}; name the module that registers it with --import MODULE") from error
        hint = ""
        if "nknown layer" in str(error) or "Could not locate" in str(error) or "Unknown object" in str(error):
            hint = "; name the module that registers it with --import MODULE"
        raise ElLarqError(f"{path}: cannot be loaded: {summarize(error)}{hint}") from error
    if refused:  # the SavedModel loader falls back to another way if one fails
        raise refused[0]
    if not isinstance(model, keras.Model):
        raise ElLarqError(f"{path}: not a Keras model; save one with model.save()")
    if not trust:
        check_activations(model, path)
    return model


def _load_graph(path: Path) -> keras.Model:
    """The serving graph of a SavedModel, without Keras layers or with a Lambda among them."""
    metadata = path / "keras_metadata.pb"
    if not metadata.exists():
        return load_saved_function(path, str(path))
    root, _ = containers.metadata_configs(read_bytes(metadata), path)
    try:
        return load_saved_function(path, str(path), names=_names(root))
    except ElLarqError as error:
        raise ElLarqError(
            f"{error}; it has a Lambda layer, so only its graph can be loaded, unless you trust it (--trust)"
        ) from error


def _names(root: Any) -> tuple[list[str], list[str]] | None:
    """Names of inputs and outputs in the order of the Keras model, from its description; None if that does not have them."""
    try:
        inputs, outputs = ([str(name) for name, *_ in root["config"][field]] for field in ("input_layers", "output_layers"))
        return inputs, outputs
    except (KeyError, TypeError, ValueError):
        return None


def _check(path: Path, trust: bool) -> containers.SavedConfig | None:
    """Reject a file by its contents, before Keras reads it. None for a SavedModel whose graph is loaded instead of Keras layers."""
    if path.is_dir():
        containers.check_folder(path)
        if not trust:
            check_graphs(read_bytes(path / "saved_model.pb"), str(path), containers.allowance(path))
        if not (path / "keras_metadata.pb").exists():
            return None
        root, configs = containers.metadata_configs(read_bytes(path / "keras_metadata.pb"), path)
        if not trust and contains_lambda(configs, str(path)):
            return None  # the graph contains what the code computes, in permitted operators only; the code is not run
        if not trust:
            check_config(configs, str(path), traced=True)
            check_root(root, str(path), traced=True)
        return containers.SavedConfig(root, containers.TF_KERAS)
    suffix = path.suffix.lower()
    if suffix == ".keras" != path.suffix:
        raise ElLarqError(f"{path}: tf-keras recognizes the format by its suffix only; rename it to {path.stem}.keras")
    if suffix in _OTHER_FILES:
        raise ElLarqError(f"{path}: {_OTHER_FILES[suffix]}")
    if suffix not in FORMATS:
        raise ElLarqError(f"{path}: not a Keras model by its name; known formats: {', '.join(FORMATS)} and SavedModel folders")
    if suffix == ".keras" and is_hdf5(path) and zipfile.is_zipfile(path):
        # One would be checked here, and Keras would read the other, even from a trusted file.
        raise ElLarqError(f"{path}: both an HDF5 file and an archive; save the model again")
    read = containers.keras_config if containers.is_archive(path) else containers.h5_config
    saved = read(path, trust=trust)
    if not trust and saved.version[0] <= 2:
        check_config(saved.config, str(path))
        check_root(saved.config, str(path))
    return saved


@contextmanager
def _limited_variables(limit: int | None, path: Path, refused: list[ElLarqError]) -> Iterator[None]:
    """Reject variables of more than ``limit`` bytes in total; ``refused`` collects the errors, which Keras wraps or suppresses."""
    taken = 0

    def create(next_creator: Any, **arguments: Any) -> Any:
        nonlocal taken
        shape, value = arguments.get("shape"), arguments.get("initial_value")
        if shape is None and hasattr(value, "shape"):
            shape = value.shape
        sizes = tf.TensorShape(shape)  # pyright: ignore[reportArgumentType]
        size = tf.dtypes.as_dtype(arguments.get("dtype") or tf.float32).size
        taken += size * prod(int(dimension or 1) for dimension in sizes) if sizes.rank is not None else 0
        if limit is not None and taken > limit:
            refused.append(
                ElLarqError(
                    f"{path}: its layers declare {taken:,} bytes of weights, more than a file of its size can contain; "
                    f"save the model again, {containers.TRUST}"
                )
            )
            raise refused[-1]
        return next_creator(**arguments)

    with tf.variable_creator_scope(create):
        yield


def check_activations(model: keras.Model, path: Path) -> None:
    """Reject large activations: layers without weights can produce gigabytes from one image."""
    batches = {None, *(tensor.shape[0] for tensor in model.inputs or [])}
    for layer, tensor in returned_tensors(model):
        if tensor.shape.rank is None:
            raise ElLarqError(
                f"{path}: the output of its layer {layer.name} has an unknown number of dimensions; build it with a shape"
            )
        sizes = tuple(tensor.shape)
        if sizes and sizes[0] in batches:
            sizes = sizes[1:]
        containers.check_activation(layer.name, sizes, path)


def scaling_layer(model: keras.Model) -> str | None:
    """The name of a layer that scales inputs inside the model, or None: such a model needs different preprocessing."""
    if (graph := graph_layer(model)) is not None:
        return graph.scaling
    kinds = (keras.layers.Rescaling, keras.layers.Normalization)
    return next((layer.name for layer in all_layers(model) if isinstance(layer, kinds)), None)


def check_has_layers(model: keras.Model, source: str) -> None:
    """Reject a model that was loaded from a graph, where the layers themselves are needed."""
    if graph_layer(model) is not None:
        raise ElLarqError(f"{source}: contains a graph, not the layers of tf-keras; convert it and use the .tflite")


def with_static_input(model: keras.Model, image_size: int | None) -> keras.Model:
    """The same model with inputs of static size: otherwise LCE silently leaves convolutions in float."""
    inputs = list(model.inputs or ())
    if not inputs:
        raise ElLarqError(f"model {model.name!r} has no inputs of known shape; call it on an image once, then save it")
    if len(inputs) > 1:
        missing = [tensor.name.split(":")[0] for tensor in inputs if None in tuple(tensor.shape[1:])]
        if missing:
            raise ElLarqError(
                f"the inputs {', '.join(missing)} have no fixed size; give each input a fixed shape and save it again"
            )
        return model
    shape = tuple(model.inputs[0].shape[1:])
    if None not in shape:
        if image_size is not None and shape[:2] != (image_size, image_size):
            raise UsageError(f"the model's input is fixed at {shape}; --image-size {image_size} cannot change it")
        return model
    if len(shape) != 3 or shape[-1] is None or image_size is None:
        raise ElLarqError(f"the model's input {shape} has no fixed size; give one with --image-size")
    image = keras.Input((image_size, image_size, shape[-1]), name=model.inputs[0].name.split(":")[0])
    static = keras.Model(image, model(image, training=False), name=model.name)
    # Keras would name all outputs after the model.
    static.output_names = model.output_names  # pyright: ignore[reportAttributeAccessIssue]
    return static

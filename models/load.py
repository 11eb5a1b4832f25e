"""Loading a Keras model from .h5, .keras or a SavedModel folder, with Larq's and this project's layers known."""

import importlib
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import larq  # noqa: F401  (registers its layers and quantizers)
import tf_keras as keras

import el_larq.layers
import el_larq.quantizers  # noqa: F401
from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.native_output import without_warnings

FORMATS = (".h5", ".hdf5", ".keras")


def import_modules(modules: tuple[str, ...]) -> None:
    """Import users' own modules, so that the layers they register are known."""
    for name in modules:
        try:
            importlib.import_module(name)
        except Exception as error:  # whatever the user's code raises
            raise UsageError(f"cannot import module {name!r}: {summarize(error)}; is it on PYTHONPATH?") from error


def load_model(path: str | Path) -> keras.Model:
    """A Keras model with everything but its optimizer; nothing in the file is executed.

    Raises:
        ElLarqError: no such file, not a model, damaged, weights only, or one that holds code.
    """
    path = Path(path)
    if not path.exists():
        raise ElLarqError(f"{path}: no such file")
    try:
        config = _read_config(path)
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ElLarqError(f"{path}: a damaged or truncated model file; save the model again") from error
    _refuse_code(config, path)
    if path.suffix == ".keras":
        _require_known(config, path)
    try:
        with without_warnings():
            model = keras.models.load_model(path, compile=False)
    except Exception as error:  # Keras raises nearly every kind of error for a file it cannot use
        hint = ""
        if "nknown layer" in str(error) or "Could not locate" in str(error) or "Unknown object" in str(error):
            hint = "; name the module that registers it with --import MODULE"
        raise ElLarqError(f"{path}: cannot be loaded: {summarize(error)}{hint}") from error
    if not isinstance(model, keras.Model):
        raise ElLarqError(f"{path}: not a Keras model; save one with model.save()")
    return model


def _read_config(path: Path) -> Any:
    """The model's configuration as JSON, read without Keras."""
    if path.is_dir():
        if not (path / "saved_model.pb").is_file():
            raise ElLarqError(f"{path}: a folder without saved_model.pb is no SavedModel")
        if not (path / "keras_metadata.pb").is_file():
            raise ElLarqError(f"{path}: a SavedModel without Keras layers; save it with model.save() from tf-keras")
        return _saved_model_config(path)
    if path.suffix not in FORMATS:
        raise ElLarqError(f"{path}: not a Keras model by its name; known formats: {', '.join(FORMATS)} and SavedModel folders")
    if path.suffix == ".keras":
        if not zipfile.is_zipfile(path):
            raise ElLarqError(f"{path}: not a .keras file, or a truncated one; save the model again")
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    if not h5py.is_hdf5(path):
        raise ElLarqError(f"{path}: not an HDF5 file; save the model with model.save('model.h5')")
    with h5py.File(path, "r") as file:
        if "model_config" not in file.attrs:
            raise ElLarqError(f"{path}: holds weights only; save the whole model with model.save(), not save_weights()")
        config: Any = file.attrs["model_config"]
        return json.loads(config.decode() if isinstance(config, bytes) else config)


def _saved_model_config(path: Path) -> list[Any]:
    """What a SavedModel says of its Keras layers, a JSON text each."""
    from google.protobuf.message import DecodeError
    from tf_keras.protobuf import saved_metadata_pb2

    metadata: Any = saved_metadata_pb2.SavedMetadata()  # pyright: ignore[reportAttributeAccessIssue]
    try:
        metadata.ParseFromString((path / "keras_metadata.pb").read_bytes())
    except DecodeError as error:
        raise ValueError("keras_metadata.pb is damaged") from error
    return [json.loads(node.metadata) for node in metadata.nodes if node.metadata]


def _require_known(config: Any, path: Path) -> None:
    """A .keras file names the module of each object; those of neither Keras nor an imported module cannot be made."""
    stack = [config]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            name, module = node.get("registered_name"), node.get("module")
            foreign = isinstance(name, str) and isinstance(module, str) and not module.startswith(("keras", "tf_keras"))
            if foreign and keras.utils.get_registered_object(name) is None:
                raise ElLarqError(f"{path}: unknown object {name!r} of module {module}; name it with --import {module}")
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _refuse_code(config: Any, path: Path) -> None:
    """A Lambda layer holds marshalled Python code, which Keras would run from .h5."""
    for name in _class_names(config):
        if name in ("Lambda", "__lambda__"):
            raise ElLarqError(f"{path}: holds a Lambda layer, which is code; replace it by a layer class and --import it")


def _class_names(node: Any) -> Iterator[str]:
    stack = [node]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if isinstance(node.get("class_name"), str):
                yield node["class_name"]
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def with_static_input(model: keras.Model, image_size: int | None) -> keras.Model:
    """The same model with one input whose size is known: without it LCE silently leaves convolutions in float."""
    if len(model.inputs or []) != 1:
        raise ElLarqError(f"model {model.name!r} has {len(model.inputs or [])} inputs; only models with one can be converted")
    shape = tuple(model.inputs[0].shape[1:])
    if None not in shape:
        if image_size is not None and shape[:2] != (image_size, image_size):
            raise UsageError(f"the model's input is fixed at {shape}; --image-size {image_size} cannot change it")
        return model
    if len(shape) != 3 or shape[-1] is None or image_size is None:
        raise ElLarqError(f"the model's input {shape} has no fixed size; give one with --image-size")
    image = keras.Input((image_size, image_size, shape[-1]), name=model.inputs[0].name.split(":")[0])
    return keras.Model(image, model(image, training=False), name=model.name)

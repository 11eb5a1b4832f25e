"""Opens a file of Keras 3 (.h5 or .keras) with Keras 3, in a process of its own, and takes over its inference graph.

Keras 3 and tf-keras cannot read each other's files. The process has limited memory and writes a SavedModel with one signature,
which is loaded like any other (`saved_function`). Before Keras 3 reads the file, `check_keras3_config` restricts what it names.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from el_larq.errors import ElLarqError, summarize
from el_larq.loading.containers import check_activation
from el_larq.loading.user_modules import import_modules
from el_larq.memory_limit import limit_memory
from el_larq.native_output import captured_stderr
from el_larq.worker_process import MEMORY, Died, WorkerProcess


def load_keras3(path: Path, config: Any, trust: bool, modules: tuple[str, ...]) -> Any:
    """A tf-keras model with one layer, the graph of the model in the file.

    Arguments:
        path: the file, whose container has been checked.
        config: its configuration.
        trust: let it run code, without limits on its size.
        modules: Python modules to import first, which register classes with Keras 3.

    Raises:
        ElLarqError: Keras 3 cannot read it, it names anything unknown, or needs too much memory.
    """
    from el_larq.loading.saved_function import load_saved_function

    with tempfile.TemporaryDirectory(prefix="el-larq-") as folder, WorkerProcess() as worker:
        try:
            found = worker.call(export, str(path), folder, None if trust else config, modules)
        except Died as death:
            raise ElLarqError(f"{path}: the process that opens it with Keras 3 {death}") from None
        worker.close()
        return load_saved_function(
            Path(folder), str(path), names=(found["inputs"], found["outputs"]), title=found["name"], scaling=found["scaling"]
        )


def export(path: str, folder: str, config: Any, modules: tuple[str, ...]) -> dict[str, Any]:
    """In the process: load the file and write a SavedModel to ``folder``. Without a ``config``, the file is trusted."""
    with captured_stderr():  # TensorFlow lists what the machine lacks
        return _export(path, folder, config, modules)


def _export(path: str, folder: str, config: Any, modules: tuple[str, ...]) -> dict[str, Any]:
    os.environ["KERAS_BACKEND"] = "tensorflow"
    import keras
    import tensorflow as tf

    from el_larq.loading.keras3_guard import check_keras3_config

    import_modules(modules)
    if config is not None:
        check_keras3_config(config, path)
        limit_memory(max(MEMORY, 12 * Path(path).stat().st_size))
    try:
        model: Any = keras.saving.load_model(path, compile=False, safe_mode=config is not None)
    except Exception as error:  # Keras raises almost any kind of error for a file it cannot load
        if isinstance(error, MemoryError):
            raise
        hint = "; save it there as .keras, which Keras 3 reads more completely" if path.lower().endswith(".h5") else ""
        if "ould not locate" in str(error):
            hint = "; name the module that registers it with --import MODULE"
        raise ElLarqError(f"{path}: Keras 3 cannot load it: {_first_sentence(error)}{hint}") from error
    if not isinstance(model, keras.Model):
        raise ElLarqError(f"{path}: not a Keras model; save one with model.save()")
    if not model.inputs:
        raise ElLarqError(f"{path}: a model without inputs of known shape; call it on an image once, then save it")
    if config is not None:
        _check_activations(model, path)
    inputs = [tensor.name.split(":")[0] for tensor in model.inputs]
    outputs = _unique([str(name) for name in model.output_names])
    specs = [
        tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype, name=name) for tensor, name in zip(model.inputs, inputs, strict=True)
    ]

    def serve(**images: Any) -> dict[str, Any]:
        batches = keras.tree.pack_sequence_as(model.input, [images[name] for name in inputs])
        return dict(zip(outputs, keras.tree.flatten(model(batches, training=False)), strict=True))

    holder = tf.Module()
    holder.held = [variable.value for variable in model.variables]  # pyright: ignore[reportAttributeAccessIssue]
    signature = tf.function(serve).get_concrete_function(**dict(zip(inputs, specs, strict=True)))
    tf.saved_model.save(holder, folder, signatures=signature)
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    return {
        "name": model.name,
        "inputs": inputs,
        "outputs": outputs,
        "scaling": next((layer.name for layer in _layers(model) if isinstance(layer, scaling)), None),
    }


def _layers(model: Any) -> Iterator[Any]:
    """All layers, including those of nested models."""
    for layer in model.layers:
        yield layer
        if hasattr(layer, "layers"):
            yield from _layers(layer)


def _check_activations(model: Any, path: str) -> None:
    for operation in [model, *getattr(model, "operations", ())]:
        for tensor in operation.output if isinstance(operation.output, (list, tuple)) else [operation.output]:
            check_activation(operation.name, getattr(tensor, "shape", ())[1:], path)


def _unique(names: list[str]) -> list[str]:
    found: list[str] = []
    for name in names:
        count = found.count(name)
        while name in found:
            count += 1
            name = f"{name}_{count}"
        found.append(name)
    return found


def _first_sentence(error: Exception) -> str:
    """Keras 3 adds the object's whole configuration: after the cause, or before it."""
    short = Exception(re.sub(r" using config=.*Exception encountered: ", ": ", str(error), flags=re.DOTALL))
    text = summarize(short).replace("Exception", type(error).__name__, 1)
    return text.split("Full object config")[0].split(" Make sure custom classes")[0].rstrip(". ")

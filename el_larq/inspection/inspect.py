"""Inspects a model file."""

from pathlib import Path

from el_larq.errors import ElLarqError
from el_larq.files import read_bytes
from el_larq.inspection.summary import Inspection
from el_larq.tflite.instructions import check_core
from el_larq.zoo.named_models import find_model


def inspect(path: str | Path, *, trust: bool = False, core: str | None = None) -> Inspection:
    """Size, operations and memory of a model. A .tflite is inspected without TensorFlow and LCE.

    Sizes are in bytes, multiply-accumulates and activations for one input.

    Arguments:
        path: a .h5, .keras or .tflite file, a SavedModel or run folder.
        trust: run any code in a Keras file, and do not limit its size.
        core: also predict the instructions on this core: cortex-a53, cortex-a72 or cortex-a76.

    Raises:
        UsageError: the core is not known.
        ElLarqError: the file is missing, damaged or not a model.
    """
    if core is not None:
        check_core(core)
    path = find_model(path)
    if path.suffix == ".tflite":
        from el_larq.inspection.tflite_graph import inspect_graph
        from el_larq.tflite.reader import parse

        return inspect_graph(parse(read_bytes(path), str(path)), str(path), core)
    if not path.exists():
        raise ElLarqError(f"{path}: no such file")
    from el_larq.inspection.keras_layers import inspect_keras

    return inspect_keras(path, trust, core)

"""Inspecting the file of a model."""

from pathlib import Path

from el_larq.errors import ElLarqError
from el_larq.files import read_bytes
from el_larq.inspection.summary import Inspection


def inspect(path: str | Path, *, trust: bool = False) -> Inspection:
    """What a model weighs, computes and needs. A .tflite needs neither TensorFlow nor LCE.

    Raises:
        ElLarqError: no such file, no model, or a damaged one.
    """
    path = Path(path)
    if path.suffix == ".tflite":
        from el_larq.inspection.operators import inspect_graph
        from el_larq.tflite.reader import parse

        return inspect_graph(parse(read_bytes(path), str(path)), str(path))
    if not path.exists():
        raise ElLarqError(f"{path}: no such file")
    from el_larq.inspection.keras_layers import inspect_keras

    return inspect_keras(path, trust)

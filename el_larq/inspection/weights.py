"""Exports the binary kernels of a model as packed bits and scales, for use with custom compute kernels.

The file is NumPy's .npz: a zip of arrays that any NumPy reads without pickles. ``meta`` is JSON as uint8 bytes:
``{"schema": 1, "source": ..., "layers": [{"name", "shape", "kind"}, ...]}``, in the order in which the layers run,
where shape is (C_out, kh, kw, C_in) and kind the layer's class or the operator's name. A dense layer is a (1, 1) convolution;
filters of depthwise layers have C_in = 1; 1D and 3D layers have one or three sizes between C_out and C_in. Layer i has

    i/bits    uint8 (C_out, ceil(kh * kw * C_in / 8)): one filter per row. Bit n of a row, least significant first, is entry n of
              the filter in the order (kh, kw, C_in), with C_in varying fastest. 0 stands for +1 and 1 for -1.
    i/scale   float32 (C_out,): factor of the filter's result.
    i/shift   float32 (C_out,): added to the scaled result.

From a Keras model, the scale is the magnitude of the quantized kernel, and the shift is 0 or the layer's bias. From a .tflite, both
are those that the operator applies, including batch normalization. A convolution that outputs packed bits compares with integers
instead; it has neither of the two, but

    i/threshold  int32 (C_out,): the result is -1 if more inputs than this differ from the filter's signs, else +1.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from el_larq.errors import ElLarqError
from el_larq.files import read_bytes, write_bytes
from el_larq.inspection.binary_layer import BinaryLayer, Kernels, two_signs
from el_larq.inspection.tflite_graph import layer_name
from el_larq.outputs import WEIGHTS, check_output
from el_larq.tflite.operators import BINARY, KERNELS, TRANSPOSED, kernel_signs
from el_larq.tflite.reader import Operator, TfliteGraph, parse
from el_larq.zoo.named_models import find_model

SCHEMA = 1


def binary_kernels(path: str | Path, *, trust: bool = False) -> Kernels:
    """The binary kernels of a .tflite (without TensorFlow) or of a Keras model.

    Raises:
        ElLarqError: the file is not a model, or the model has no binary kernels.
    """
    path = find_model(path)
    if path.suffix == ".tflite":
        found = Kernels(_from_graph(parse(read_bytes(path), str(path)), str(path)))
    else:
        from el_larq.inspection.keras_weights import from_keras

        found = from_keras(path, trust)
    if not found.layers:
        left_out = "".join(f"; {one.name}: {one.reason}" for one in found.left_out[:3])
        raise ElLarqError(f"{path}: contains no binary kernel, so there is nothing to export{left_out}")
    return found


def write_weights(layers: list[BinaryLayer], path: str | Path, source: str) -> None:
    """Write the layers to a .npz, atomically.

    Raises:
        UsageError: another extension, or the path is a file of another kind. ElLarqError: the file cannot be written.
    """
    check_output(path, WEIGHTS)
    arrays: dict[str, np.ndarray] = {}
    listed = []
    for index, layer in enumerate(layers):
        listed.append({"name": layer.name, "shape": list(layer.signs.shape), "kind": layer.kind})
        arrays[f"{index}/bits"] = np.packbits(layer.signs.reshape(len(layer.signs), -1) < 0, axis=1, bitorder="little")
        for name in ("scale", "shift", "threshold"):
            values = getattr(layer, name)
            if values is not None:
                arrays[f"{index}/{name}"] = values
    meta = json.dumps({"schema": SCHEMA, "source": source, "layers": listed}).encode()
    content = io.BytesIO()
    np.savez_compressed(content, meta=np.frombuffer(meta, np.uint8), **arrays)  # pyright: ignore[reportArgumentType]
    write_bytes(path, content.getvalue(), WEIGHTS.check_replaceable)


def read_weights(path: str | Path) -> list[BinaryLayer]:
    """The binary layers in a file of exported weights, in the order in which they run.

    Arguments:
        path: a file written by `el-larq export-weights`.

    Raises:
        ElLarqError: the file is missing, damaged, of another kind or of another schema.
    """
    try:
        with np.load(io.BytesIO(read_bytes(path)), allow_pickle=False) as arrays:
            meta: Any = json.loads(arrays["meta"].tobytes())
            if meta["schema"] != SCHEMA:
                raise ElLarqError(f"{path}: has schema {meta['schema']}; this version of el-larq reads {SCHEMA}")
            return [_read(arrays, index, entry) for index, entry in enumerate(meta["layers"])]
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise ElLarqError(f"{path}: not a file of exported weights, or a damaged one; export it again") from error


def _read(arrays: Any, index: int, entry: dict[str, Any]) -> BinaryLayer:
    shape = tuple(entry["shape"])
    bits = np.unpackbits(arrays[f"{index}/bits"], axis=1, count=int(np.prod(shape[1:])), bitorder="little")
    scale, shift, threshold = (arrays.get(f"{index}/{name}") for name in ("scale", "shift", "threshold"))
    signs = np.where(bits.reshape(shape), -1, 1).astype(np.int8)
    return BinaryLayer(entry["name"], signs, scale, shift, threshold, entry.get("kind", ""))


def _from_graph(graph: TfliteGraph, source: str) -> list[BinaryLayer]:
    try:
        found = [_from_operator(operator) if operator.name == BINARY else _from_real(operator) for operator in graph.operators]
        return [layer for layer in found if layer is not None]
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
        raise ElLarqError(f"{source}: a kernel is damaged; convert the model again") from error


def _from_operator(operator: Operator) -> BinaryLayer:
    scale, shift, threshold = (
        None if tensor is None or not tensor.constant else tensor.array()
        for tensor in (*operator.inputs[2:5], None, None, None)[:3]
    )
    return BinaryLayer(
        layer_name(operator), np.where(kernel_signs(operator), -1, 1).astype(np.int8), scale, shift, threshold, BINARY
    )


def _from_real(operator: Operator) -> BinaryLayer | None:
    """The kernel of a real-valued operator if it is binary: LCE may have no binary operator for the layer or its input."""
    kernel = operator.inputs[1] if operator.name in KERNELS else None
    if kernel is None or not kernel.constant or kernel.type != "float32":
        return None
    filters = kernel.array()
    if operator.name == "FULLY_CONNECTED":
        filters = filters[:, None, None, :]
    elif operator.name == "DEPTHWISE_CONV_2D":
        filters = np.moveaxis(filters, -1, 0)[:, 0, :, :, None]
    elif operator.name in ("CONV_3D", "CONV_3D_TRANSPOSE"):
        filters = np.moveaxis(filters, -2 if operator.name in TRANSPOSED else -1, 0)
    if not two_signs(filters):
        return None
    bias = (*operator.inputs, None, None)[3 if operator.name in TRANSPOSED else 2]
    return BinaryLayer.of(layer_name(operator), filters, None if bias is None else bias.array(), operator.name)

"""Kernels of real-valued operators stored as int8 or float16, each read through a DEQUANTIZE, and back.

Only the file shrinks: TensorFlow Lite runs the DEQUANTIZE of a constant once, and XNNPACK unpacks it when the file is loaded, so
operators compute with float32 as before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.compression.noise import sqnr
from el_larq.compression.symmetric import channel_scales, dequantize, quantize
from el_larq.converters.rewrite import (
    add_buffer,
    add_operator_code,
    constant_values,
    drop_unused_buffers,
    operator_codes,
    pack,
    unary_operator,
    unpack,
)
from el_larq.errors import ElLarqError, UsageError

MIN_BYTES = 1024
"""Smaller kernels stay float32: a further operator and tensor take a few hundred bytes of the file."""

_AXES = {"CONV_2D": 0, "FULLY_CONNECTED": 0, "DEPTHWISE_CONV_2D": 3}
"""The axis of a kernel's output channels, by operator."""

_VERSIONS = {"float16": 3, "int8": 5}
"""The versions of DEQUANTIZE that take float16, and int8 with one scale per channel."""


@dataclass(frozen=True)
class StoredKernel:
    """A kernel that is stored as another type.

    operator: the number of an operator that reads it, in the file made. bytes: as float32. sqnr: signal-to-quantization-noise ratio
    of its values in dB; infinite if they are stored exactly.
    """

    operator: int
    bytes: int
    sqnr: float


def with_stored_kernels(content: bytes, kind: str) -> tuple[bytes, tuple[StoredKernel, ...]]:
    """The flatbuffer with the kernels of real-valued convolutions and dense layers stored as another type, and these kernels.

    kind: "int8" or "float16".

    Raises:
        UsageError: there is nothing to store: no such kernel, or they are int8 already.
        ElLarqError: a value is too large for float16.
    """
    from larq_compute_engine.mlir.python import tflite_schema as schema

    model = unpack(content)
    graph = model.subgraphs[0]
    found = _kernels(model, schema)
    code = add_operator_code(model, schema.BuiltinOperator.DEQUANTIZE, _VERSIONS[kind])
    operators, kernels = [], []
    for index, (reader, axis) in found.items():
        tensor = graph.tensors[index]
        values = constant_values(model, tensor)
        stored, data, restored = _int8(values, axis, schema) if kind == "int8" else _float16(values, schema)
        stored.name, stored.shape, stored.hasRank = tensor.name, tensor.shape, True
        graph.tensors.append(stored)
        stored.buffer = add_buffer(model, data.tobytes())
        tensor.buffer = 0
        operators.append(unary_operator(code, len(graph.tensors) - 1, index, "DequantizeOptions"))
        kernels.append(StoredKernel(len(found) + reader, values.nbytes, sqnr(values, restored)))
    graph.operators = [*operators, *graph.operators]
    drop_unused_buffers(model)
    return pack(model), tuple(sorted(kernels, key=lambda kernel: kernel.sqnr))


def with_restored_kernels(content: bytes) -> bytes:
    """The flatbuffer with each DEQUANTIZE of a constant replaced by the float32 constant that it computes."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    model = unpack(content)
    graph = model.subgraphs[0]
    codes = operator_codes(model)
    left = []
    for operator in graph.operators:
        source = (
            graph.tensors[int(operator.inputs[0])] if codes[operator.opcodeIndex] == schema.BuiltinOperator.DEQUANTIZE else None
        )
        if source is None or model.buffers[source.buffer].data is None:
            left.append(operator)
            continue
        values = constant_values(model, source)
        if source.type == schema.TensorType.INT8:
            values = dequantize(values, np.asarray(source.quantization.scale), source.quantization.quantizedDimension)
        graph.tensors[int(operator.outputs[0])].buffer = add_buffer(model, values.astype("<f4").tobytes())
    graph.operators = left
    return pack(model)


def _kernels(model: Any, schema: Any) -> dict[int, tuple[int, int]]:
    """The kernels that can be stored, by the number of their tensor: an operator that reads it, and the axis of output channels."""
    graph = model.subgraphs[0]
    names = {value: name for name, value in vars(schema.BuiltinOperator).items()}
    codes = [names.get(code, "") for code in operator_codes(model)]
    found, quantized = {}, 0
    for number, operator in enumerate(graph.operators):
        name = codes[operator.opcodeIndex]
        if name not in _AXES or len(operator.inputs) < 2:
            continue
        tensor = graph.tensors[int(operator.inputs[1])]
        data = model.buffers[tensor.buffer].data
        quantized += tensor.type == schema.TensorType.INT8
        if tensor.type == schema.TensorType.FLOAT32 and data is not None and len(data) >= MIN_BYTES:
            found[int(operator.inputs[1])] = number, _AXES[name]
    if not found and quantized:
        raise UsageError(
            "store: the model is quantized already: its real-valued layers have int8 kernels; omit --int8 and --weights"
        )
    if not found:
        raise UsageError(
            f"store: the model has no kernel of a real-valued layer of {MIN_BYTES:,} bytes or more, so the file would not shrink; "
            "omit --int8 and --weights"
        )
    return found


def _int8(values: np.ndarray, axis: int, schema: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    """A new tensor, its values as stored, and as restored."""
    if not np.isfinite(values).all():
        raise ElLarqError("store: a kernel contains NaN or Inf, which int8 cannot represent; train the model again")
    scales = channel_scales(values, axis)
    integers = quantize(values, scales, axis)
    tensor = schema.TensorT()
    tensor.type, tensor.quantization = schema.TensorType.INT8, schema.QuantizationParametersT()
    tensor.quantization.scale = scales
    tensor.quantization.zeroPoint = np.zeros(len(scales), np.int64)
    tensor.quantization.quantizedDimension = axis
    return tensor, integers, dequantize(integers, scales, axis)


def _float16(values: np.ndarray, schema: Any) -> tuple[Any, np.ndarray, np.ndarray]:
    largest = float(np.abs(values).max())
    if not np.isfinite(largest):
        raise ElLarqError("store: a kernel contains NaN or Inf; train the model again")
    if largest > np.finfo(np.float16).max:
        raise ElLarqError(f"store: a kernel contains {largest:g}, which float16 cannot represent; use --int8 weights")
    tensor, halves = schema.TensorT(), values.astype("<f2")
    tensor.type = schema.TensorType.FLOAT16
    return tensor, halves, halves.astype(np.float32)

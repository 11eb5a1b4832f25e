"""Writes a float .tflite as one that computes with int8: tensors, kernels, biases, and conversions at the borders.

Tensors keep their numbers. One that an int8 operator computes becomes int8, and a DEQUANTIZE makes a float copy for float readers;
one that is computed in float stays so, and a QUANTIZE makes an int8 copy for int8 readers.
"""

from typing import Any

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.int4 import pack as pack_int4
from el_larq.compression.symmetric import SMALLEST, quantize, rounded_up_or_down
from el_larq.converters.int8.int4_kernels import kernel_scales
from el_larq.converters.int8.int8_operators import KERNEL_AXES, NONE, RELU, RELU6, RELU_1, Scales, is_global_pool, shares_scale
from el_larq.converters.rewrite import add_buffer, add_operator_code, drop_unused_buffers, pack, unary_operator, unpack
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import Operator, parse

_VERSIONS = {
    "CONV_2D": 3,
    "DEPTHWISE_CONV_2D": 3,
    "FULLY_CONNECTED": 4,
    "ADD": 2,
    "SUB": 2,
    "MUL": 2,
    "AVERAGE_POOL_2D": 2,
    "MAX_POOL_2D": 2,
    "CONCATENATION": 2,
    "LOGISTIC": 2,
    "SOFTMAX": 2,
    "TANH": 2,
    "L2_NORMALIZATION": 2,
    "RELU": 2,
    "RELU6": 2,
    "PAD": 2,
    "PADV2": 2,
    "LEAKY_RELU": 2,
    "MEAN": 2,
    "SLICE": 2,
    "STRIDED_SLICE": 2,
    "SPLIT": 2,
    "TRANSPOSE": 2,
    "MAXIMUM": 2,
    "MINIMUM": 2,
    "SPACE_TO_DEPTH": 2,
    "DEPTH_TO_SPACE": 2,
    "GATHER": 2,
}
"""The first versions of TensorFlow Lite's operators that take int8, where it is not the first of all."""

_INT4_VERSION = 7
"""The first version of CONV_2D and DEPTHWISE_CONV_2D that takes a kernel of int4."""

_LARGEST_BIAS = 2.0**30
"""In int32 steps: room for the sum of products."""

Shifts = dict[int, np.ndarray | float]
"""What is added to the bias of an operator, by its number: one value, or one for each output channel."""


Roundings = dict[int, np.ndarray]
"""Which weights of a kernel are rounded up, by the number of its operator, bool in its shape. Others are rounded to nearest."""


def with_int8(
    content: bytes, scales: Scales, affines: dict[int, Affine], shifts: Shifts, roundings: Roundings | None = None
) -> bytes:
    """The flatbuffer in int8.

    affines: the quantization of each scale, by its first tensor.
    """
    return _Writer(content, scales, affines, shifts, roundings or {}).write()


class _Writer:
    def __init__(self, content: bytes, scales: Scales, affines: dict[int, Affine], shifts: Shifts, roundings: Roundings):
        from larq_compute_engine.mlir.python import tflite_schema as schema

        self.schema: Any = schema
        self.graph, self.model = parse(content), unpack(content)
        self.tensors = self.model.subgraphs[0].tensors
        self.scales, self.affines, self.shifts, self.roundings = scales, affines, shifts, roundings
        self.quantize = add_operator_code(self.model, schema.BuiltinOperator.QUANTIZE, 1)
        self.dequantize = add_operator_code(self.model, schema.BuiltinOperator.DEQUANTIZE, 2)
        self.computed = {t.index for o in self.graph.operators if o.index in scales.operators for t in o.outputs}
        self.copies: dict[int, int] = {}
        self.buffers: dict[bytes, int] = {}

    def write(self) -> bytes:
        objects = list(self.model.subgraphs[0].operators)
        for operator, edited in zip(self.graph.operators, objects, strict=True):
            inputs = [int(index) for index in edited.inputs]
            if operator.index in self.scales.operators:
                constants = self._constants(operator)
                inputs += [-1] * (max(constants, default=-1) + 1 - len(inputs))
                inputs = [constants.get(position, self._int8(index)) for position, index in enumerate(inputs)]
                self._set_version(operator, edited)
                self._drop_limits(operator, edited)
            elif operator.name != "LceQuantize":
                inputs = [self._float(index) for index in inputs]
            edited.inputs = np.array(inputs, np.int32)
            if operator.index in self.scales.operators and is_global_pool(operator):
                self._make_mean(edited)
        self._outputs()
        self.model.subgraphs[0].operators = self._with_copies(objects)
        for index in self.computed:
            self._make_int8(self.tensors[index], self.affine(index))
        drop_unused_buffers(self.model)
        return pack(self.model)

    def affine(self, tensor: int) -> Affine:
        return self.affines[self.scales.shares[tensor]]

    def _int8(self, index: int) -> int:
        """The int8 form of an operator's input; the input itself where it is no value."""
        return self._copy(index, self.affine(index)) if index in self.scales.shares and index not in self.computed else index

    def _float(self, index: int) -> int:
        return self._copy(index, None) if index in self.computed else index

    def _copy(self, index: int, affine: Affine | None) -> int:
        if index not in self.copies:
            self.copies[index] = self._add_tensor(index, "float" if affine is None else "int8", affine)
        return self.copies[index]

    def _outputs(self) -> None:
        """Outputs of the graph are float; names stay with them."""
        subgraph = self.model.subgraphs[0]
        entries = [entry for signature in self.model.signatureDefs or [] for entry in signature.outputs]
        for index in {int(output) for output in subgraph.outputs} & self.computed:
            copy, own = self.tensors[self._float(index)], self.tensors[index]
            copy.name, own.name = own.name, copy.name
            for entry in entries:
                if entry.tensorIndex == index:
                    entry.tensorIndex = self.copies[index]
        subgraph.outputs = np.array([self._float(int(index)) for index in subgraph.outputs], np.int32)

    def _with_copies(self, objects: list[Any]) -> list[Any]:
        """The operators, each followed by the conversions of its outputs."""
        made = {tensor.index for operator in self.graph.operators for tensor in operator.outputs}
        operators = self._conversions([index for index in self.copies if index not in made])
        for operator, edited in zip(self.graph.operators, objects, strict=True):
            operators += [edited, *self._conversions([tensor.index for tensor in operator.outputs])]
        return operators

    def _conversions(self, indices: list[int]) -> list[Any]:
        return [
            unary_operator(self.dequantize, index, self.copies[index], "DequantizeOptions")
            if index in self.computed
            else unary_operator(self.quantize, index, self.copies[index], "QuantizeOptions")
            for index in indices
            if index in self.copies
        ]

    def _constants(self, operator: Operator) -> dict[int, int]:
        """The numbers of new tensors for an int8 operator's constants, by their position."""
        if operator.name == BINARY:
            return {3: self._binary_bias(operator)} if operator.index in self.shifts else {}
        if operator.name in KERNEL_AXES:
            return self._kernel_and_bias(operator)
        found = {}
        for position, tensor in enumerate(operator.inputs):
            if tensor is None or not tensor.constant or tensor.type != "float32":
                continue
            values, affine = tensor.array(), self.affine(operator.outputs[0].index)
            if not shares_scale(operator):
                affine = Affine.of_range(values.min(), values.max())
            found[position] = self._add_constant(affine.integers(values), [affine.scale], [affine.zero])
        return found

    def _binary_bias(self, operator: Operator) -> int:
        bias = operator.inputs[3]
        assert bias is not None, "LceBconv2d with real outputs has a bias"
        values = (bias.array().astype(np.float64) + self.shifts[operator.index]).astype("<f4")
        return self._add_constant(values, [], [])

    def _kernel_and_bias(self, operator: Operator) -> dict[int, int]:
        source, kernel, axis = operator.inputs[0], operator.inputs[1], KERNEL_AXES[operator.name]
        assert source is not None
        assert kernel is not None
        values = kernel.array()
        step = self.affine(source.index).scale
        bias = operator.inputs[2] if len(operator.inputs) > 2 else None
        wanted = np.zeros(values.shape[axis]) if bias is None else bias.array().astype(np.float64)
        wanted = wanted + self.shifts.get(operator.index, 0.0)
        least = np.maximum(np.abs(wanted) / _LARGEST_BIAS, SMALLEST) / step  # a bias has no denormal steps either
        scales, largest = kernel_scales(operator, self.scales)
        steps = np.maximum(scales, least.astype(np.float32))
        if np.all(steps == steps[0]):
            steps = steps[:1]  # the same for all channels, as in most links: 24 bytes less per channel
        bias_steps = (np.float64(step) * steps).astype(np.float32)
        integers = np.round(wanted / bias_steps).astype("<i4")
        kernel_steps = steps if len(steps) > 1 else np.repeat(steps, values.shape[axis])
        up = self.roundings.get(operator.index)
        if up is None:
            kernel_integers = quantize(values, kernel_steps, axis, largest)
        else:
            kernel_integers = rounded_up_or_down(values, kernel_steps, axis, up)
        return {
            1: self._add_constant(kernel_integers, steps, np.zeros(len(steps)), axis, int4=operator.index in self.scales.int4),
            2: self._add_constant(integers, bias_steps, np.zeros(len(steps))),
        }

    def _make_mean(self, edited: Any) -> None:
        """Replace the average of a whole map: MEAN over height and width."""
        schema = self.schema
        axes = schema.TensorT()
        axes.shape, axes.hasRank, axes.type = np.array([2], np.int32), True, schema.TensorType.INT32
        axes.name, axes.buffer = f"axes{len(self.tensors)}", self._buffer(np.array([1, 2], "<i4").tobytes())
        self.tensors.append(axes)
        edited.opcodeIndex = add_operator_code(self.model, schema.BuiltinOperator.MEAN, 2)
        edited.inputs = np.array([int(edited.inputs[0]), len(self.tensors) - 1], np.int32)
        edited.builtinOptionsType, edited.builtinOptions = schema.BuiltinOptions.ReducerOptions, schema.ReducerOptionsT()
        edited.builtinOptions.keepDims = True

    def _drop_limits(self, operator: Operator, edited: Any) -> None:
        """Leave out limits of an activation outside of the output's range, which saturates before.

        Kernels count a limit in steps, in int32: XNNPACK refuses a ReLU6 whose output has steps below 6 / 2^31.
        """
        if operator.outputs[0].index not in self.scales.shares:
            return
        affine = self.affine(operator.outputs[0].index)
        if operator.name == "RELU6" and affine.high < 6:
            edited.opcodeIndex = add_operator_code(self.model, self.schema.BuiltinOperator.RELU, 2)
            edited.builtinOptionsType, edited.builtinOptions = self.schema.BuiltinOptions.NONE, None
        activation = operator.options.get("activation", NONE)
        if activation == RELU6 and affine.high < 6:
            edited.builtinOptions.fusedActivationFunction = RELU
        elif activation == RELU_1 and affine.low > -1 and affine.high < 1:
            edited.builtinOptions.fusedActivationFunction = NONE

    def _set_version(self, operator: Operator, edited: Any) -> None:
        code = self.model.operatorCodes[edited.opcodeIndex]
        needed = _INT4_VERSION if operator.index in self.scales.int4 else _VERSIONS.get(operator.name, 1)
        code.version = max(code.version, needed)

    def _add_tensor(self, like: int, suffix: str, affine: Affine | None) -> int:
        """A computed tensor of another one's shape; float if it has no quantization."""
        source, tensor = self.tensors[like], self.schema.TensorT()
        tensor.shape, tensor.hasRank, tensor.buffer, tensor.shapeSignature = source.shape, source.hasRank, 0, source.shapeSignature
        tensor.name = f"{source.name.decode() if isinstance(source.name, bytes) else source.name}_{suffix}"
        tensor.type = self.schema.TensorType.FLOAT32
        if affine is not None:
            self._make_int8(tensor, affine)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _make_int8(self, tensor: Any, affine: Affine) -> None:
        tensor.type = self.schema.TensorType.INT8
        tensor.quantization = self._quantization([affine.scale], [affine.zero])

    def _add_constant(self, values: np.ndarray, steps: Any, zeros: Any, axis: int = 0, *, int4: bool = False) -> int:
        """The number of a new constant. int4: whether its values, int8, are stored with 4 bits."""
        kinds = {
            "float32": self.schema.TensorType.FLOAT32,
            "int8": self.schema.TensorType.INT8,
            "int32": self.schema.TensorType.INT32,
        }
        tensor = self.schema.TensorT()
        tensor.shape, tensor.hasRank = np.array(values.shape, np.int32), True
        tensor.type = self.schema.TensorType.INT4 if int4 else kinds[values.dtype.name]
        tensor.name, tensor.buffer = f"c{len(self.tensors)}", self._buffer(pack_int4(values) if int4 else values.tobytes())
        if len(steps):
            tensor.quantization = self._quantization(steps, zeros, axis)
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def _quantization(self, steps: Any, zeros: Any, axis: int = 0) -> Any:
        found = self.schema.QuantizationParametersT()
        found.scale, found.zeroPoint = np.asarray(steps, np.float32), np.asarray(zeros, np.int64)
        found.quantizedDimension = axis
        return found

    def _buffer(self, content: bytes) -> int:
        """Equal constants share a buffer."""
        if content not in self.buffers:
            self.buffers[content] = add_buffer(self.model, content)
        return self.buffers[content]

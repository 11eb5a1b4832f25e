"""Each operator of an int8 file by itself, computed in float.

The float file that the int8 file was made of is taken apart: every tensor that an operator reads becomes an input, every tensor
that it computes an output, and constants get the values that the int8 file stores. Run on the very values that the int8 file passes
between its operators, it says what each of them should compute, and no difference is a consequence of an earlier one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.converters.int8.int8_operators import is_global_pool
from el_larq.converters.rewrite import add_buffer, drop_unused_buffers, pack, unpack, with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, Tensor, parse

_VALUES = 2**24
"""The number of values of all tensors that are held in memory."""


@dataclass(frozen=True)
class OperatorRun:
    """One operator on some images: what the int8 file computes, and what it should.

    tensor: its output. got: in the type of the int8 file. wanted: as float32, or packed signs. scale, zero: of an int8 output.
    """

    operator: Operator
    tensor: Tensor
    got: np.ndarray
    wanted: np.ndarray
    scale: float = 1.0
    zero: int = 0

    @property
    def steps(self) -> float:
        """The largest difference in steps of an int8 output, beyond the half step of rounding and within the range.

        For a float output, the largest difference by the largest value. NaN if there is one.
        """
        if self.got.dtype == np.int8:
            exact = np.clip(self.wanted.astype(np.float64) / self.scale + self.zero, -128, 127)
            return float(np.maximum(0.0, np.abs(exact - self.got).max() - 0.5))
        if self.got.dtype == np.int32:
            return 0.0
        return float(np.abs(self.wanted - self.got).max() / np.maximum(1e-30, np.abs(self.wanted).max()))

    @property
    def bits(self) -> int:
        """The number of packed signs that differ."""
        return 0 if self.got.dtype != np.int32 else int(np.unpackbits((self.got ^ self.wanted).view(np.uint8)).sum())


class SingleOperators:
    """The operators of an int8 file, and the float file that they are compared with."""

    def __init__(self, quantized: bytes, unquantized: bytes):
        self.quantized, self.graph, self.model = quantized, parse(quantized), unpack(quantized)
        self.operators = {o.outputs[0].index: o for o in self.graph.operators}
        self.floats = parse(unquantized)
        self.inputs: list[int] = []
        self.copies: dict[int, int] = {}
        self.outputs = [tensor.index for operator in self.floats.operators for tensor in operator.outputs]
        self.content = self._taken_apart(unquantized)

    def run(self, images: Sequence[np.ndarray]) -> Iterator[OperatorRun]:
        """The comparison of each operator, for a batch (N, ...) of each input; part by part.

        A conversion from or to int8 must not change what the float file has one tensor for.
        """
        wanted = [*self.inputs, *self.outputs, *self.copies, *self.copies.values()]
        interpreter, floats = Interpreter(with_outputs(self.quantized, wanted)), Interpreter(self.content)
        own = len(self.graph.outputs)
        step = max(1, _VALUES // max(1, sum(tensor.elements for tensor in interpreter.graph.outputs)))
        for start in range(0, len(images[0]), step):
            got = dict(zip(wanted, interpreter.run([batch[start : start + step] for batch in images])[own:], strict=True))
            given = [self.real(index, got[index]) for index in self.inputs]
            computed = dict(zip(self.outputs, floats.run(given), strict=True))
            for operator in self.floats.operators:
                for tensor in operator.outputs:
                    yield self._compared(operator, tensor, got[tensor.index], computed[tensor.index])
            for copy, index in self.copies.items():
                conversion = self.graph.producers[copy]
                yield self._compared(conversion, conversion.outputs[0], got[copy], self.real(index, got[index]))

    def real(self, index: int, values: np.ndarray) -> np.ndarray:
        """The real numbers that values of a tensor stand for; packed signs stay as they are."""
        found = self.model.subgraphs[0].tensors[index].quantization
        if values.dtype != np.int8 or found is None or found.scale is None:
            return values
        return Affine(float(found.scale[0]), int(found.zeroPoint[0])).real(values)

    def _compared(self, operator: Operator, tensor: Tensor, got: np.ndarray, wanted: np.ndarray) -> OperatorRun:
        if got.dtype != np.int8:
            return OperatorRun(operator, tensor, got, wanted)
        found = self.model.subgraphs[0].tensors[tensor.index].quantization
        return OperatorRun(operator, tensor, got, wanted, float(found.scale[0]), int(found.zeroPoint[0]))

    def _taken_apart(self, content: bytes) -> bytes:
        model = unpack(content)
        subgraph = model.subgraphs[0]
        read: dict[int, int] = {}
        for operator, edited in zip(self.floats.operators, subgraph.operators, strict=True):
            partner = self.operators[operator.outputs[0].index]
            inputs = [int(index) for index in edited.inputs]
            inputs += [-1] * (len(partner.inputs) - len(inputs))
            for position, source in enumerate(partner.inputs):
                tensor = operator.inputs[position] if position < len(operator.inputs) else None
                if source is None or (is_global_pool(operator) and position):
                    continue
                if source.constant:
                    if tensor is None or tensor.type == "float32":  # none: a bias that only the int8 file has
                        inputs[position] = self._constant(model, source)
                    continue
                assert tensor is not None
                if source.index != tensor.index:
                    self.copies[source.index] = tensor.index
                if source.index not in read:
                    read[source.index] = self._copy(subgraph, tensor.index)
                inputs[position] = read[source.index]
            if is_global_pool(operator):
                inputs = inputs[:1]
            edited.inputs = np.array(inputs, np.int32)
        self.inputs = list(read)
        self.copies |= {
            own.index: tensor.index
            for own, tensor in zip(self.graph.outputs, self.floats.outputs, strict=True)
            if own.index != tensor.index
        }
        subgraph.inputs = np.array(list(read.values()), np.int32)
        subgraph.outputs = np.array(self.outputs, np.int32)
        model.signatureDefs = None
        drop_unused_buffers(model)
        return pack(model)

    def _constant(self, model: Any, source: Tensor) -> int:
        """The number of a new float32 tensor with the values that a constant of the int8 file stands for."""
        from larq_compute_engine.mlir.python import tflite_schema as schema

        tensor: Any = schema.TensorT()
        values = self.stored(source)
        tensor.shape, tensor.hasRank, tensor.type = np.array(values.shape, np.int32), True, schema.TensorType.FLOAT32
        tensor.name, tensor.buffer = f"constant{len(model.buffers)}", add_buffer(model, values.astype("<f4").tobytes())
        model.subgraphs[0].tensors.append(tensor)
        return len(model.subgraphs[0].tensors) - 1

    def stored(self, tensor: Tensor) -> np.ndarray:
        """The real numbers that a constant of the int8 file stands for."""
        values, found = tensor.array(), self.model.subgraphs[0].tensors[tensor.index].quantization
        if tensor.type == "float32" or found is None or found.scale is None or not len(found.scale):
            return values
        zeros = np.asarray(found.zeroPoint, np.float64).reshape(self.steps(tensor).shape)
        return (values.astype(np.float64) - zeros) * self.steps(tensor)

    def steps(self, tensor: Tensor) -> np.ndarray:
        """The scales of a constant of the int8 file, in a shape that broadcasts with it."""
        found = self.model.subgraphs[0].tensors[tensor.index].quantization
        shape = [1] * len(tensor.shape)
        if len(found.scale) > 1:
            shape[found.quantizedDimension] = -1
        return np.asarray(found.scale, np.float64).reshape(shape)

    @staticmethod
    def _copy(subgraph: Any, like: int) -> int:
        from larq_compute_engine.mlir.python import tflite_schema as schema

        source, tensor = subgraph.tensors[like], schema.TensorT()
        tensor.shape, tensor.hasRank, tensor.type, tensor.buffer = source.shape, source.hasRank, source.type, 0
        tensor.name = f"read{len(subgraph.tensors)}"
        subgraph.tensors.append(tensor)
        return len(subgraph.tensors) - 1

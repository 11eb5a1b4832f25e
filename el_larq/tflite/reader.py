"""Reads the graph of a .tflite as plain data, without TensorFlow or LCE, from a file that may be damaged or malicious.

Only what this project uses is read: operators, tensors, constant data, options of convolutions, pooling, additions, dense layers
and custom operators, output names, metadata. The field numbers in the methods of `_Reader` are the positions of fields in TFLite's
schema.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from flatbuffers import flexbuffers
from flatbuffers import number_types as types
from flatbuffers.table import Table

from el_larq.errors import ElLarqError
from el_larq.tflite.builtin_names import BUILTIN

IDENTIFIER = b"TFL3"
TYPES = [
    "float32",
    "float16",
    "int32",
    "uint8",
    "int64",
    "string",
    "bool",
    "int16",
    "complex64",
    "int8",
    "float64",
    "complex128",
    "uint64",
    "resource",
    "variant",
    "uint32",
    "uint16",
    "int4",
]
_NUMPY = {
    "float32": "<f4",
    "float16": "<f2",
    "int32": "<i4",
    "uint8": "u1",
    "int64": "<i8",
    "bool": "?",
    "int16": "<i2",
} | {
    "int8": "i1",
    "float64": "<f8",
}
_PADDINGS = ("same", "valid")

# Parts of a flatbuffer may overlap, so a small file can describe gigabytes. Real files share little: a few strings.
_SHARING, _FLOOR = 4, 1 << 16
# Only a large language model has ten thousand operators; planning memory takes quadratic time in their number.
MAX_OPERATORS = 10_000
MAX_DIMENSIONS = 16
# LCE's options take a few hundred bytes; those of other custom operators are not used.
MAX_CUSTOM_OPTIONS, MAX_ENTRIES = 1 << 14, 64

# Exceptions that reading damaged bytes can raise; AssertionError comes from flexbuffers.
_DAMAGE = (
    struct.error,
    IndexError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    RecursionError,
    AssertionError,
    AttributeError,
)


@dataclass(frozen=True)
class Tensor:
    """A tensor of the graph. ``data`` is the part of the file with a constant's bytes; it is empty for computed tensors.

    dynamic: a size is known only at run time; ``shape`` has the file's value there, usually 1 or -1.
    step: the difference between neighbouring values of a quantized tensor with one scale; 0.0 for other tensors.
    stored: the constant, int8 or float16, that a DEQUANTIZE makes this tensor of; None for other tensors. TFLite computes such a
        tensor once, and does not place it in the arena.
    """

    index: int
    name: str
    type: str
    shape: tuple[int, ...]
    data: bytes | memoryview = field(repr=False)
    dynamic: bool = False
    step: float = 0.0
    stored: "Tensor | None" = None

    @property
    def constant(self) -> bool:
        return len(self.data) > 0

    @property
    def elements(self) -> int:
        return prod(self.shape)

    def array(self) -> np.ndarray:
        """The values of the constant, in its shape; int4 as int8."""
        if self.type == "int4":
            values = self._int4()
        elif self.type not in _NUMPY:
            raise ElLarqError(f"tensor {self.name!r} has type {self.type}, which cannot be read as numbers")
        else:
            values = np.frombuffer(self.data, _NUMPY[self.type])
        if values.size != self.elements:
            raise ElLarqError(f"tensor {self.name!r} has {values.size} values for shape {self.shape}")
        return values.reshape(self.shape)

    def _int4(self) -> np.ndarray:
        """All values of int4, two in a byte and the first one in its lower half. Of an odd number, the last half is left over."""
        octets = np.frombuffer(self.data, np.int8)
        halves = np.stack([octets << 4, octets], axis=1).ravel() >> 4  # shifts of int8 keep the sign
        return halves[: -1 if halves.size == self.elements + 1 else None]


@dataclass(frozen=True)
class Operator:
    """An operator: its name (a built-in one in capitals, a custom one as registered), tensors, and options.

    An absent optional input is None. ``options`` contains padding, strides, the number of the fused activation (0 for none) and
    so on of convolutions, pooling, additions and dense layers, and the FlexBuffers options of custom operators; it is empty for
    other operators.
    """

    index: int
    name: str
    inputs: tuple[Tensor | None, ...]
    outputs: tuple[Tensor, ...]
    options: dict[str, Any]


@dataclass(frozen=True)
class TfliteGraph:
    """A .tflite with one subgraph.

    output_names: one per output: from the signature, if there is one that lists the outputs, else from the tensors. Empty for a
        graph that was not read from a file.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: dict[str, bytes]
    size: int
    output_names: tuple[str, ...] = ()

    @cached_property
    def producers(self) -> dict[int, Operator]:
        """The operator that computes each tensor, by tensor index."""
        return {tensor.index: operator for operator in self.operators for tensor in operator.outputs}


def parse(content: bytes, source: str = "the .tflite") -> TfliteGraph:
    """The graph of a flatbuffer; raises ElLarqError, one line naming ``source``, if it is not a valid .tflite with one subgraph."""
    if content[4:8] != IDENTIFIER:
        raise ElLarqError(f"{source}: not a .tflite (its identifier {IDENTIFIER.decode()} is missing)")
    try:
        return _Reader(content).graph()
    except ElLarqError as error:
        raise ElLarqError(f"{source}: {error}") from None
    except _DAMAGE as error:
        raise ElLarqError(f"{source}: a damaged or truncated .tflite") from error


class _Reader:
    def __init__(self, content: bytes):
        self.content = content
        self._work = _SHARING * len(content) + _FLOOR
        self.root = Table(content, types.UOffsetTFlags.py_type(struct.unpack_from("<I", content)[0]))

    def graph(self) -> TfliteGraph:
        subgraphs = self._tables(self.root, 2)
        if len(subgraphs) != 1:
            raise ElLarqError(f"{len(subgraphs)} subgraphs; only models with exactly one can be read")
        buffers = [self._view(buffer, 0) for buffer in self._tables(self.root, 4)]
        codes = [self._operator_name(code) for code in self._tables(self.root, 1)]
        tensors = tuple(self._tensor(i, table, buffers) for i, table in enumerate(self._tables(subgraphs[0], 0)))
        if self._vector(subgraphs[0], 3, 4)[1] > MAX_OPERATORS:
            raise ElLarqError(f"more than {MAX_OPERATORS:,} operators; no network that LCE is made for has so many")
        tensors = self._with_stored(tensors, subgraphs[0], codes)
        operators = tuple(self._operator(i, table, codes, tensors) for i, table in enumerate(self._tables(subgraphs[0], 3)))
        metadata = {self._string(m, 0): bytes(buffers[self._number(m, 1, "<I")]) for m in self._tables(self.root, 6)}
        outputs = tuple(tensors[i] for i in self._integers(subgraphs[0], 2))
        return TfliteGraph(
            tensors,
            operators,
            tuple(tensors[i] for i in self._integers(subgraphs[0], 1)),
            outputs,
            metadata,
            len(self.content),
            self._output_names(outputs),
        )

    def _operator_name(self, code: Table) -> str:
        custom = self._string(code, 1)
        if custom:
            return custom
        builtin = max(self._number(code, 0, "<b"), self._number(code, 3, "<i"))
        return BUILTIN[builtin] if 0 <= builtin < len(BUILTIN) else f"BUILTIN_{builtin}"

    def _output_names(self, outputs: tuple[Tensor, ...]) -> tuple[str, ...]:
        """Names from the signature, which maps names to tensors; a tensor that is two outputs has two names, in the same order."""
        names: dict[int, list[str]] = {}
        for signature in self._tables(self.root, 7)[:1]:
            for entry in reversed(self._tables(signature, 1)):
                names.setdefault(self._number(entry, 1, "<I"), []).append(self._string(entry, 0))
        if sorted(index for index, found in names.items() for _ in found) != sorted(tensor.index for tensor in outputs):
            return tuple(tensor.name for tensor in outputs)
        return tuple(names[tensor.index].pop() for tensor in outputs)

    def _tensor(self, index: int, table: Table, buffers: list[memoryview]) -> Tensor:
        kind = self._number(table, 1, "<b")
        shape = tuple(self._integers(table, 0))
        if len(shape) > MAX_DIMENSIONS:
            raise ValueError("a tensor of too many dimensions")
        return Tensor(
            index,
            self._string(table, 3),
            TYPES[kind] if 0 <= kind < len(TYPES) else f"type {kind}",
            shape,
            buffers[self._number(table, 2, "<I")],
            any(size < 0 for size in (*shape, *self._integers(table, 7))),
            self._step(table),
        )

    def _with_stored(self, tensors: tuple[Tensor, ...], subgraph: Table, codes: list[str]) -> tuple[Tensor, ...]:
        """The tensors, those that a DEQUANTIZE makes of a constant with that constant."""
        found = list(tensors)
        for table in self._tables(subgraph, 3):
            if codes[self._number(table, 0, "<I")] == "DEQUANTIZE":
                sources, outputs = self._integers(table, 1), self._integers(table, 2)
                if sources and outputs and min(*sources, *outputs) >= 0 and tensors[sources[0]].constant:
                    found[outputs[0]] = replace(tensors[outputs[0]], stored=tensors[sources[0]])
        return tuple(found)

    def _step(self, tensor: Table) -> float:
        """The only scale among the tensor's QuantizationParameters."""
        position = self._offset(tensor, 4)
        if not position:
            return 0.0
        quantization = Table(self.content, self._within(tensor.Indirect(position + tensor.Pos)))
        start, length = self._vector(quantization, 2, 4)
        return struct.unpack_from("<f", self.content, start)[0] if length == 1 else 0.0

    def _operator(self, index: int, table: Table, codes: list[str], tensors: tuple[Tensor, ...]) -> Operator:
        name = codes[self._number(table, 0, "<I")]
        inputs = tuple(tensors[i] if i >= 0 else None for i in self._integers(table, 1))
        outputs = tuple(tensors[i] for i in self._integers(table, 2))
        if any(i < -1 for i in self._integers(table, 1)) or any(i < 0 for i in self._integers(table, 2)):
            raise ValueError("a negative tensor index")
        return Operator(index, name, inputs, outputs, self._options(name, table))

    def _options(self, name: str, table: Table) -> dict[str, Any]:
        custom = self._bytes(table, 5)
        if custom:
            return _flat_options(custom)
        position = self._offset(table, 4)
        reader: Callable[[Table], dict[str, Any]] | None = _OPTIONS.get(name, lambda _: None)(self)
        if not position or reader is None:
            return {}
        return reader(Table(self.content, self._within(table.Indirect(position + table.Pos))))

    def convolution(self, table: Table) -> dict[str, Any]:
        """Conv2DOptions."""
        return self._window(table) | {
            "activation": self._number(table, 3, "<b"),
            "dilations": (self._number(table, 5, "<i", 1), self._number(table, 4, "<i", 1)),
        }

    def depthwise(self, table: Table) -> dict[str, Any]:
        """DepthwiseConv2DOptions."""
        return self._window(table) | {
            "activation": self._number(table, 4, "<b"),
            "depth_multiplier": self._number(table, 3, "<i"),
            "dilations": (self._number(table, 6, "<i", 1), self._number(table, 5, "<i", 1)),
        }

    def pool(self, table: Table) -> dict[str, Any]:
        """Pool2DOptions."""
        window = (self._number(table, 4, "<i"), self._number(table, 3, "<i"))
        return self._window(table) | {"window": window, "activation": self._number(table, 5, "<b")}

    def activation(self, table: Table) -> dict[str, Any]:
        """AddOptions, FullyConnectedOptions."""
        return {"activation": self._number(table, 0, "<b")}

    def _window(self, table: Table) -> dict[str, Any]:
        return {
            "padding": _PADDINGS[self._number(table, 0, "<b")],
            "strides": (self._number(table, 2, "<i"), self._number(table, 1, "<i")),
        }

    # The following methods read one field of a table and check that it lies within the file.

    def _within(self, position: int, length: int = 1) -> int:
        if position < 0 or length < 0 or position + length > len(self.content):
            raise ValueError("an offset that points outside the file")
        return position

    def _offset(self, table: Table, number: int) -> int:
        return table.Offset(4 + 2 * number)

    def _number(self, table: Table, number: int, form: str, default: int = 0) -> int:
        offset = self._offset(table, number)
        return struct.unpack_from(form, self.content, table.Pos + offset)[0] if offset else default

    def _vector(self, table: Table, number: int, item: int) -> tuple[int, int]:
        """Position and length of a vector whose items have ``item`` bytes each."""
        offset = self._offset(table, number)
        if not offset:
            return 0, 0
        start, length = table.Vector(offset), table.VectorLen(offset)
        self._within(start, length * item)
        self._work -= length * item
        if self._work < 0:
            raise ElLarqError("a damaged .tflite: its parts overlap and describe more data than the file contains")
        return start, length

    def _tables(self, table: Table, number: int) -> list[Table]:
        start, length = self._vector(table, number, 4)
        return [Table(self.content, self._within(table.Indirect(start + 4 * i))) for i in range(length)]

    def _integers(self, table: Table, number: int) -> list[int]:
        start, length = self._vector(table, number, 4)
        return list(struct.unpack_from(f"<{length}i", self.content, start)) if length else []

    def _view(self, table: Table, number: int) -> memoryview:
        """A part of the file, which is not copied."""
        start, length = self._vector(table, number, 1)
        return memoryview(self.content)[start : start + length]

    def _bytes(self, table: Table, number: int) -> bytes:
        return bytes(self._view(table, number))

    def _string(self, table: Table, number: int) -> str:
        return self._bytes(table, number).decode(errors="replace")


def _flat_options(content: bytes) -> dict[str, Any]:
    """The numbers and strings in a FlexBuffers map. Vectors and maps in it are skipped, since they may contain themselves."""
    if len(content) > MAX_CUSTOM_OPTIONS:
        return {}
    root = flexbuffers.GetRoot(content)
    if not root.IsMap:
        return {}
    entries = root.AsMap
    if len(entries) > MAX_ENTRIES:
        return {}
    found, keys, values = {}, entries.Keys, entries.Values
    for index in range(len(entries)):
        key, value = keys[index], values[index]
        if value.IsBool or value.IsInt or value.IsFloat or value.IsString:
            found[key.AsKey] = value.Value
    return found


_OPTIONS: dict[str, Callable[[_Reader], Callable[[Table], dict[str, Any]]]] = {
    "CONV_2D": lambda reader: reader.convolution,
    "DEPTHWISE_CONV_2D": lambda reader: reader.depthwise,
    "AVERAGE_POOL_2D": lambda reader: reader.pool,
    "MAX_POOL_2D": lambda reader: reader.pool,
    "ADD": lambda reader: reader.activation,
    "SUB": lambda reader: reader.activation,
    "MUL": lambda reader: reader.activation,
    "FULLY_CONNECTED": lambda reader: reader.activation,
}

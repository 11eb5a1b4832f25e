"""A frozen inference graph as data that rewrites can edit and that runs in the precision of its input.

A `FoldGraph` consists of `Node`s, each with one output. Their operators are TensorFlow's, run by name, and a few of this project's
own, each of which replaces several operations of Keras and Larq:

    BINARIZE   sign(x), with sign(0) = +1
    AFFINE     scale * x + shift, per channel: batch normalization at inference
    PRELU      max(x, 0) + alpha * min(x, 0), alpha per channel or scalar
    SQUEEZE    (..., k * C) to (..., C): the k groups of C consecutive channels, each channel times its gain, summed
    EXPAND     (..., C) to (..., k * C): k copies

Constants are NumPy arrays: as imported (float32), or float64 where a rewrite computed them. `FoldGraph.run` casts floating-point
constants to the precision of its input.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_library, op_def_registry

CONST, INPUT, OUTPUT = "Const", "Placeholder", "Output"
BINARIZE, AFFINE, PRELU, SQUEEZE, EXPAND = "BINARIZE", "AFFINE", "PRELU", "SQUEEZE", "EXPAND"


@dataclass(eq=False)
class Node:
    """An operation on the outputs of other nodes.

    shape: static shape of the output, with None for an unknown size (the batch).
    attributes: those of TensorFlow's operator, as its definition takes them.
    value: the value of a constant; None for computed nodes.
    """

    op: str
    inputs: list["Node"] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    value: np.ndarray | None = None
    shape: tuple[int | None, ...] = ()
    name: str = ""
    integers: bool = False
    """A convolution of -1 and 1 with -1 and 1: exact in single precision, and ten times as fast as in double precision."""

    @property
    def constant(self) -> bool:
        return self.value is not None

    @property
    def channels(self) -> int:
        channels = self.shape[-1]
        assert channels is not None
        return channels

    def __repr__(self) -> str:
        return f"{self.op}({self.name}, {self.shape})"


def constant(value: Any, name: str = "") -> Node:
    value = np.asarray(value)
    return Node(CONST, value=value, shape=value.shape, name=name)


class FoldGraph:
    """A graph with one or more inputs and outputs. Only nodes that an output depends on belong to it."""

    def __init__(self, inputs: list[Node], outputs: list[Node]):
        self.inputs = inputs
        self.outputs = outputs

    def copy(self) -> "FoldGraph":
        """A copy with new nodes, so that it can be changed independently; the arrays of constants are shared."""
        new = {id(node): replace(node) for node in self.nodes()}
        for source in self.inputs:
            new.setdefault(id(source), source)
        for node in new.values():
            node.inputs = [new[id(source)] for source in node.inputs]
        return FoldGraph([new[id(node)] for node in self.inputs], [new[id(node)] for node in self.outputs])

    def nodes(self) -> list[Node]:
        """Every node an output depends on, each after its inputs."""
        order: list[Node] = []
        state: dict[int, bool] = {}
        stack = [(node, False) for node in reversed(self.outputs)]
        while stack:
            node, expanded = stack.pop()
            if expanded:
                order.append(node)
            elif id(node) not in state:
                state[id(node)] = True
                stack.append((node, True))
                stack.extend((source, False) for source in reversed(node.inputs) if id(source) not in state)
        return order

    def consumers(self) -> dict[int, list[Node]]:
        """Maps the id of a node to the nodes that read it, each listed once per read."""
        readers: dict[int, list[Node]] = {}
        for node in self.nodes():
            for source in node.inputs:
                readers.setdefault(id(source), []).append(node)
        return readers

    def replace(self, old: Node, new: Node) -> None:
        """Make everything that reads ``old`` read ``new`` instead, except ``new`` and the nodes that it introduces."""
        made_of = {id(node) for node in FoldGraph(self.inputs, [new]).nodes()} - {
            id(n) for n in FoldGraph(self.inputs, [old]).nodes()
        }
        for node in self.nodes():
            if id(node) not in made_of:
                node.inputs = [new if source is old else source for source in node.inputs]
        self.outputs = [new if node is old else node for node in self.outputs]

    @tf.autograph.experimental.do_not_convert
    def run(
        self,
        inputs: Sequence[tf.Tensor],
        keep: Iterable[Node] = (),
        given: Mapping[Node, tf.Tensor] = MappingProxyType({}),
        precision: tf.DType = tf.float32,
    ) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        """The outputs for a batch of each input, and the values of the nodes in ``keep``; inside a tf.function.

        given: values of nodes that are used instead of computing these.
        precision: of all floating-point values, those of the inputs included.
        """
        values: dict[int, Any] = {id(node): value for node, value in given.items()}
        for node, x in zip(self.inputs, inputs, strict=True):
            values.setdefault(id(node), tf.cast(x, precision) if x.dtype.is_floating else x)
        kept = list(keep)
        for node in FoldGraph(self.inputs, [*self.outputs, *kept]).nodes():
            if id(node) not in values:
                values[id(node)] = _compute(node, [values[id(source)] for source in node.inputs], precision)
        return [values[id(node)] for node in self.outputs], [values[id(node)] for node in kept]


def _compute(node: Node, inputs: list[Any], dtype: tf.DType) -> Any:
    if node.value is not None:
        value = node.value
        return tf.constant(value, dtype if np.issubdtype(value.dtype, np.floating) else value.dtype)
    if node.op == "Cast" and tf.dtypes.as_dtype(node.attributes["DstT"]).is_floating:
        return tf.cast(inputs[0], dtype)
    if node.op in _OWN:
        return _OWN[node.op](node, *inputs)
    if node.op == "ResizeBilinear" and dtype == tf.float64 and node.inputs[1].constant:
        return _resized(node, *inputs)
    if node.integers:
        return tf.cast(raw(node, [tf.cast(x, tf.float32) for x in inputs], node.name), dtype)
    result = raw(node, inputs, node.name)
    # An Unpack or Split into one has its only output in a list.
    return result[0] if isinstance(result, list) and len(result) == 1 else result


def raw(node: Node, inputs: list[Any], name: str) -> Any:
    """Apply the TensorFlow operation that the node names; its type attributes follow from the inputs."""
    definition = op_def_registry.get(node.op)
    defaults = {a.name: _default(a.default_value) for a in definition.attr if a.HasField("default_value")}
    arguments: dict[str, Any] = {**{k: v for k, v in defaults.items() if v is not None}, **node.attributes}
    position = 0
    for argument in definition.input_arg:
        if argument.number_attr or argument.type_list_attr:
            # A list takes all remaining inputs except those of the arguments after it.
            following = len(definition.input_arg) - list(definition.input_arg).index(argument) - 1
            count = len(inputs) - position - following
            arguments[argument.name] = inputs[position : position + count]
            position += count
        else:
            arguments[argument.name] = inputs[position]
            position += 1
    try:
        return op_def_library.apply_op(node.op, name=name or None, **arguments)
    except TypeError:
        # Not defined in double precision: compute this operation in single precision.
        narrow = {key: _cast(value, tf.float64, tf.float32) for key, value in arguments.items()}
        return tf.nest.map_structure(lambda y: _cast(y, tf.float32, tf.float64), op_def_library.apply_op(node.op, **narrow))


def _default(value: Any) -> Any:
    """An attribute's default; None for types, which follow from the inputs."""
    kind = value.WhichOneof("value")
    if kind == "list":
        return [*value.list.i, *value.list.s, *value.list.f, *value.list.b]
    return None if kind in ("type", None) else getattr(value, kind)


def _cast(value: Any, source: tf.DType, target: tf.DType) -> Any:
    if isinstance(value, list):
        return [_cast(item, source, target) for item in value]
    return tf.cast(value, target) if tf.is_tensor(value) and value.dtype == source else value


def _affine(node: Node, x: Any, scale: Any, shift: Any) -> Any:
    # A scale of all ones or a shift of all zeros would still become an operator in the flatbuffer.
    if np.any(scale_of(node) != 1):
        x = x * scale
    return x + shift if np.any(shift_of(node)) else tf.identity(x)


def _prelu(node: Node, x: Any, alpha: Any) -> Any:
    # Written as in Keras, with the rank of alpha one less than that of x: LCE converts this form to one PRELU.
    alpha = tf.reshape(alpha, [1] * (len(node.shape) - 2) + [-1])
    return tf.nn.relu(x) + -alpha * tf.nn.relu(-x)


def _squeeze(node: Node, x: Any, gain: Any) -> Any:
    return tf.add_n(tf.split(x * gain, x.shape[-1] // node.channels, axis=-1))


def _expand(node: Node, x: Any) -> Any:
    return tf.tile(x, [1] * (len(node.shape) - 1) + [node.channels // x.shape[-1]])


def _resized(node: Node, x: Any, size: Any) -> Any:
    """ResizeBilinear in double precision, of which TensorFlow's kernel has the weights only: it returns single precision."""
    height, width = x.shape[1:3]
    rows = raw(node, [tf.reshape(tf.eye(height), (1, height, 1, height)), [size[0], 1]], node.name)[0, :, 0]
    columns = raw(node, [tf.reshape(tf.eye(width), (1, 1, width, width)), [1, size[1]]], node.name)[0, 0]
    return tf.einsum("hi,nijc,wj->nhwc", tf.cast(rows, x.dtype), x, tf.cast(columns, x.dtype))


def _output(node: Node, values: Any) -> Any:
    return values[node.attributes["index"]]


def _binarize(node: Node, x: Any) -> Any:
    return tf.sign(tf.sign(x) + 0.1)


_OWN: dict[str, Callable[..., Any]] = {
    AFFINE: _affine,
    BINARIZE: _binarize,
    EXPAND: _expand,
    OUTPUT: _output,
    PRELU: _prelu,
    SQUEEZE: _squeeze,
}


def affine(x: Node, scale: Any, shift: Any, name: str = "") -> Node:
    """scale * x + shift, both broadcast to one value per channel."""
    parts = [np.broadcast_to(np.asarray(part, np.float64).reshape(-1), (x.channels,)).copy() for part in (scale, shift)]
    return Node(AFFINE, [x, *(constant(part) for part in parts)], {}, None, x.shape, name)


def is_channel_axis(axis: Node, rank: int) -> bool:
    """Whether an operand of a concatenation or a split is the constant axis of the channels of a tensor of this rank."""
    return axis.value is not None and int(axis.value) in (-1, rank - 1)


def scale_of(node: Node) -> np.ndarray:
    """The scale of an AFFINE, (C,)."""
    value = node.inputs[1].value
    assert value is not None
    return value


def shift_of(node: Node) -> np.ndarray:
    """The shift of an AFFINE, (C,)."""
    value = node.inputs[2].value
    assert value is not None
    return value


SUMS = ("Add", "AddV2")
CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
FUSED = ("Relu", "Relu6")


class Readers:
    """The nodes that read each node, for one state of a graph."""

    def __init__(self, graph: FoldGraph):
        self._consumers = graph.consumers()
        self._outputs = {id(node) for node in graph.outputs}

    def of(self, node: Node) -> list[Node]:
        return self._consumers.get(id(node), [])

    def only_one(self, node: Node) -> bool:
        """Whether the node is read exactly once and is not an output."""
        return len(self.of(node)) == 1 and id(node) not in self._outputs

    def absorbs(self, node: Node) -> bool:
        """Whether the node is an AFFINE that costs nothing because it becomes part of the convolution before it."""
        if node.op != AFFINE or not self.only_one(node.inputs[0]):
            return False
        return node.inputs[0].op in CONVOLUTIONS or self.is_fused(node.inputs[0])

    def is_fused(self, node: Node) -> bool:
        """Whether the node is an activation that LCE computes inside a binary convolution, before its multiplier and bias.

        With zero padding, LCE keeps the activation as a separate operator, and the normalization after it too.
        """
        convolution = node.inputs[0] if node.op in FUSED else None
        if convolution is None or not convolution.integers or convolution.attributes["padding"] != b"VALID":
            return False
        source = convolution.inputs[0]
        ones = source.op == "PadV2" and source.inputs[2].value is not None and np.all(source.inputs[2].value == 1)
        return self.only_one(convolution) and (source.op == BINARIZE or bool(ones))

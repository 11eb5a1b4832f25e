"""Moves positive scales: a multiplication is moved to wherever another operation absorbs it at no cost.

A binary convolution depends only on signs, so a tensor t may be stored as t' = t / s with any positive s, per tensor or channel.
The operations between tensors constrain s:

    absorbs any s        convolution (with its normalization), on either side; squeeze, in its gain; sign, before it
    s_out = s_in         ReLU, PReLU, pooling, padding with zeros, reshaping; every summand of a sum
    s_out = g * s_in     multiplication by a positive constant g, which is then removed
    s_out = tile(s_in)   expand
    s_out = (s_1, s_2)   concatenation of the channels of several inputs
    s = 1                the graph's input and outputs, and all other operations

These are equations between logarithms along the edges of the graph. Those of a tree can always be satisfied; every edge that closes
a cycle whose product is not 1 leaves a multiplication. Therefore a maximum spanning forest is used, where the weight of an edge is
the number of elements that its multiplication would process: the remaining multiplications are on the smallest tensors.

Negative and zero factors are not moved, since they would change signs.
"""

import math
from itertools import accumulate

import numpy as np

from el_larq.converters.fold.forest import ROUNDING, Edge, Forest, periodic
from el_larq.converters.fold.ir import (
    AFFINE,
    BINARIZE,
    CONVOLUTIONS,
    EXPAND,
    PRELU,
    SQUEEZE,
    SUMS,
    FoldGraph,
    Node,
    Readers,
    affine,
    constant,
    is_channel_axis,
    scale_of,
    shift_of,
)
from el_larq.converters.fold.notes import Notes

_HOMOGENEOUS = ("Relu", PRELU, "AvgPool", "MaxPool", "Mean", "Pad", "Reshape", "Squeeze")
_SUMS = (*SUMS, "AddN")


def scales(graph: FoldGraph, notes: Notes) -> None:
    gains = [node for node in graph.nodes() if node.op == AFFINE and np.any(scale_of(node) != 1)]
    readers = Readers(graph)
    before = sum(not readers.absorbs(node) for node in gains)
    assigned = _assign(graph, readers)
    _Rebuild(graph, assigned).run()
    left = multiplications(graph)
    notes.applied += [f"{before} multiplications before, {len(left)} after"] if before else []
    notes.refused += [f"{node.name or node.inputs[0].name}: left on {node.channels} channels" for node in left]


def multiplications(graph: FoldGraph) -> list[Node]:
    """The AFFINEs that remain multiplications in the flatbuffer."""
    readers = Readers(graph)
    return [n for n in graph.nodes() if n.op == AFFINE and not readers.absorbs(n) and np.any(scale_of(n) != 1)]


def _carries(node: Node) -> bool:
    return not node.constant and len(node.shape) >= 2 and isinstance(node.shape[-1], int)


def _elements(node: Node) -> int:
    return math.prod(size or 1 for size in node.shape)


def _assign(graph: FoldGraph, readers: Readers) -> dict[int, np.ndarray]:
    """The scale s of each tensor, by node id."""
    nodes = [node for node in graph.nodes() if _carries(node)]
    edges = [
        Edge(_elements(node), None, node, np.ones(node.channels)) for node in [*graph.inputs, *graph.outputs] if _carries(node)
    ]
    for node in graph.nodes():
        edges += _edges(node, readers)
    forest = Forest(nodes, edges)
    for edge in sorted(edges, key=lambda edge: -edge.cost):
        forest.connect(edge)
    return forest.offset


def keeps_scale(node: Node) -> bool:
    """Whether the node is positively homogeneous and keeps its channels: s_out = s_in."""
    if node.op not in _HOMOGENEOUS or not _carries(node) or not _carries(node.inputs[0]):
        return False
    x = node.inputs[0]
    if node.channels != x.channels:
        return False
    axes = np.atleast_1d(_value(node.inputs[1])) if node.op == "Mean" else []
    return all(int(axis) % len(x.shape) != len(x.shape) - 1 for axis in axes)


def _joins_channels(node: Node) -> bool:
    """Whether the node concatenates channels."""
    return (
        node.op == "ConcatV2"
        and _carries(node)
        and all(_carries(part) for part in node.inputs[:-1])
        and is_channel_axis(node.inputs[-1], len(node.shape))
    )


def _value(node: Node) -> np.ndarray:
    return np.array([-1]) if node.value is None else node.value


def _edges(node: Node, readers: Readers) -> list[Edge]:
    if node.constant or not node.inputs:
        return []
    carried = [source for source in node.inputs if _carries(source)]
    if node.op in CONVOLUTIONS or node.op in (SQUEEZE, BINARIZE):
        return [] if node.op != BINARIZE else [Edge(_elements(node), None, node, np.ones(node.channels))]
    if node.op == AFFINE:
        scale = scale_of(node)
        if readers.absorbs(node) or np.any(scale <= 0):
            return []
        return [Edge(_elements(node), node.inputs[0], node, scale)]
    if _carries(node) and node.op in _SUMS and all(source.shape == node.shape for source in carried):
        return [Edge(_elements(node), source, node, np.ones(node.channels)) for source in carried]
    if _joins_channels(node):
        *parts, _ = node.inputs
        starts = accumulate((part.channels for part in parts[:-1]), initial=0)
        return [Edge(_elements(p), p, node, np.ones(p.channels), start) for p, start in zip(parts, starts, strict=True)]
    if node.op == EXPAND:
        return [Edge(_elements(node.inputs[0]), node.inputs[0], node, np.ones(node.channels))]
    if keeps_scale(node):
        cost = min(_elements(node), _elements(node.inputs[0]))
        return [Edge(cost, node.inputs[0], node, np.ones(node.channels))]
    return [Edge(_elements(t), None, t, np.ones(t.channels)) for t in (*carried, node) if _carries(t)]


class _Rebuild:
    """Rebuild every node for tensors divided by their scales; an edge that is not satisfied becomes a multiplication."""

    def __init__(self, graph: FoldGraph, scale: dict[int, np.ndarray]):
        self.graph, self.scale = graph, scale
        self.new: dict[int, Node] = {}

    def run(self) -> None:
        for node in self.graph.nodes():
            self.new[id(node)] = self._copy(node)
        self.graph.outputs = [self._read(node, np.ones(1)) for node in self.graph.outputs]

    def _of(self, node: Node) -> np.ndarray:
        return self.scale.get(id(node), np.ones(1))

    def _read(self, node: Node, wanted: np.ndarray) -> Node:
        """The node's value divided by ``wanted``."""
        return _times(self.new[id(node)], self._of(node) / wanted)

    def _copy(self, node: Node) -> Node:
        if node in self.graph.inputs or node.constant:
            return node
        s = self._of(node)
        if node.op == AFFINE:
            x = node.inputs[0]
            scale = scale_of(node) * self._of(x) / s
            left = np.where(np.abs(scale - 1) < ROUNDING, 1.0, scale)
            return affine(self.new[id(x)], left, shift_of(node) / s, node.name)
        if node.op == BINARIZE:
            return self._with(node, [self.new[id(node.inputs[0])]])
        if node.op == SQUEEZE:
            x, gain = node.inputs
            groups = x.channels // node.channels
            scaled = constant(_value(gain) * self._of(x) / np.tile(np.broadcast_to(s, (node.channels,)), groups))
            return self._with(node, [self.new[id(x)], scaled])
        if node.op in CONVOLUTIONS and node.inputs[1].value is not None:
            return _times(self._with(node, [self.new[id(node.inputs[0])], self._kernel(node)]), 1 / s)
        if node.op == EXPAND:
            x = node.inputs[0]
            if periodic(np.broadcast_to(s, (node.channels,)), x.channels):
                return self._with(node, [self._read(x, np.broadcast_to(s, (node.channels,))[: x.channels])])
            tiled = np.tile(np.broadcast_to(self._of(x), (x.channels,)), node.channels // x.channels)
            return _times(self._with(node, [self.new[id(x)]]), tiled / s)
        if _joins_channels(node):
            *parts, axis = node.inputs
            wanted = np.split(np.broadcast_to(s, (node.channels,)), np.cumsum([part.channels for part in parts[:-1]]))
            return self._with(node, [*(self._read(part, w) for part, w in zip(parts, wanted, strict=True)), axis])
        if node.op in _SUMS and all(source.shape == node.shape for source in node.inputs):
            return self._with(node, [self._read(source, s) for source in node.inputs])
        if keeps_scale(node):
            x, *rest = node.inputs
            if _elements(x) > _elements(node):
                return _times(self._with(node, [self.new[id(x)], *rest]), self._of(x) / s)
            return self._with(node, [self._read(x, s), *rest])
        return _times(self._with(node, [self._read(source, np.ones(1)) for source in node.inputs]), 1 / s)

    def _kernel(self, node: Node) -> Node:
        """The kernel times the scale of the convolution's input, per channel."""
        kernel, s = _value(node.inputs[1]), self._of(node.inputs[0])
        if np.all(s == 1):
            return node.inputs[1]
        if node.op == "MatMul":
            by_row = not node.attributes.get("transpose_b")
            return constant(kernel * (s[:, None] if by_row and len(s) > 1 else s))
        groups = 1 if node.op == "DepthwiseConv2dNative" else len(s) // kernel.shape[2]
        if groups > 1:
            # Each group of output channels reads its own part of the input.
            parts = np.split(np.broadcast_to(s, (node.inputs[0].channels,)), groups)
            kernels = np.split(kernel, groups, axis=3)
            return constant(np.concatenate([k * p[:, None] for k, p in zip(kernels, parts, strict=True)], axis=3))
        return constant(kernel * s[:, None])

    def _with(self, node: Node, inputs: list[Node]) -> Node:
        return Node(node.op, inputs, node.attributes, None, node.shape, node.name, node.integers)


def _times(node: Node, factor: np.ndarray) -> Node:
    return node if np.allclose(factor, 1, rtol=ROUNDING) else affine(node, factor, 0.0, node.name)

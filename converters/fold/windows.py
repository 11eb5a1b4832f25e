"""Views, padding and windows of the maps that rewrites work on."""

import numpy as np

from el_larq.converters.fold.ir import FoldGraph, Node, constant
from el_larq.layers.align import same_padding

Paddings = tuple[tuple[int, int], tuple[int, int]]
"""Pixels before and after, for height and width."""


def quantizes(graph: FoldGraph) -> bool:
    """Whether the graph has fake quantization: LCE then computes with int8, where other operators round in other places."""
    return any(node.op.startswith("FakeQuant") for node in graph.nodes())


def view(x: Node, shape: tuple[int, ...]) -> Node:
    """The tensor in another shape, without the batch."""
    target = constant(np.array([-1, *shape], np.int32))
    return Node("Reshape", [x, target], {}, None, (None, *shape), x.name)


def whole_windows(pool: Node) -> int:
    """s, if a pooling has square windows of s pixels that cover its map without overlap and without padding; else 0."""
    window, strides = list(pool.attributes["ksize"]), list(pool.attributes["strides"])
    size = strides[1]
    sides = pool.inputs[0].shape[1:3]
    whole = all(side is not None and side % size == 0 for side in sides)
    return size if window == strides == [1, size, size, 1] and whole else 0


def zero_padding(convolution: Node) -> tuple[Node, Paddings] | None:
    """What a convolution reads before padding with zeros, of its own or of a Pad before it, and the amounts.

    None if the map's size is not static, or the padding is another one.
    """
    x, kernel, attributes = convolution.inputs[0], convolution.inputs[1].value, convolution.attributes
    assert kernel is not None
    padding = attributes["padding"]
    if padding == b"VALID" and x.op in ("Pad", "PadV2"):
        amounts, source = x.inputs[1].value, x.inputs[0]
        zeros = x.op == "Pad" or (x.inputs[2].value is not None and not np.any(x.inputs[2].value))
        if amounts is None or not zeros or np.any(amounts[[0, 3]]) or None in source.shape[1:3]:
            return None
        (top, bottom), (left, right) = amounts[1:3].tolist()
        return source, ((top, bottom), (left, right))
    height, width = x.shape[1:3]
    if height is None or width is None or padding not in (b"VALID", b"SAME"):
        return None
    if padding == b"VALID":
        return x, ((0, 0), (0, 0))
    _, down, across, _ = attributes["strides"]
    return x, (same_padding(height, kernel.shape[0], down), same_padding(width, kernel.shape[1], across))


def constant_bytes(graph: FoldGraph) -> float:
    """Of all constants; kernels of binary convolutions are stored as bits."""
    nodes = graph.nodes()
    binary = {id(node.inputs[1]) for node in nodes if node.integers}
    return sum(node.value.size * (1 / 8 if id(node) in binary else 4) for node in nodes if node.value is not None)

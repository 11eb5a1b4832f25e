"""Rewrites pooling as the operations that run fastest.

`max_pools`: normalizations and activations that do not decrease are computed after maximum pooling, for fewer pixels.

    max_pool(f(x)) = f(max_pool(x))    f: a * x + b with positive a, ReLU, ReLU6

`pooling`: global average pooling becomes average pooling over the whole map: TFLite runs AVERAGE_POOL_2D much faster than MEAN.

    mean over H and W of (N, H, W, C)  =  average pooling with a window of (H, W)

`pooled_sums`: a sum that only global pooling reads is added after pooling, as a single pixel. Links are then added while narrow.

    pool(x + y) = pool(x) + pool(y),    pool(tile(x)) = tile(pool(x)),    pool(a * x + b) = a * pool(x) + b

`averages`: pooling of 2x2 pixels without overlap becomes a depthwise convolution of 1/4, for which XNNPACK has a kernel of four
products; its average pooling is made for nine. Kernel and bias add 20 bytes per channel to the file. So maps of fewer than
MIN_PIXELS pixels stay, and the largest maps are rewritten first, until the constants have grown by MAX_GROWTH.

A graph with fake quantization is left alone: there LCE rounds AVERAGE_POOL_2D to the steps of its input, and the model does not.
"""

import math

import numpy as np

from el_larq.converters.fold.ir import (
    AFFINE,
    BINARIZE,
    EXPAND,
    FUSED,
    SUMS,
    FoldGraph,
    Node,
    Readers,
    affine,
    constant,
    scale_of,
    shift_of,
)
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.windows import constant_bytes, quantizes, view, whole_windows

MIN_PIXELS = 16
"""Of a pooled map."""
MAX_GROWTH, ALWAYS = 0.01, 512
"""As a share of the bytes of all constants, to which bytes are added that no file is too small for."""


def max_pools(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        if node.op != "MaxPool" or not _pixels(node) < _pixels(node.inputs[0]):
            continue
        moved, readers, x = list[Node](), Readers(graph), node.inputs[0]
        while readers.only_one(x) and (x.op in FUSED or (x.op == AFFINE and np.all(scale_of(x) > 0) and not readers.absorbs(x))):
            moved.append(x)
            x = x.inputs[0]
        # Activations alone cost nothing where they are: a convolution or an addition computes them.
        while moved and moved[-1].op != AFFINE:
            x = moved.pop()
        if not moved:
            continue
        result = Node(node.op, [x], node.attributes, None, node.shape, node.name)
        for step in reversed(moved):
            result = Node(step.op, [result, *step.inputs[1:]], step.attributes, None, node.shape, step.name)
        graph.replace(node, result)
        notes.applied.append(f"{', '.join(step.name for step in reversed(moved))}: after {node.name}")


def pooling(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        if node.op != "Mean" or node.inputs[1].value is None:
            continue
        x = node.inputs[0]
        axes = sorted(int(axis) % len(x.shape) for axis in np.atleast_1d(node.inputs[1].value))
        if len(x.shape) != 4 or axes != [1, 2]:
            continue
        height, width = x.shape[1:3]
        if height is None or width is None:
            notes.refused.append(f"{node.name}: the size of its input is not static")
            continue
        window = [1, height, width, 1]
        attributes = {"ksize": window, "strides": window, "padding": b"VALID"}
        pooled = Node("AvgPool", [x], attributes, None, (x.shape[0], 1, 1, x.channels), node.name)
        graph.replace(node, pooled if node.attributes.get("keep_dims") else view(pooled, (x.channels,)))
        notes.applied.append(node.name)


def pooled_sums(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        if (
            node.op != "AvgPool"
            or list(node.attributes["ksize"][1:3]) != list(node.inputs[0].shape[1:3])
            or node.shape[1:3] != (1, 1)
        ):
            continue
        moved = _pooled(node.inputs[0], node, Readers(graph))
        if moved.op != "AvgPool":
            graph.replace(node, moved)
            notes.applied.append(node.name)


def _pooled(x: Node, pool: Node, readers: Readers) -> Node:
    """Global pooling of a node, where possible of what it is the sum or the copies of."""
    shape = (pool.shape[0], 1, 1, x.channels)
    if x.op in SUMS and readers.only_one(x) and all(source.shape == x.shape for source in x.inputs):
        return Node(x.op, [_pooled(source, pool, readers) for source in x.inputs], x.attributes, None, shape, x.name)
    if x.op == AFFINE and readers.only_one(x) and not readers.absorbs(x):
        return affine(_pooled(x.inputs[0], pool, readers), scale_of(x), shift_of(x), x.name)
    if x.op == EXPAND:
        return Node(EXPAND, [_pooled(x.inputs[0], pool, readers)], {}, None, shape, x.name)
    return Node("AvgPool", [x], pool.attributes, None, shape, pool.name)


def averages(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    found = [n for n in graph.nodes() if n.op == "AvgPool" and whole_windows(n) == 2 and n.inputs[0].op != BINARIZE]
    left = ALWAYS + MAX_GROWTH * constant_bytes(graph)
    for node in sorted(found, key=_pixels, reverse=True):
        cost = 20 * node.channels
        if _pixels(node) < MIN_PIXELS or cost > left:
            continue
        left -= cost
        kernel = constant(np.full((2, 2, node.channels, 1), 0.25))
        attributes = {"strides": [1, 2, 2, 1], "padding": b"VALID"}
        graph.replace(node, Node("DepthwiseConv2dNative", [node.inputs[0], kernel], attributes, None, node.shape, node.name))
        notes.applied.append(node.name)


def _pixels(node: Node) -> int:
    return math.prod(size or 1 for size in node.shape[1:3])

"""Rewrites global average pooling as average pooling over the whole feature map: TFLite runs AVERAGE_POOL_2D much faster than MEAN.

mean over H and W of (N, H, W, C)  =  average pooling with a window of (H, W)

A graph with fake quantization is left alone: there LCE rounds AVERAGE_POOL_2D to the steps of its input, and the model does not.
"""

import numpy as np

from el_larq.converters.fold.ir import FoldGraph, Node, constant
from el_larq.converters.fold.notes import Notes


def pooling(graph: FoldGraph, notes: Notes) -> None:
    if any(node.op.startswith("FakeQuant") for node in graph.nodes()):
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
        if not node.attributes.get("keep_dims"):
            target = constant(np.array([-1, x.channels], np.int32))
            pooled = Node("Reshape", [pooled, target], {}, None, (x.shape[0], x.channels), node.name)
        graph.replace(node, pooled)
        notes.applied.append(node.name)

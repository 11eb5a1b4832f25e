"""Rewrites a dense layer on binary input as a 1x1 convolution: LCE has no binary dense layer, but it has binary convolutions.

(N, C) @ (C, D)  =  conv((N, 1, 1, C), (1, 1, C, D))
"""

import numpy as np

from el_larq.converters.fold.ir import BINARIZE, FoldGraph, Node, affine, constant
from el_larq.converters.fold.notes import Notes


def dense(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op != "MatMul" or node.inputs[0].op != BINARIZE or node.inputs[1].value is None:
            continue
        x, kernel = node.inputs[0].inputs[0], node.inputs[1].value
        if len(x.shape) != 2 or node.attributes.get("transpose_a"):
            continue
        kernel = kernel.T if node.attributes.get("transpose_b") else kernel
        magnitude = np.abs(kernel)
        if not np.all(magnitude == magnitude[:1]) or not np.all(magnitude):
            notes.refused.append(f"{node.name}: its kernel is not binary")
            continue
        inputs, outputs = kernel.shape
        view = _reshape(x, (1, 1, inputs))
        signs = Node(BINARIZE, [view], {}, None, view.shape, node.inputs[0].name)
        attributes = {"strides": [1, 1, 1, 1], "padding": b"VALID"}
        inputs_ = [signs, constant(np.sign(kernel)[None, None])]
        convolution = Node("Conv2D", inputs_, attributes, None, (view.shape[0], 1, 1, outputs), node.name, integers=True)
        scaled = convolution if np.all(magnitude[0] == 1) else affine(convolution, magnitude[0], 0.0, node.name)
        graph.replace(node, _reshape(scaled, (outputs,)))
        notes.applied.append(node.name)


def _reshape(x: Node, shape: tuple[int, ...]) -> Node:
    target = constant(np.array([-1, *shape], np.int32))
    return Node("Reshape", [x, target], {}, None, (x.shape[0], *shape), x.name)

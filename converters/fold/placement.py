"""Rewrites before_norm as after_norm: batch normalization of a sum is merged into the convolution that is one of its summands.

    a * (z + l) + b  =  (a * z + b) + a * l          z: a convolution's output, a and b per channel

The first term is the convolution's multiplier and bias, which cost nothing; a remains on the link, where a squeeze absorbs it or
other rewrites may move it further. Exact for negative a too. Applies if nothing else reads the sum or z.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, CONVOLUTIONS, FoldGraph, Node, Readers, affine, scale_of, shift_of
from el_larq.converters.fold.notes import Notes


def placement(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op != AFFINE or node.inputs[0].op not in ("Add", "AddV2"):
            continue
        total = node.inputs[0]
        readers = Readers(graph)
        convolution = next((s for s in total.inputs if _convolved(s, readers)), None)
        if convolution is None or len(total.inputs) != 2 or total.inputs[0] is total.inputs[1]:
            continue
        if not np.any(shift_of(node)):
            continue  # a gain, not a normalization
        if not readers.only_one(total):
            notes.refused.append(f"{node.name}: the sum under the normalization is read elsewhere too")
            continue
        link = total.inputs[1] if total.inputs[0] is convolution else total.inputs[0]
        scale, shift = scale_of(node), shift_of(node)
        z = affine(convolution, scale, shift, node.name)
        if convolution.op == AFFINE:
            z = affine(convolution.inputs[0], scale * scale_of(convolution), scale * shift_of(convolution) + shift, node.name)
        gained = affine(link, scale, 0.0, f"{node.name}_link")
        graph.replace(node, Node(total.op, [z, gained], total.attributes, None, total.shape, total.name))
        notes.applied.append(node.name)


def _convolved(node: Node, readers: Readers) -> bool:
    if not readers.only_one(node):
        return False
    return node.op in CONVOLUTIONS or readers.absorbs(node)

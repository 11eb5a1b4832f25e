"""Removes scales before a sign: sign(a * x + b) = sign(x + b / a) if every a is positive.

Real-to-Binary and BinaryDenseNet normalize before the sign. The multiplication is removed, and only a shift remains, which may be
moved further. Negative a would flip signs: the channel would have to be inverted in every kernel that reads it, which is wrong at
borders padded with ones, so such a normalization is left unchanged.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, BINARIZE, FoldGraph, Node, Readers, affine, scale_of, shift_of
from el_larq.converters.fold.notes import Notes


def threshold(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op != BINARIZE or node.inputs[0].op != AFFINE:
            continue
        inner = node.inputs[0]
        scale = scale_of(inner)
        if Readers(graph).absorbs(inner) or np.all(scale == 1):
            continue
        if np.any(scale <= 0):
            notes.refused.append(f"{inner.name}: {int(np.sum(scale <= 0))} of {len(scale)} scales before the sign are not positive")
            continue
        source = inner.inputs[0]
        shift = shift_of(inner) / scale
        moved = affine(source, 1.0, shift, inner.name) if np.any(shift) else source
        graph.replace(node, Node(BINARIZE, [moved], {}, None, node.shape, node.name))
        notes.applied.append(inner.name)

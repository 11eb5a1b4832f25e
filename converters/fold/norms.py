"""Moves a normalization that follows pooling or a concatenation before it, into the convolutions there, which absorb it at no cost.

    a * max_pool(z) + b   = max_pool(a * z + b)                        if every a is positive; average pooling: for any a
    a * concat(y, z) + b  = concat(a_y * y + b_y, a_z * z + b_z)

y and z are outputs of convolutions, a and b have a value per channel. Larq's examples normalize after pooling (QuantConv2D,
MaxPool2D, BatchNormalization). With the normalization in the convolution, the signs of the pooled values need no addition, and
LCE pools them packed. Applies if every operation on the way is read only once.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, CONVOLUTIONS, FoldGraph, Node, Readers, affine, is_channel_axis, scale_of, shift_of
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.scales import keeps_scale

_POOLS = ("AvgPool", "MaxPool", "Mean")


def norms(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op != AFFINE or node.inputs[0].op not in (*_POOLS, "ConcatV2"):
            continue
        x, scale, readers = node.inputs[0], scale_of(node), Readers(graph)
        if _takes(x, scale, readers):
            graph.replace(node, _moved(x, scale, shift_of(node), node.name))
            notes.applied.append(f"{node.name}: before {x.name}")


def _takes(x: Node, scale: np.ndarray, readers: Readers) -> bool:
    """Whether convolutions before this node, or the node itself, absorb a normalization of its output."""
    if not readers.only_one(x):
        return False
    if x.op in CONVOLUTIONS or readers.is_fused(x) or readers.absorbs(x):
        return True
    if x.op in _POOLS and keeps_scale(x):
        return (x.op != "MaxPool" or bool(np.all(scale > 0))) and _takes(x.inputs[0], scale, readers)
    if x.op == "ConcatV2" and is_channel_axis(x.inputs[-1], len(x.shape)):
        return all(_takes(part, part_scale, readers) for part, part_scale in zip(x.inputs[:-1], _split(x, scale), strict=True))
    return False


def _moved(x: Node, scale: np.ndarray, shift: np.ndarray, name: str) -> Node:
    """scale * x + shift, with the normalization where `_takes` found that it is absorbed."""
    if x.op == AFFINE:
        return affine(x.inputs[0], scale * scale_of(x), scale * shift_of(x) + shift, name)
    if x.op in _POOLS:
        return Node(x.op, [_moved(x.inputs[0], scale, shift, name), *x.inputs[1:]], x.attributes, None, x.shape, x.name)
    if x.op == "ConcatV2":
        parts = zip(x.inputs[:-1], _split(x, scale), _split(x, shift), strict=True)
        moved = [_moved(part, part_scale, part_shift, name) for part, part_scale, part_shift in parts]
        return Node(x.op, [*moved, x.inputs[-1]], x.attributes, None, x.shape, x.name)
    return affine(x, scale, shift, name)


def _split(concat: Node, values: np.ndarray) -> list[np.ndarray]:
    """The values of the channels of each part."""
    return np.split(values, np.cumsum([part.channels for part in concat.inputs[:-2]]))

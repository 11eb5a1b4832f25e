"""Replaces slices of a concatenation by its parts: slice(concat(y, z)) = z if the slice has the channels of z.

Improvement blocks (MeliusNet) add to the channels that the block before them has appended; written with slices, they copy what
is there already.
"""

import numpy as np

from el_larq.converters.fold.ir import OUTPUT, FoldGraph, Node, is_channel_axis
from el_larq.converters.fold.notes import Notes


def slices(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        found = _of_channels(node)
        if found is None or found[0].op != "ConcatV2":
            continue
        concat, start, stop = found
        *parts, axis = concat.inputs
        if not is_channel_axis(axis, len(concat.shape)):
            continue
        bounds = np.cumsum([0, *(part.channels for part in parts)]).tolist()
        for part, first, after in zip(parts, bounds, bounds[1:], strict=False):
            if (first, after) == (start, stop):
                graph.replace(node, part)
                notes.applied.append(f"{node.name}: a part of {concat.name}")


def _of_channels(node: Node) -> tuple[Node, int, int] | None:
    """The tensor whose channels from a first to before a second number the node is, and the numbers; None for other nodes."""
    if node.op == "StridedSlice":
        return _of_strided_slice(node)
    if node.op != OUTPUT or node.inputs[0].op not in ("Split", "SplitV"):
        return None
    split = node.inputs[0]
    axis, x = split.inputs if split.op == "Split" else (split.inputs[2], split.inputs[0])
    if not is_channel_axis(axis, len(node.shape)):
        return None
    sizes = [node.channels] * split.attributes["num_split"] if split.op == "Split" else split.inputs[1].value
    if sizes is None or np.any(np.asarray(sizes) < 0):
        return None
    start = int(np.sum(sizes[: node.attributes["index"]]))
    return x, start, start + node.channels


def _of_strided_slice(node: Node) -> tuple[Node, int, int] | None:
    x, *numbers = node.inputs
    masks = node.attributes
    if any(number.value is None for number in numbers) or masks["new_axis_mask"] or masks["shrink_axis_mask"]:
        return None
    begin, end, strides = (np.asarray(number.value).tolist() for number in numbers)
    last, ellipsis = len(begin) - 1, masks["ellipsis_mask"]
    covers_channels = len(begin) == len(x.shape) if not ellipsis else not ellipsis >> last & 1
    if not covers_channels or x.shape[1:-1] != node.shape[1:-1] or None in x.shape[1:] or any(stride != 1 for stride in strides):
        return None
    whole_batch = ellipsis & 1 or (masks["begin_mask"] & 1 and masks["end_mask"] & 1)
    if not whole_batch:
        return None
    first = None if masks["begin_mask"] >> last & 1 else begin[last]
    after = None if masks["end_mask"] >> last & 1 else end[last]
    channels = range(x.channels)[first:after]
    return (x, channels.start, channels.stop) if channels else None

"""Rewrites links as the operations that run fastest.

**Several links into one sum** are added where they are narrow: (y + tile(a)) + (z + tile(b)) = (y + z) + tile(a + tile(b)).

**Expand** becomes a broadcasting addition: for k copies of C channels, the views (N, H * W, k, C) and (N, H * W, 1, C) are added,
so that no copy is made.

**Squeeze** becomes a depthwise convolution, which includes the gain at no cost: the k groups are adjacent in memory, so a kernel of
(1, k) with stride k on the view (N, 1, H * W * k, C) sums them, in one row: XNNPACK calls its kernel once per row. Average
pooling by s before it is merged into the kernel: on the view (N * H / s, s, W / s * s * k, C) a kernel of (s, s * k) with
gain / s**2 pools and sums in one step, if s divides H and W.
"""

from itertools import pairwise

import numpy as np

from el_larq.converters.fold.ir import AFFINE, EXPAND, SQUEEZE, SUMS, FoldGraph, Node, Readers, constant, scale_of, shift_of
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.windows import view, whole_windows


def gains(graph: FoldGraph, notes: Notes) -> None:
    """Merge multiplications directly before or after a squeeze into its gain; factors of any sign are exact."""
    for node in graph.nodes():
        if node.op == AFFINE and node.inputs[0].op == SQUEEZE and not np.any(shift_of(node)):
            squeeze = node.inputs[0]
            if Readers(graph).only_one(squeeze):
                _scale_gain(squeeze, np.tile(scale_of(node), squeeze.inputs[0].channels // squeeze.channels))
                graph.replace(node, squeeze)
                notes.applied.append(f"{node.name}: into {squeeze.name}")
    for node in graph.nodes():
        if node.op == SQUEEZE and node.inputs[0].op == AFFINE and not np.any(shift_of(node.inputs[0])):
            scaled = node.inputs[0]
            _scale_gain(node, scale_of(scaled))
            node.inputs[0] = scaled.inputs[0]
            notes.applied.append(f"{scaled.name}: into {node.name}")


def _scale_gain(squeeze: Node, factor: np.ndarray) -> None:
    gain = squeeze.inputs[1].value
    assert gain is not None
    squeeze.inputs = [squeeze.inputs[0], constant(gain * factor)]


def squeezes(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op != SQUEEZE:
            continue
        x, gain = node.inputs
        height, width = node.shape[1:3]
        if height is None or width is None or gain.value is None:
            notes.refused.append(f"{node.name}: the size of its input is not static")
            continue
        stride = whole_windows(x) if x.op == "AvgPool" and Readers(graph).only_one(x) else 0
        stride = stride or 1
        source = x.inputs[0] if stride > 1 else x
        groups, channels = x.channels // node.channels, node.channels
        by_group = gain.value.reshape(groups, channels) / stride**2
        kernel = np.tile(by_group, (stride, 1))[None].repeat(stride, axis=0)[..., None]
        row = (stride, width * stride * groups, channels) if stride > 1 else (1, height * width * groups, channels)
        step = stride * groups
        attributes = {"strides": [1, step, step, 1], "padding": b"VALID"}
        summed = (None, 1, row[1] // step, channels)
        inputs = [view(source, row), constant(kernel)]
        convolution = Node("DepthwiseConv2dNative", inputs, attributes, None, summed, node.name)
        graph.replace(node, view(convolution, (height, width, channels)))
        notes.applied.append(node.name)


def together(graph: FoldGraph, notes: Notes) -> None:
    """Add expanded tensors that meet in one sum before they are expanded, narrowest first."""
    if sum(node.op == EXPAND for node in graph.nodes()) < 2:
        return
    for node in graph.nodes():
        if node.op not in SUMS:
            continue
        readers = Readers(graph)
        if readers.only_one(node) and readers.of(node)[0].op in SUMS:
            continue  # the sum that adds this one is treated as a whole
        summands = _summands(node, readers)
        narrow = sorted((s.inputs[0] for s in summands if s.op == EXPAND), key=lambda x: x.channels)
        same_size = all(s.shape == node.shape for s in summands)  # else a sum repeats its smaller operand
        if len(narrow) < 2 or not same_size or any(b.channels % a.channels for a, b in pairwise(narrow)):
            continue
        total = narrow[0]
        for x in narrow[1:]:
            total = _sum(node, [x, _expanded(total, x)])
        wide = [s for s in summands if s.op != EXPAND]
        while len(wide) > 1:
            wide = [_sum(node, wide[:2]), *wide[2:]]
        copies = _expanded(total, node)
        graph.replace(node, _sum(node, [*wide, copies]) if wide else copies)
        notes.applied.append(f"{node.name}: {len(narrow)} links")


def _summands(node: Node, readers: Readers) -> list[Node]:
    """What a sum adds, through sums of the same shape that only it reads."""
    found: list[Node] = []
    for source in node.inputs:
        inner = source.op in SUMS and source.shape == node.shape and readers.only_one(source)
        found += _summands(source, readers) if inner else [source]
    return found


def _sum(like: Node, summands: list[Node]) -> Node:
    return Node(like.op, summands, like.attributes, None, summands[0].shape, like.name)


def _expanded(x: Node, like: Node) -> Node:
    """The tensor repeated to the channels of another one."""
    return x if x.channels == like.channels else Node(EXPAND, [x], {}, None, (*x.shape[:-1], like.channels), x.name)


def expands(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op not in SUMS or node.inputs[0] is node.inputs[1]:
            continue
        copy = next((s for s in node.inputs if s.op == EXPAND or _gained(s)), None)
        if copy is None:
            continue
        other = node.inputs[1] if node.inputs[0] is copy else node.inputs[0]
        expand = copy if copy.op == EXPAND else copy.inputs[0]
        narrow = expand.inputs[0]
        height, width = node.shape[1:3] if len(node.shape) == 4 else (None, None)
        if height is None or width is None or not other.shape == copy.shape == node.shape:
            notes.refused.append(f"{node.name}: the size of its input is not static, or its summands differ in size")
            continue
        groups, channels = node.channels // narrow.channels, narrow.channels
        wide = view(other, (height * width, groups, channels))
        copied = view(narrow, (height * width, 1, channels))
        if copy is not expand:
            gain = constant(scale_of(copy).reshape(groups, channels))
            copied = Node("Mul", [copied, gain], {}, None, wide.shape, copy.name)
        total = Node(node.op, [wide, copied], node.attributes, None, wide.shape, node.name)
        graph.replace(node, view(total, (height, width, node.channels)))
        notes.applied.append(node.name)


def _gained(node: Node) -> bool:
    """Whether the node is a per-channel gain on an expanded tensor: applied to the wide tensor, but also without a copy."""
    return node.op == AFFINE and node.inputs[0].op == EXPAND and not np.any(shift_of(node))

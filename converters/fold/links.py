"""Rewrites links as the operations that run fastest.

**Expand** becomes a broadcasting addition: for k copies of C channels, the views (N, H * W, k, C) and (N, H * W, 1, C) are added,
so that no copy is made.

**Squeeze** becomes a depthwise convolution, which includes the gain at no cost: the k groups are adjacent in memory, so a kernel of
(1, k) on the view (N, H * W, k, C) sums them. Average pooling by s before it is merged into the kernel: on the view
(N * H / s, s, W / s * s * k, C) a kernel of (s, s * k) with gain / s**2 pools and sums in one step, if s divides H and W.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, EXPAND, SQUEEZE, FoldGraph, Node, Readers, constant, scale_of, shift_of
from el_larq.converters.fold.notes import Notes

_SUMS = ("Add", "AddV2")


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
        stride = _pooled_by(x, node, graph)
        source = x.inputs[0] if stride > 1 else x
        groups, channels = x.channels // node.channels, node.channels
        by_group = gain.value.reshape(groups, channels) / stride**2
        kernel = np.tile(by_group, (stride, 1))[None].repeat(stride, axis=0)[..., None]
        view = (stride, width * stride * groups, channels) if stride > 1 else (height * width, groups, channels)
        step = stride * groups if stride > 1 else 1
        attributes = {"strides": [1, step, step, 1], "padding": b"VALID"}
        summed = (None, 1, width, channels) if stride > 1 else (None, height * width, 1, channels)
        inputs = [_view(source, view), constant(kernel)]
        convolution = Node("DepthwiseConv2dNative", inputs, attributes, None, summed, node.name)
        graph.replace(node, _view(convolution, (height, width, channels)))
        notes.applied.append(node.name)


def _pooled_by(x: Node, squeeze: Node, graph: FoldGraph) -> int:
    """s, if x is average pooling by s with whole windows and only this squeeze reads it; else 1."""
    if x.op != "AvgPool" or not Readers(graph).only_one(x):
        return 1
    window, strides = list(x.attributes["ksize"]), list(x.attributes["strides"])
    stride = strides[1]
    height, width = x.inputs[0].shape[1:3]
    whole = height is not None and width is not None and height % stride == 0 and width % stride == 0
    return stride if window == strides == [1, stride, stride, 1] and whole else 1


def expands(graph: FoldGraph, notes: Notes) -> None:
    for node in graph.nodes():
        if node.op not in _SUMS or node.inputs[0] is node.inputs[1]:
            continue
        copy = next((s for s in node.inputs if s.op == EXPAND or _gained(s)), None)
        if copy is None:
            continue
        other = node.inputs[1] if node.inputs[0] is copy else node.inputs[0]
        expand = copy if copy.op == EXPAND else copy.inputs[0]
        narrow = expand.inputs[0]
        height, width = node.shape[1:3] if len(node.shape) == 4 else (None, None)
        if height is None or width is None or other.shape != node.shape:
            notes.refused.append(f"{node.name}: the size of its input is not static")
            continue
        groups, channels = node.channels // narrow.channels, narrow.channels
        wide = _view(other, (height * width, groups, channels))
        copied = _view(narrow, (height * width, 1, channels))
        if copy is not expand:
            gain = constant(scale_of(copy).reshape(groups, channels))
            copied = Node("Mul", [copied, gain], {}, None, wide.shape, copy.name)
        total = Node(node.op, [wide, copied], node.attributes, None, wide.shape, node.name)
        graph.replace(node, _view(total, (height, width, node.channels)))
        notes.applied.append(node.name)


def _gained(node: Node) -> bool:
    """Whether the node is a per-channel gain on an expanded tensor: applied to the wide tensor, but also without a copy."""
    return node.op == AFFINE and node.inputs[0].op == EXPAND and not np.any(shift_of(node))


def _view(x: Node, shape: tuple[int, ...]) -> Node:
    target = constant(np.array([-1, *shape], np.int32))
    return Node("Reshape", [x, target], {}, None, (None, *shape), x.name)

"""Lets a convolution with stride 2 over an image of up to three channels read pairs of pixels.

XNNPACK multiplies in vectors of four numbers along the channels, which three channels do not fill, for each of 49 pixels of a 7x7
kernel. With x as the view (N, H, W / 2, 2 * C), whose channels are those of pixels 2 * j and 2 * j + 1, a step of two pixels is a
step of one pair:

    sum over t of k[t] * x[2 * i - before + t]  =  sum over s of (k'[2 * s], k'[2 * s + 1]) . view[i - before' + s]

k' is k with a column of zeros in front if ``before`` is odd, since pairs begin at even pixels, and one behind if its number of
columns is then odd. A 7x7 kernel over 3 channels becomes 7x4 over 6, with stride 2 along the height and 1 along the width.

Applies from kernels of 5 columns on: of 3 columns, a column of zeros would be a third more products.
"""

import numpy as np

from el_larq.converters.fold.ir import FoldGraph, Node, constant
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.windows import quantizes, view, zero_padding
from el_larq.layers.align import same_padding

MAX_CHANNELS, MIN_COLUMNS = 3, 5


def stem(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        if node.op == "Conv2D" and _reads_few_channels(node):
            reason = _rewrite(graph, node)
            (notes.refused if reason else notes.applied).append(f"{node.name}: {reason}" if reason else node.name)


def _reads_few_channels(node: Node) -> bool:
    kernel = node.inputs[1].value
    return (
        kernel is not None
        and not node.integers
        and node.attributes["strides"][2] == 2
        and kernel.shape[1] >= MIN_COLUMNS
        and kernel.shape[2] == node.inputs[0].channels <= MAX_CHANNELS
        and node.attributes.get("data_format", b"NHWC") == b"NHWC"
    )


def _rewrite(graph: FoldGraph, node: Node) -> str:
    """Replace a convolution; the reason if that is impossible."""
    kernel = np.asarray(node.inputs[1].value, np.float64)
    stride = node.attributes["strides"][1]
    if any(rate != 1 for rate in node.attributes.get("dilations", ())):
        return "its kernel is dilated"
    padded = zero_padding(node)
    if padded is None:
        return "the size of its input is not static, or its padding is not zeros"
    x, paddings = padded
    height, width = x.shape[1:3]
    assert height is not None
    assert width is not None
    if width % 2:
        return f"its input has an odd width, {width}"
    before = paddings[1][0]
    in_front = before % 2
    behind = (kernel.shape[1] + in_front) % 2
    kernel = np.pad(kernel, [(0, 0), (in_front, behind), (0, 0), (0, 0)])
    rows, columns, channels, filters = kernel.shape
    kernel = kernel.reshape(rows, columns // 2, 2 * channels, filters)
    positions = node.shape[2]
    assert positions is not None
    first = (before + in_front) // 2
    last = positions - 1 + columns // 2 - width // 2 - first
    if last < 0:
        return "its last pixels are not read"
    pairs = view(x, (height, width // 2, 2 * channels))
    wanted = (paddings[0], (first, last))
    same = (same_padding(height, rows, stride), same_padding(width // 2, columns // 2, 1))
    padding = b"SAME" if wanted == same else b"VALID"
    if padding == b"VALID" and np.any(wanted):
        amounts = np.array([(0, 0), *wanted, (0, 0)], np.int32)
        padded = (None, height + sum(wanted[0]), width // 2 + sum(wanted[1]), 2 * channels)
        pairs = Node("Pad", [pairs, constant(amounts)], {}, None, padded, x.name)
    attributes = {**node.attributes, "strides": [1, stride, 1, 1], "padding": padding, "explicit_paddings": []}
    graph.replace(node, Node("Conv2D", [pairs, constant(kernel)], attributes, None, node.shape, node.name))
    return ""

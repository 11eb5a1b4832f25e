"""Merges a link around a real-valued depthwise convolution into its kernel.

    (a * (x * K) + b) + g * x            =  x * (a * K + g at the pixel that the output is at) + b
    (a * (x * K) + b) + g * pool(x) + c  =  x * (a * K + g / s**2 at each of the s x s pixels of the pool) + (b + c)

x * K: a depthwise convolution with a stride of s, 1 without pooling; a, b, g, c: per channel, of any sign. The output at i reads
the pixels s * i - p to s * i - p + k - 1, p: the padding before, k: the kernel's size. The pool reads s * i to s * i + s - 1, which
must be among them, and in the map as a whole. Padding with zeros adds nothing to either. MobileNet's links then cost nothing.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, SUMS, FoldGraph, Node, Readers, affine, constant, scale_of, shift_of
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.windows import quantizes, whole_windows, zero_padding

_DEPTHWISE = "DepthwiseConv2dNative"


def depthwise_links(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        if node.op not in SUMS or len(node.inputs) != 2:
            continue
        readers = Readers(graph)
        for branch, link in (node.inputs, node.inputs[::-1]):
            merged = _merged(node, branch, link, readers)
            if merged is not None:
                graph.replace(node, merged)
                notes.applied.append(f"{node.name}: into the kernel of {merged.inputs[0].name}")
                break


def _merged(total: Node, branch: Node, link: Node, readers: Readers) -> Node | None:
    """The sum as an AFFINE of one convolution, if ``branch`` is one that ``link`` goes around."""
    if branch.shape != total.shape or link.shape != total.shape or not readers.only_one(branch):
        return None
    convolution = branch.inputs[0] if branch.op == AFFINE else branch
    kernel = convolution.inputs[1].value if convolution.op == _DEPTHWISE else None
    if kernel is None or kernel.shape[3] != 1 or not readers.only_one(convolution):
        return None
    if any(rate != 1 for rate in convolution.attributes.get("dilations", ())):
        return None
    padded = zero_padding(convolution)
    if padded is None:
        return None
    x, paddings = padded
    before = [amounts[0] for amounts in paddings]
    stride = convolution.attributes["strides"][1]
    gain = _gain(link, x, stride)
    if gain is None or any(not 0 <= p <= k - stride for p, k in zip(before, kernel.shape, strict=False)):
        return None
    ones = np.ones(total.channels)
    scale, shift = (scale_of(branch), shift_of(branch)) if branch.op == AFFINE else (ones, 0 * ones)
    combined = kernel.astype(np.float64) * scale[:, None]
    rows, columns = (slice(p, p + stride) for p in before)
    combined[rows, columns, :, 0] += gain[0] / stride**2
    inputs = [convolution.inputs[0], constant(combined)]
    product = Node(_DEPTHWISE, inputs, convolution.attributes, None, convolution.shape, convolution.name)
    return affine(product, 1.0, shift + gain[1], branch.name)


def _gain(link: Node, x: Node, stride: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Scale and shift per channel of a link that is an affine function of x, or of x pooled by the stride; else None."""
    scale, shift, pooled = np.ones(link.channels), np.zeros(link.channels), False
    while link is not x:
        if link.op == AFFINE:
            scale, shift = scale * scale_of(link), scale * shift_of(link) + shift
        elif link.op == "AvgPool" and not pooled and stride > 1 and whole_windows(link) == stride:
            pooled = True
        else:
            return None
        link = link.inputs[0]
    return (scale, shift) if pooled or stride == 1 else None

"""Computes a binary convolution that only global average pooling reads for the digits of summed signs, not for each position.

The mean over N positions p of a convolution with signs is the convolution with their means. S[c], the sum over p of the signs of a
channel, is an integer with the parity of N. With e = 1 if N is even, else 0, u = S + e is odd and at most N + e < 2^n in magnitude,
so it has n digits d[k] that are -1 or 1:

    mean over p of w . b[p]  =  w . S / N  =  (sum over k of 2^k * (w . d[k])  -  e * sum(w)) / N,    u = sum over k of 2^k * d[k]

The binary convolution is then computed for n positions: 6 instead of the 49 of a 7x7 map. With a kernel of several pixels, each of
them has a sum of its own, over the window of N positions that it is multiplied with.

Digits are signs too. -d[k] is the sign of f after n - k folds of a zigzag:

    f = u - 2^k,    then for j = 1 ... n - k:    f = |f| - 2^(n - j)

Each fold halves the range, so that f changes its sign at the multiples of 2^(k + 1) between -2^n and 2^n, where d[k] does, and
nowhere else between them; just below 2^n, f is negative and d[k] is 1. u is odd, so |f| >= 1, and rounding the mean S / N changes
no digit. All planes are computed together: a plane whose folds are done gets 2^n added, which |f| leaves as it is, and subtracted
in the end.

Applies where this takes fewer instructions, by the constants of `tflite/instruction_constants.py`, and where the file grows by at
most MAX_GROWTH. A convolution that is padded with zeros, with a stride or in groups is left alone.
"""

from math import ceil, prod

import numpy as np

from el_larq.converters.fold.ir import AFFINE, BINARIZE, FoldGraph, Node, Readers, affine, constant, scale_of, shift_of
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.windows import constant_bytes, quantizes, view
from el_larq.tflite import instruction_constants as cost

MAX_GROWTH, OPERATOR_BYTES = 0.01, 250
"""As a share of the bytes of all constants; the bytes of an operator with its tensors."""
MAX_POSITIONS = 2**14
"""Far below where rounding of a mean in single precision would reach a digit."""


def bit_planes(graph: FoldGraph, notes: Notes) -> None:
    if quantizes(graph):
        return
    for node in graph.nodes():
        found = _convolution(node, Readers(graph))
        if found is None:
            continue
        convolution, scale, shift = found
        positions = prod(size or 0 for size in convolution.shape[1:3])
        digits = digits_of(positions)
        reason = _refusal(graph, convolution, positions, digits)
        if reason:
            notes.refused.append(f"{convolution.name}: {reason}")
            continue
        graph.replace(node, _rewritten(convolution, scale, shift, positions, node))
        notes.applied.append(f"{convolution.name}: {digits} positions instead of {positions}")


def digits_of(positions: int) -> int:
    """The number n of digits -1 or 1 of a sum of signs."""
    return (positions + 1 - positions % 2).bit_length()


def folds(positions: int) -> np.ndarray:
    """What is added to the sum, then after each of the n absolute values, for each of the n planes: (n + 1, n)."""
    n, even = digits_of(positions), 1 - positions % 2
    steps = np.zeros((n + 1, n))
    for k in range(n):
        steps[0, k] = even - 2**k
        steps[1 : n - k + 1, k] = [-(2 ** (n - j)) for j in range(1, n - k + 1)]
        steps[n - k, k] += 2**n
        steps[n, k] -= 2**n
    return steps


def _convolution(pool: Node, readers: Readers) -> tuple[Node, np.ndarray, np.ndarray] | None:
    """The binary convolution that a node pools globally, and what its results are multiplied by and added to."""
    if pool.op != "AvgPool" or pool.shape[1:3] != (1, 1) or list(pool.attributes["ksize"][1:3]) != list(pool.inputs[0].shape[1:3]):
        return None
    x = pool.inputs[0]
    scale, shift = np.ones(x.channels), np.zeros(x.channels)
    if x.op == AFFINE and readers.only_one(x):
        x, scale, shift = x.inputs[0], scale_of(x), shift_of(x)
    return (x, scale, shift) if x.op == "Conv2D" and x.integers and readers.only_one(x) else None


def _refusal(graph: FoldGraph, convolution: Node, positions: int, digits: int) -> str:
    """Why a convolution is left as it is; "" if it is not."""
    (signs, kernel), attributes = convolution.inputs, convolution.attributes
    height, width, depth, filters = kernel.shape
    assert height is not None
    assert width is not None
    assert depth is not None
    assert filters is not None
    if list(attributes["strides"]) != [1, 1, 1, 1] or any(rate != 1 for rate in attributes.get("dilations", ())):
        return "it has a stride or is dilated"
    if depth != signs.channels or positions == 0:
        return "it has groups, or the size of its input is not static"
    if positions > MAX_POSITIONS:
        return f"it has more than {MAX_POSITIONS} positions"
    if attributes["padding"] == b"SAME" and (height, width) != (1, 1):
        return "it is padded with zeros"
    if signs.op != BINARIZE and not np.all(signs.inputs[-1].value == 1):
        return "it is not padded with ones"
    values = height * width * depth
    if 4 * digits * filters + (2 * digits + 9) * OPERATOR_BYTES > MAX_GROWTH * constant_bytes(graph):
        return "the file would grow too much"
    return "" if _saved(positions, digits, values, depth, filters) > 0 else "it takes fewer instructions as it is"


def _saved(positions: int, digits: int, values: int, channels: int, filters: int) -> float:
    """The instructions that the digits save. values: of a window, over all channels."""
    tile = cost.BINARY_STEP.instructions * ceil(values / 128) + cost.BINARY_FLOAT.instructions
    products = (ceil(positions / 4) - ceil(digits / 4)) * ceil(filters / 8) * tile
    each = (digits + 1) * cost.ELEMENTWISE.instructions + digits * cost.UNARY.instructions + cost.QUANTIZE["float32"].instructions
    sums = positions * (channels * cost.DEQUANTIZE_BITS.instructions + values * cost.POOL_TAP.instructions)
    return products - digits * values * each - sums - (2 * digits + 5) * cost.OPERATOR.instructions


def _rewritten(convolution: Node, scale: np.ndarray, shift: np.ndarray, positions: int, pool: Node) -> Node:
    signs, kernel = convolution.inputs
    assert kernel.value is not None
    height, width, channels, filters = kernel.value.shape
    n, name = digits_of(positions), convolution.name
    window = {"ksize": [1, *convolution.shape[1:3], 1], "strides": [1, 1, 1, 1], "padding": b"VALID"}
    x = Node("AvgPool", [signs], window, None, (pool.shape[0], height, width, channels), pool.name)
    shape = (pool.shape[0], height, n, width * channels)
    x = view(x, (height, 1, width * channels)) if width > 1 else x
    for number, step in enumerate(folds(positions)):
        if number:
            x = Node("Abs", [x], {}, None, shape, f"{name}/fold{number}")
        x = Node("AddV2", [x, constant((step / positions)[:, None])], {}, None, shape, f"{name}/digits{number}")
    x = view(x, (height, n * width, channels)) if width > 1 else x
    digits = Node(BINARIZE, [x], {}, None, x.shape, f"{name}/digits")
    attributes = {**convolution.attributes, "strides": [1, height, width, 1], "padding": b"VALID", "explicit_paddings": []}
    products = Node("Conv2D", [digits, kernel], attributes, None, (pool.shape[0], 1, n, filters), name, integers=True)
    weights = constant((-(2.0 ** np.arange(n)) / positions)[None, :, None, None] * scale[:, None])
    attributes = {"strides": [1, 1, 1, 1], "padding": b"VALID"}
    total = Node("DepthwiseConv2dNative", [products, weights], attributes, None, pool.shape, f"{name}/sum")
    even = (1 - positions % 2) * kernel.value.sum(axis=(0, 1, 2), dtype=np.float64) / positions
    return affine(total, 1.0, shift - scale * even, pool.name)

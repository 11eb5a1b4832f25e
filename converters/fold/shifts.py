"""Moves shifts: an addition of a constant merges with the next one, or into a convolution's bias.

For a tensor p = p' + d with shift d, and z the output of a convolution without its scale a and bias b:

    (p' + d) + c            = p' + (d + c)                     one addition instead of two
    (p' + d) + (a * z + b)  = p' + (a * z + (b + d))           the convolution's bias absorbs it
    (x + (a * z + b)) + d   = x + (a * z + (b + d))            the same, for a shift after a sum that nothing else reads
    pool(p' + d)            = pool(p') + d                     average pooling, which does not count padding
    (p' + d) @ W            = p' @ W + d @ W                   a dense layer's bias
    concat(x, y) + d        = concat(x + d_x, y + d_y)         if both can absorb their part
    concat(x + d, y + e)    = concat(x, y) + (d, e)            else, where the next addition or a bias absorbs it

If a shifted tensor has several readers (ReActNet's activations feed a sign and a shortcut), the shift is moved on separately for
each. Of ReActNet's three additions per unit, only the one before the sign remains.
"""

import numpy as np

from el_larq.converters.fold.ir import AFFINE, SUMS, FoldGraph, Node, Readers, affine, is_channel_axis, scale_of, shift_of
from el_larq.converters.fold.notes import Notes
from el_larq.converters.fold.scales import keeps_scale


def shifts(graph: FoldGraph, notes: Notes) -> None:
    # Each pass applies one rule at one node. The number of passes is limited to the number of nodes.
    for _ in range(len(graph.nodes())):
        nodes, readers = graph.nodes(), Readers(graph)
        if not any(rule(graph, node, readers, notes) for node in nodes for rule in _RULES):
            return


def is_shift(node: Node) -> bool:
    return node.op == AFFINE and bool(np.all(scale_of(node) == 1)) and bool(np.any(shift_of(node)))


def _merge(graph: FoldGraph, node: Node, readers: Readers, notes: Notes) -> bool:
    """Merge an AFFINE of an AFFINE; other readers keep the inner one. No merge if there are any and a convolution absorbs it."""
    if node.op != AFFINE or node.inputs[0].op != AFFINE:
        return False
    inner = node.inputs[0]
    if readers.absorbs(inner) and not readers.only_one(inner):
        return False
    scale, shift = scale_of(node), shift_of(node)
    merged = affine(inner.inputs[0], scale * scale_of(inner), scale * shift_of(inner) + shift, node.name)
    graph.replace(node, merged)
    notes.applied.append(f"{node.name}: merged with {inner.name}")
    return True


def _into_summand(graph: FoldGraph, node: Node, readers: Readers, notes: Notes) -> bool:
    """Merge a shift after a sum, or of one summand, into the bias of a summand that is a convolution."""
    if node.op not in SUMS:
        return False
    bias = next((s for s in node.inputs if readers.absorbs(s) and readers.only_one(s)), None)
    if bias is None or node.inputs[0] is node.inputs[1]:
        return False
    other = node.inputs[1] if node.inputs[0] is bias else node.inputs[0]
    following = readers.of(node)[0] if readers.only_one(node) and is_shift(readers.of(node)[0]) else None
    if following is not None:
        _add_to(bias, shift_of(following))
        graph.replace(following, node)
        notes.applied.append(f"{following.name}: into the bias of {bias.name}")
        return True
    if is_shift(other):
        _add_to(bias, shift_of(other))
        node.inputs = [other.inputs[0] if s is other else s for s in node.inputs]
        notes.applied.append(f"{other.name}: into the bias of {bias.name}")
        return True
    return False


def _through_pool(graph: FoldGraph, node: Node, _readers: Readers, notes: Notes) -> bool:
    if node.op not in ("AvgPool", "Mean") or not is_shift(node.inputs[0]) or not keeps_scale(node):
        return False
    shifted = node.inputs[0]
    pooled = Node(node.op, [shifted.inputs[0], *node.inputs[1:]], node.attributes, None, node.shape, node.name)
    graph.replace(node, affine(pooled, 1.0, shift_of(shifted), shifted.name))
    notes.applied.append(f"{shifted.name}: through {node.name}")
    return True


def _into_dense(graph: FoldGraph, node: Node, _readers: Readers, notes: Notes) -> bool:
    kernel = node.inputs[1].value if node.op == "MatMul" else None
    if kernel is None or not is_shift(node.inputs[0]) or node.attributes.get("transpose_a"):
        return False
    shifted = node.inputs[0]
    product = Node(node.op, [shifted.inputs[0], node.inputs[1]], node.attributes, None, node.shape, node.name)
    by_row = kernel.T if node.attributes.get("transpose_b") else kernel
    graph.replace(node, affine(product, 1.0, shift_of(shifted) @ by_row.astype(np.float64), node.name))
    notes.applied.append(f"{shifted.name}: into the bias of {node.name}")
    return True


def _through_concat(graph: FoldGraph, node: Node, readers: Readers, notes: Notes) -> bool:
    if not is_shift(node) or node.inputs[0].op != "ConcatV2":
        return False
    concat = node.inputs[0]
    *parts, axis = concat.inputs
    if (
        not is_channel_axis(axis, len(concat.shape))
        or not readers.only_one(concat)
        or not all(_can_take(part, readers) for part in parts)
    ):
        return False
    bounds = np.cumsum([0, *(part.channels for part in parts)])
    shifted = [affine(p, 1.0, shift_of(node)[a:b], node.name) for p, a, b in zip(parts, bounds, bounds[1:], strict=False)]
    graph.replace(node, Node(concat.op, [*shifted, axis], concat.attributes, None, concat.shape, concat.name))
    notes.applied.append(f"{node.name}: into the parts of {concat.name}")
    return True


def _behind_concat(graph: FoldGraph, node: Node, readers: Readers, notes: Notes) -> bool:
    if node.op != "ConcatV2" or not is_channel_axis(node.inputs[-1], len(node.shape)):
        return False
    *parts, axis = node.inputs
    # One that a convolution absorbs costs nothing where it is.
    if not all(is_shift(part) and readers.only_one(part) and not readers.absorbs(part) for part in parts):
        return False
    joined = Node(node.op, [*(part.inputs[0] for part in parts), axis], node.attributes, None, node.shape, node.name)
    graph.replace(node, affine(joined, 1.0, np.concatenate([shift_of(part) for part in parts]), parts[-1].name))
    notes.applied.append(f"{', '.join(part.name for part in parts)}: behind {node.name}")
    return True


def _can_take(node: Node, readers: Readers) -> bool:
    if not readers.only_one(node):
        return False
    return readers.absorbs(node) or (node.op in SUMS and any(readers.absorbs(s) and readers.only_one(s) for s in node.inputs))


def _add_to(bias: Node, shift: np.ndarray) -> None:
    bias.inputs = affine(bias.inputs[0], scale_of(bias), shift_of(bias) + shift).inputs


_RULES = (_merge, _into_summand, _through_pool, _into_dense, _through_concat, _behind_concat)

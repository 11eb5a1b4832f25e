"""Converts a frozen TensorFlow graph to a `FoldGraph` in normal form, so that rewrites need to match few patterns.

Whatever does not depend on the input becomes a constant; identities are removed; batch normalization, BiasAdd, and additions and
multiplications of constants become AFFINE; summands that are zero everywhere are removed; Larq's sign becomes BINARIZE; Keras'
PReLU becomes PRELU; a Split of the channels followed by AddN becomes SQUEEZE, a Tile of the channels EXPAND.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import op_def_registry

from el_larq.converters.fold.ir import (
    AFFINE,
    BINARIZE,
    EXPAND,
    INPUT,
    OUTPUT,
    PRELU,
    SQUEEZE,
    FoldGraph,
    Node,
    affine,
    constant,
    is_channel_axis,
    scale_of,
    shift_of,
)
from el_larq.converters.frozen import FrozenModel

_IDENTITIES = ("Identity", "StopGradient", "Snapshot", "CheckNumerics")


def import_graph(model: FrozenModel) -> FoldGraph:
    """The model's inference graph in normal form."""
    graph = read_graph(model)
    merge_affines(graph)
    return graph


def read_graph(model: FrozenModel) -> FoldGraph:
    """The model's inference graph, in which consecutive affine functions are not yet merged: it rounds as the model does."""
    sources, nodes = _copy(model)
    graph = FoldGraph(sources, [nodes[tensor.name] for tensor in model.outputs])
    for normalize in (_signs, _binary_kernels, _affines, _zeros, _prelus, _squeezes, _expands):
        normalize(graph)
    return graph


def _copy(model: FrozenModel) -> tuple[list[Node], dict[str, Node]]:
    """The input nodes, and the nodes of the TensorFlow graph by tensor name; constants are computed, identities skipped."""
    sources = [Node(INPUT, shape=_shape(image), name=image.op.name) for image in model.inputs]
    nodes: dict[str, Node] = {image.name: source for image, source in zip(model.inputs, sources, strict=True)}
    depends = {image.op.name for image in model.inputs}
    operations = [op for op in model.operations if op.type != "NoOp" and op.name not in depends]
    constants = []
    for operation in operations:
        if any(tensor.op.name in depends for tensor in operation.inputs):
            depends.add(operation.name)
        else:
            constants += list(operation.outputs)
    needed = {t.name for op in operations if op.name in depends for t in op.inputs} | {t.name for t in model.outputs}
    constants = [tensor for tensor in constants if tensor.name in needed]
    for tensor, value in zip(constants, model.constants(constants), strict=True):
        nodes[tensor.name] = constant(value, tensor.op.name)
    for operation in operations:
        if operation.name not in depends:
            continue
        inputs = [nodes[tensor.name] for tensor in operation.inputs]
        if operation.type in _IDENTITIES:
            nodes[operation.outputs[0].name] = inputs[0]
        elif operation.type == "IdentityN":
            for tensor, passed in zip(operation.outputs, inputs, strict=True):
                nodes[tensor.name] = passed
        else:
            node = Node(operation.type, inputs, _attributes(operation), None, _shape(operation.outputs[0]), operation.name)
            if len(operation.outputs) == 1:
                nodes[operation.outputs[0].name] = node
            else:
                for index, tensor in enumerate(operation.outputs):
                    nodes[tensor.name] = Node(OUTPUT, [node], {"index": index}, None, _shape(tensor), operation.name)
    return sources, nodes


def _shape(tensor: Any) -> tuple[int | None, ...]:
    return () if tensor.shape.rank is None else tuple(tensor.shape)


def _attributes(operation: tf.Operation) -> dict[str, Any]:
    """The attributes of an operation, without types and counts, which follow from its inputs."""
    definition = op_def_registry.get(operation.type)
    derived = set()
    for argument in definition.input_arg:
        derived |= {argument.type_attr, argument.number_attr, argument.type_list_attr}
    return {a.name: operation.get_attr(a.name) for a in definition.attr if a.name not in derived and not a.name.startswith("_")}


def _signs(graph: FoldGraph) -> None:
    for node in graph.nodes():
        if node.op != "Sign" or node.inputs[0].op != "AddV2":
            continue
        summands = node.inputs[0].inputs
        inner = [s for s in summands if s.op == "Sign"]
        shift = [s for s in summands if s.constant]
        if len(inner) == 1 and len(shift) == 1 and np.all((shift[0].value > 0) & (shift[0].value < 1)):
            graph.replace(node, Node(BINARIZE, [inner[0].inputs[0]], {}, None, node.shape, node.name))


def _binary_kernels(graph: FoldGraph) -> None:
    """Replace the kernel of each binary convolution by its signs; the magnitude of each filter is applied after it."""
    for node in graph.nodes():
        if node.op != "Conv2D" or node.inputs[1].value is None or not _binarized(node.inputs[0]):
            continue
        kernel = node.inputs[1].value
        magnitude = np.abs(kernel[0, 0, 0])
        if np.all(magnitude > 0) and np.all(np.abs(kernel) == magnitude):
            signs = constant(np.sign(kernel), node.inputs[1].name)
            product = Node(node.op, [node.inputs[0], signs], node.attributes, None, node.shape, node.name, integers=True)
            graph.replace(node, product if np.all(magnitude == 1) else affine(product, magnitude, 0.0, node.name))


def _binarized(node: Node) -> bool:
    if node.op in ("Pad", "PadV2"):
        return node.inputs[0].op == BINARIZE and all(source.constant for source in node.inputs[1:])
    return node.op == BINARIZE


def _affines(graph: FoldGraph) -> None:
    """Write inference batch normalization, BiasAdd and x op constant as scale * x + shift, with scale and shift of shape (C,)."""
    for node in graph.nodes():
        found = _as_affine(node)
        if found is not None:
            x, scale, shift = found
            graph.replace(node, affine(x, scale, shift, node.name))


def _as_affine(node: Node) -> tuple[Node, Any, Any] | None:
    if node.op == OUTPUT and node.inputs[0].op.startswith("FusedBatchNorm") and node.attributes["index"] == 0:
        norm = node.inputs[0]
        x, *parameters = norm.inputs
        if norm.attributes.get("is_training") or _channels_first(norm) or not all(p.constant for p in parameters):
            return None
        gamma, beta, mean, variance = (np.asarray(p.value, np.float64) for p in parameters)
        scale = gamma / np.sqrt(variance + norm.attributes["epsilon"])
        return x, scale, beta - mean * scale
    if (
        _channels_first(node)
        or node.op not in ("BiasAdd", "AddV2", "Add", "Sub", "Mul", "RealDiv")
        or len(node.shape) < 2
        or node.shape[-1] is None
    ):
        return None
    a, b = node.inputs
    if a.constant == b.constant:
        return None
    x, c = (b, a) if a.constant else (a, b)
    value = np.asarray(c.value, np.float64)
    # Only one value per channel, or a single one.
    if value.size not in (1, node.channels) or (value.ndim and value.size > 1 and value.shape[-1] != value.size):
        return None
    if x.shape != node.shape or not np.issubdtype(c.value.dtype, np.floating):
        return None
    if node.op in ("BiasAdd", "AddV2", "Add"):
        return x, 1.0, value
    if node.op == "Mul":
        return x, value, 0.0
    if node.op == "Sub":
        return (x, 1.0, -value) if b.constant else (x, -1.0, value)
    return (x, 1.0 / value, 0.0) if b.constant else None


def _channels_first(node: Node) -> bool:
    """Whether the data format is NC...: Keras sets it for every batch normalization along axis 1, whatever that axis is."""
    return node.attributes.get("data_format", b"").startswith(b"NC")


def _zeros(graph: FoldGraph) -> None:
    """Replace x + 0 * u by x: it occurs in a layer of interacted bit counts in which no channel corrects another."""
    for node in graph.nodes():
        if node.op not in ("AddV2", "Add"):
            continue
        for x, other in (node.inputs, node.inputs[::-1]):
            if other.op == AFFINE and x.shape == node.shape and not np.any(scale_of(other)) and not np.any(shift_of(other)):
                graph.replace(node, x)
                break


def merge_affines(graph: FoldGraph) -> None:
    """Merge an AFFINE of an AFFINE that nothing else reads into one AFFINE."""
    consumers = graph.consumers()
    for node in graph.nodes():
        if node.op == AFFINE and node.inputs[0].op == AFFINE and len(consumers[id(node.inputs[0])]) == 1:
            inner = node.inputs[0]
            (a, b), (c, d) = ((n.inputs[1].value, n.inputs[2].value) for n in (inner, node))
            node.inputs = [inner.inputs[0], constant(c * a), constant(c * b + d)]


def _prelus(graph: FoldGraph) -> None:
    """relu(x) + (-alpha) * relu(-x), as PReLU is written in Keras: by now the second term is an AFFINE without shift."""
    for node in graph.nodes():
        if node.op not in ("AddV2", "Add"):
            continue
        for positive, negative in (node.inputs, node.inputs[::-1]):
            if positive.op == "Relu" and negative.op == AFFINE and not np.any(shift_of(negative)):
                inner = negative.inputs[0]
                if inner.op == "Relu" and inner.inputs[0].op == "Neg" and inner.inputs[0].inputs[0] is positive.inputs[0]:
                    alpha = constant(-scale_of(negative))
                    graph.replace(node, Node(PRELU, [positive.inputs[0], alpha], {}, None, node.shape, node.name))
                    break


def _squeezes(graph: FoldGraph) -> None:
    for node in graph.nodes():
        if node.op != "AddN" or not all(part.op == OUTPUT for part in node.inputs):
            continue
        splits = {id(part.inputs[0]): part.inputs[0] for part in node.inputs}
        split = next(iter(splits.values()))
        indices = sorted(part.attributes["index"] for part in node.inputs)
        if len(splits) != 1 or split.op != "Split" or indices != list(range(split.attributes["num_split"])):
            continue
        axis, x = split.inputs
        if is_channel_axis(axis, len(node.shape)):
            gain = constant(np.ones(x.channels))
            graph.replace(node, Node(SQUEEZE, [x, gain], {}, None, node.shape, node.name))


def _expands(graph: FoldGraph) -> None:
    for node in graph.nodes():
        if node.op == "Tile" and node.inputs[1].constant:
            copies = np.asarray(node.inputs[1].value)
            if len(copies) == len(node.shape) and np.all(copies[:-1] == 1):
                graph.replace(node, Node(EXPAND, [node.inputs[0]], {}, None, node.shape, node.name))

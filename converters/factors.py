"""Factors and summands in the form that LCE's converter and TensorFlow get right.

Two faults would make a wrong .tflite, or none:

1. TensorFlow spells a batch normalization along the rows of (N, H, W, C) as one in the order (N, C, H, W), and its optimizer fuses
   that with a convolution in the other order. The frozen graph multiplies and adds constants of shape (1, H, 1, 1) instead.

2. LCE's converter interprets a constant of several dimensions right after a binary convolution as one per channel and makes a file
   that does not load. So it is applied to a view of the map, between two operations Reshape, where LCE leaves it alone:

       factor (1, 1, W, C) or (1, 1, W, 1)    on (N * H, W, C)
       factor (1, H, 1, 1)                    on (N, H, W * C)
       any other                              on (N, H * W * C)
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph import find_convolutions
from el_larq.converters.graph_def import add_constant, add_operation, become

_PASSED = ("Identity", "Relu", "Relu6", "StopGradient")
_BY_CONSTANT = ("Mul", "RealDiv", "Add", "AddV2", "Sub")


def with_norms_by_row(model: FrozenModel) -> FrozenModel:
    """The model with each batch normalization in the order (N, C, H, W) as a multiplication and an addition."""
    if any("NCHW" in _order(o) for o in model.operations if not o.type.startswith("FusedBatchNorm")):
        return model  # the whole model has this order, in which "rows" are channels
    norms = [o for o in model.operations if o.type.startswith("FusedBatchNorm") and _order(o) == "NCHW" and _infers(model, o)]
    if not norms:
        return model
    parameters = [np.stack([np.asarray(v, np.float64) for v in model.constants(list(o.inputs[1:]))]) for o in norms]

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for norm, (gamma, beta, mean, variance) in zip(norms, parameters, strict=True):
            x, dtype = norm.inputs[0], norm.inputs[0].dtype
            scale = gamma / np.sqrt(variance + norm.get_attr("epsilon"))
            factor = add_constant(graph, f"{norm.name}/factor", scale.reshape(1, -1, 1, 1), dtype)
            product = add_operation(graph, "Mul", f"{norm.name}/scaled", [x.name, factor], dtype)
            shift = add_constant(graph, f"{norm.name}/shift", (beta - mean * scale).reshape(1, -1, 1, 1), dtype)
            become(nodes[norm.name], "AddV2", [product, shift], dtype)

    return model.edited(change)


def _order(operation: Any) -> str:
    return operation.get_attr("data_format").decode() if "data_format" in operation.node_def.attr else ""


def _infers(model: FrozenModel, norm: Any) -> bool:
    """Whether a normalization has constant statistics and only its first output is read."""
    constant = not any(model.depends(parameter) for parameter in norm.inputs[1:])
    return constant and not norm.get_attr("is_training") and not any(output.consumers() for output in norm.outputs[1:])


def with_views(model: FrozenModel) -> FrozenModel:
    """The model in which no constant of several dimensions is right after a binary convolution."""
    operations = [operation for operation in model.operations if _by_several_dimensions(model, operation)]
    if not operations:
        return model  # without computing every kernel
    binary = {c.operation for c in find_convolutions(model) if c.kind == "Conv2D" and c.meant_binary and c.sign_input}
    changes = [change for operation in operations if (change := _change(model, operation, binary)) is not None]
    if not changes:
        return model

    def edit(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for change in changes:
            change(graph, nodes)

    return model.edited(edit)


def _by_several_dimensions(model: FrozenModel, operation: Any) -> bool:
    """Whether an operation applies a constant of several dimensions to a map."""
    position = _varying(model, operation)
    if position is None or operation.outputs[0].shape.rank != 4 or None in tuple(operation.outputs[0].shape[1:]):
        return False
    shape = operation.inputs[1 - position].shape
    return shape.rank is None or (shape.rank > 1 and shape.num_elements() != 1)


def _change(model: FrozenModel, operation: Any, binary: set[str]) -> Callable[[Any, dict[str, Any]], None] | None:
    position = _varying(model, operation)
    assert position is not None
    x, other = operation.inputs[position], operation.inputs[1 - position]
    sizes = tuple(int(size) for size in operation.outputs[0].shape[1:])
    (value,) = model.constants([other])
    if value is None or value.ndim < 2 or value.size == 1 or tuple(x.shape[1:]) != sizes or not _is_binary_result(model, x, binary):
        return None
    value = value.reshape((1,) * (4 - value.ndim) + value.shape)[0]

    def change(graph: Any, nodes: dict[str, Any]) -> None:
        node, dtype = nodes[operation.name], x.dtype
        name = node.name
        if value.shape == (1, 1, sizes[2]):
            node.input[1 - position] = add_constant(graph, f"{name}/by_channel", value.reshape(-1), dtype)
            return
        view, factor = _view(value, sizes)
        target = add_constant(graph, f"{name}/view_shape", [-1, *view], tf.int32)
        operands = [
            add_operation(graph, "Reshape", f"{name}/view", [x.name, target], dtype, Tshape=tf.int32),
            add_constant(graph, f"{name}/constant", factor[None], dtype),
        ]
        inner = add_operation(graph, operation.type, f"{name}/on_view", operands[:: 1 if position == 0 else -1], dtype)
        shape = add_constant(graph, f"{name}/shape", [-1, *sizes], tf.int32)
        become(node, "Reshape", [inner, shape], dtype, Tshape=tf.int32)

    return change


def _varying(model: FrozenModel, operation: Any) -> int | None:
    """Which operand depends on the image, of an operation of one such operand and a constant; None for other operations."""
    if operation.type not in _BY_CONSTANT:
        return None
    varying = [position for position, operand in enumerate(operation.inputs) if model.depends(operand)]
    return varying[0] if len(varying) == 1 else None


def _is_binary_result(model: FrozenModel, tensor: Any, binary: set[str]) -> bool:
    """Whether a tensor is the result of a binary convolution, with what LCE fuses into one."""
    while True:
        operation = tensor.op
        if operation.name in binary:
            return True
        if operation.type in _PASSED or operation.type == "BiasAdd" or operation.type.startswith("FusedBatchNorm"):
            tensor = operation.inputs[0]
        elif (position := _varying(model, operation)) is not None:
            tensor = operation.inputs[position]
        else:
            return False


def _view(value: np.ndarray, sizes: tuple[int, ...]) -> tuple[tuple[int, ...], np.ndarray]:
    """The shape of a view, without the batch, and the constant (H or 1, W or 1, C or 1) as it is applied there."""
    height, width, channels = sizes
    if value.shape[0] == 1:
        return (width, channels), value[0]
    if value.shape[1:] == (1, 1):
        return (height, width * channels), value[:, 0]
    return (height * width * channels,), np.broadcast_to(value, sizes).reshape(-1)

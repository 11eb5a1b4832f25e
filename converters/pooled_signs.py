"""Max pooling of signs as signs of max pooling.

A sign never decreases, so the largest sign of a window is the sign of its largest value. TensorFlow's max pooling pads with no
value at all, so this is true for "same" padding too:

    maxpool(sign(x)) = sign(maxpool(x)),    maxpool(where(x > c, 1, -1)) = where(maxpool(x) > c, 1, -1)

LCE's converter recognizes a sign only directly before a binary convolution. It then pools packed signs (LceBMaxPool2d).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel, find_source, static_value
from el_larq.converters.graph import larq_sign
from el_larq.converters.graph_def import add_operation, add_sign, become

_SELECTS = ("Select", "SelectV2")
_RISING, _FALLING = ("Greater", "GreaterEqual"), ("Less", "LessEqual")


def with_signs_of_pooling(model: FrozenModel) -> FrozenModel:
    """The model with Larq's sign, or a rising choice between two constants, after the max pooling that reads it."""
    while True:  # the next pooling in a row reads the sign that this one has moved
        found = [(operation, sign) for operation in model.operations if (sign := _pooled_sign(model, operation)) is not None]
        if not found:
            return model
        model = _moved(model, found)


@dataclass(frozen=True)
class _Sign:
    """A sign of the tensor ``real``: Larq's, or a choice by a comparison of ``real``, which is the condition's first operand."""

    real: Any
    choice: Any | None = None


def _pooled_sign(model: FrozenModel, operation: Any) -> _Sign | None:
    """The sign that a max pooling reads; None if the operation is something else."""
    if operation.type != "MaxPool" or not model.depends(operation.inputs[0]):
        return None
    tensor = find_source(operation.inputs[0], reshaped=False)
    sign = larq_sign(tensor)
    if sign is not None:
        return _Sign(sign.real)
    if tensor.op.type not in _SELECTS or tensor.op.inputs[0].op.type not in (*_RISING, *_FALLING):
        return None
    condition, *values = tensor.op.inputs
    real, threshold = condition.op.inputs
    constants = [static_value(find_source(constant)) for constant in (threshold, *values)]
    if any(constant is None or np.size(constant) != 1 for constant in constants) or not real.dtype.is_floating:
        return None
    if_true, if_false = (float(np.reshape(constant, ())) for constant in constants[1:])
    rises = if_true >= if_false if condition.op.type in _RISING else if_true <= if_false
    return _Sign(real, tensor.op) if rises and list(real.shape) == list(tensor.shape) else None


def _moved(model: FrozenModel, found: list[tuple[Any, _Sign]]) -> FrozenModel:
    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for operation, sign in found:
            name, dtype = operation.name, operation.outputs[0].dtype
            # The pooling moves to another name, so that its readers read the signs.
            pooling = graph.node.add()
            pooling.CopyFrom(nodes[name])
            pooling.name = f"{name}/pooled"
            pooling.attr["T"].type = sign.real.dtype.as_datatype_enum
            pooling.input[0] = sign.real.name
            if sign.choice is None:
                become(nodes[name], "Identity", [add_sign(graph, f"{name}/sign", pooling.name, dtype)], dtype)
                continue
            condition, *values = sign.choice.inputs
            operands = [pooling.name, condition.op.inputs[1].name]
            compared = add_operation(graph, condition.op.type, f"{name}/condition", operands, sign.real.dtype)
            become(nodes[name], "SelectV2", [compared, *(value.name for value in values)], dtype)

    return model.edited(change)

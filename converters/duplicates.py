"""Convolutions that are computed twice as one.

A layer that is called twice on the same tensor is two convolutions in the graph. LCE's converter merges them, and one of the two
would have no operator in the flatbuffer. Merged here, with what leads to them, the graph has as many convolutions as the
flatbuffer.
"""

from hashlib import sha256
from typing import Any

import numpy as np

from el_larq.converters.frozen import FrozenModel

_KINDS = ("Conv2D", "DepthwiseConv2dNative", "MatMul")


def without_duplicates(model: FrozenModel) -> FrozenModel:
    """The model with one of all operations that do the same to the same tensors, if a convolution is among them."""
    kept: dict[Any, str] = {}
    same: dict[str, str] = {}
    outputs, given = ({tensor.op.name for tensor in tensors} for tensors in (model.outputs, model.inputs))
    merged = False
    for operation in model.operations:
        # Equal stateful operations differ in their results: two calls of a dropout draw two random masks.
        if operation.name in given or operation.op_def.is_stateful or operation.name in outputs:
            continue
        inputs = tuple(_renamed(tensor.name, same) for tensor in operation.inputs)
        # Attributes with an underscore name the gradient's function, which differs by call.
        attributes = {name: value for name, value in operation.node_def.attr.items() if not name.startswith("_")}
        # Digests: a small constant's value is one of its attributes.
        digests = [(name, sha256(attributes[name].SerializeToString()).digest()) for name in sorted(attributes)]
        if operation.type == "Placeholder":  # a large constant
            (value,) = model.constants([operation.outputs[0]])
            assert value is not None
            digests.append(("value", sha256(np.ascontiguousarray(value).view(np.uint8).data).digest()))
        key = (operation.type, inputs, tuple(digests))
        name = kept.setdefault(key, operation.name)
        if name != operation.name:
            same[operation.name] = name
            merged |= operation.type in _KINDS
    if not merged:
        return model

    def change(graph: Any) -> None:
        for node in graph.node:
            for index, source in enumerate(node.input):
                node.input[index] = _renamed(source, same)

    return model.edited(change)


def _renamed(tensor: str, same: dict[str, str]) -> str:
    """A tensor's name (with or without its number) after its operation was merged into another."""
    operation, colon, number = tensor.partition(":")
    return same.get(operation, operation) + colon + number

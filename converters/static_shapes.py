"""What follows from the input's static size as constants.

Keras computes sizes, targets of reshapes and conditions from the shape of a tensor when the graph runs, even if only the batch size
is unknown. Then neither the rewrites nor the audit see how many channels come out, and a converter meets conditions that are always
true. What does not depend on the batch size becomes a constant; a condition becomes the branch that is taken.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph_def import add_constant, full_name

_SHAPES = ("Shape", "ShapeN", "Rank", "Size")
_CONDITIONS = ("If", "StatelessIf")


def with_static_shapes(model: FrozenModel) -> FrozenModel:
    """The model with everything that its input's shape determines, the batch size apart, as constants."""
    return _with_targets(_with_constants(model))


def _with_constants(model: FrozenModel) -> FrozenModel:
    """Replace tensors that follow from shapes and have the same value for every batch size."""
    values = _dependent_on_values(model)
    found = {
        tensor.name: tensor
        for operation in model.operations
        if operation.name in values or operation.type in _CONDITIONS
        for tensor in operation.inputs
        # Lists of tensors, which loops carry, are not arrays.
        if model.depends(tensor) and tensor.op.name not in values and tensor.dtype != tf.variant
    }
    if not found:
        return model
    tensors = list(found.values())
    run = model.fetch(tensors)
    two, three = (run(model.zeros(count)) for count in (2, 3))
    fixed = {t.name: a for t, a, b in zip(tensors, two, three, strict=True) if np.array_equal(a, b)}
    if not fixed:
        return model

    def change(graph: Any) -> None:
        named = {}
        for name, value in fixed.items():
            named[name] = add_constant(graph, f"{name.replace(':', '_')}_static", value, tf.dtypes.as_dtype(value.dtype))
        for node in graph.node:
            for index, source in enumerate(node.input):
                node.input[index] = named.get(full_name(source), source)
        _take_branches(graph, {named[name]: bool(value) for name, value in fixed.items() if value.shape == ()})

    return model.edited(change)


def _take_branches(graph: Any, conditions: dict[str, bool]) -> None:
    """Replace each condition that is known by a call of the branch that is taken."""
    for node in graph.node:
        if node.op in _CONDITIONS and node.input[0] in conditions:
            branch = node.attr["then_branch" if conditions[node.input[0]] else "else_branch"]
            node.attr["f"].CopyFrom(branch)
            node.op = "PartitionedCall"
            del node.input[0]
            for name in ("Tcond", "then_branch", "else_branch", "output_shapes", "_lower_using_switch_merge"):
                node.attr.pop(name, None)


def _with_targets(model: FrozenModel) -> FrozenModel:
    """Replace the target of every Reshape where the batch size alone is missing by (-1, ...)."""
    found = [o for o in model.operations if o.type == "Reshape" and model.depends(o.inputs[1])]
    if not found:
        return model
    run = model.fetch([o.outputs[0] for o in found])
    two, three = ([y.shape for y in run(model.zeros(count))] for count in (2, 3))
    targets = {o.name: target for o, a, b in zip(found, two, three, strict=True) if (target := _target(a, b))}

    def change(graph: Any) -> None:
        for node in list(graph.node):
            if node.name in targets:
                node.input[1] = add_constant(graph, f"{node.name}/static_shape", targets[node.name], tf.int32)
                node.attr["Tshape"].type = tf.int32.as_datatype_enum

    return model.edited(change) if targets else model


def _dependent_on_values(model: FrozenModel) -> set[str]:
    """Names of the operations that depend on the input's values, not only on its shape."""
    found = {tensor.op.name for tensor in model.inputs}
    for operation in model.operations:
        if operation.type not in _SHAPES and any(tensor.op.name in found for tensor in operation.inputs):
            found.add(operation.name)
    return found


def _target(two: tuple[int, ...], three: tuple[int, ...]) -> list[int] | None:
    """The constant target, from the shapes for a batch of two and of three; None if several sizes depend on the batch."""
    changing = [a != b for a, b in zip(two, three, strict=True)]
    return [-1 if changes else size for changes, size in zip(changing, two, strict=True)] if sum(changing) == 1 else None

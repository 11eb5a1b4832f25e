"""Layer normalization in operators that LCE has.

Keras computes it as a batch normalization in training, on a view (1, rows, values, 1) of the map in which each row is a channel:

    y = (x - mean(x)) / sqrt(variance(x) + epsilon)          over the values of each row

LCE's runtime has no batch normalization in training, but it has everything that this consists of. No statistics of a batch are
involved, unlike in a batch normalization that is called with training=True.
"""

from typing import Any

import tensorflow as tf

from el_larq.converters.frozen import FrozenModel, static_value
from el_larq.converters.graph_def import add_constant, add_operation


def with_moments(model: FrozenModel) -> FrozenModel:
    """The model with its layer normalizations as means, products and reciprocal square roots."""
    found = {operation.name: operation for operation in model.operations if _is_layer_normalization(operation)}
    if not found:
        return model

    def change(graph: Any) -> None:
        normalized = {name: _add(graph, operation) for name, operation in found.items()}
        for node in graph.node:
            for index, source in enumerate(node.input):
                node.input[index] = normalized.get(source.removesuffix(":0"), source)

    return model.edited(change)


def _is_layer_normalization(operation: Any) -> bool:
    """Whether an operation normalizes each row of one view with its own statistics, without scale and shift.

    Keras fills vectors with the scale 1 and the shift 0, since it takes the number of rows from the batch.
    """
    if operation.type != "FusedBatchNormV3" or not operation.get_attr("is_training"):
        return False
    x, scale, shift = operation.inputs[:3]
    if operation.get_attr("data_format") != b"NCHW" or x.shape.rank != 4 or (x.shape[0], x.shape[3]) != (1, 1):
        return False
    filled = [static_value(y.op.inputs[1]) if y.op.type == "Fill" else static_value(y) for y in (scale, shift)]
    return all(value is not None and (value == wanted).all() for value, wanted in zip(filled, (1, 0), strict=True))


def _add(graph: Any, operation: Any) -> str:
    x, dtype, name = operation.inputs[0], operation.inputs[0].dtype, operation.name
    axes = add_constant(graph, f"{name}/axes", [2, 3], tf.int32)

    def mean(part: str, source: str) -> str:
        y = add_operation(graph, "Mean", f"{name}/{part}", [source, axes], dtype, Tidx=tf.int32)
        graph.node[-1].attr["keep_dims"].b = True
        return y

    centered = add_operation(graph, "Sub", f"{name}/centered", [x.name, mean("mean", x.name)], dtype)
    variance = mean("variance", add_operation(graph, "Square", f"{name}/squared", [centered], dtype))
    epsilon = add_constant(graph, f"{name}/epsilon", operation.get_attr("epsilon"), dtype)
    larger = add_operation(graph, "AddV2", f"{name}/larger", [variance, epsilon], dtype)
    factor = add_operation(graph, "Rsqrt", f"{name}/factor", [larger], dtype)
    return add_operation(graph, "Mul", f"{name}/normalized", [centered, factor], dtype)

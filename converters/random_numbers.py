"""Operators that draw random numbers.

Numbers that change from call to call cannot be in a .tflite. Stateless operators compute theirs from a seed: with one that is a
constant of the graph they are constants, and become such. A seed that is a variable may change with each call, as that of Keras 3.
"""

import re
from typing import Any

import tensorflow as tf

from el_larq.converters.frozen import FrozenModel, dependencies_of
from el_larq.converters.graph import layer_name
from el_larq.errors import ElLarqError

_STATEFUL = re.compile(
    r"Random(Uniform|UniformInt|StandardNormal|Shuffle|Gamma|Poisson|PoissonV2)|(Parameterized)?TruncatedNormal|Multinomial"
    r"|Stateful(Standard|Truncated|Uniform|Random)\w*|RngReadAndSkip"
)
"""Operators that Keras' layers draw random numbers with, Dropout and noise among them."""
_STATELESS = re.compile(r"Stateless(Random(?!Get)|TruncatedNormal|Multinomial|ParameterizedTruncatedNormal|Shuffle)\w*")


def check_not_random(model: FrozenModel) -> None:
    """Raise ElLarqError, naming the layer, if a result differs from call to call, since the numbers would be frozen."""
    for operation in model.operations:
        if _STATEFUL.fullmatch(operation.type) or (
            _STATELESS.fullmatch(operation.type) and _from_variable(operation, model.variables)
        ):
            layer = re.sub(r"(/dropout)?(/(random|stateless|stateful|truncated)_\w+)?$", "", layer_name(operation.name, model.name))
            raise ElLarqError(
                f"layer {layer} draws random numbers at inference (a Dropout or noise layer called with training=True?), so its "
                "result differs from call to call; call it without training=True and save the model again"
            )


def _from_variable(operation: Any, variables: frozenset[str]) -> bool:
    return any(source.name in variables for tensor in operation.inputs[1:] for source in dependencies_of(tensor))


def with_drawn_numbers(model: FrozenModel) -> FrozenModel:
    """The model with the numbers that stateless operators draw from constant seeds as constants."""
    drawn = [o for o in model.operations if _STATELESS.fullmatch(o.type) and not model.depends(o.outputs[0])]
    if not drawn:
        return model
    values = dict(zip((o.name for o in drawn), model.constants([o.outputs[0] for o in drawn]), strict=True))

    def change(graph: Any) -> None:
        for node in graph.node:
            if node.name in values:
                name, value = node.name, values[node.name]
                node.Clear()
                node.op, node.name = "Const", name
                node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
                node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))

    return model.edited(change)


def reason_against_drawing(operation: Any, model: FrozenModel) -> str | None:
    """Why a stateless operator that is left cannot be converted; None for other operators."""
    if not _STATELESS.fullmatch(operation.type):
        return None
    if any(map(model.depends, operation.inputs[1:])):
        return "draws random numbers from a seed that depends on the input, for which LCE's runtime has no operator"
    return (
        "draws random numbers for a whole batch, so the result of an image depends on its place in the batch; "
        "draw them in the shape of one image"
    )

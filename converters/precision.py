"""A graph in single precision, whatever its layers compute in: LCE's converter has no operators of half or double precision.

A model trained under mixed precision keeps float32 variables and casts them; without the casts, it computes the same, more
precisely.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel

_OTHERS = (tf.float16, tf.bfloat16, tf.float64)
_NUMBERS = {dtype.as_datatype_enum for dtype in _OTHERS}


def other_precision(model: FrozenModel) -> str | None:
    """The floating-point type other than float32 in which the model computes; None if there is none."""
    types = [tensor.dtype for operation in model.operations for tensor in operation.outputs]
    return next((dtype.name for dtype in types if dtype in _OTHERS), None)


def with_single_precision(model: FrozenModel) -> FrozenModel:
    """The model with float32 in place of every other floating-point type, that of its inputs and outputs included."""
    if other_precision(model) is None:
        return model

    def change(graph: Any) -> None:
        for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
            for node in nodes:
                _change(node)
        for node in graph.node:
            _omit_cast(node)
        _rename_functions(graph)
        for function in graph.library.function:
            for argument in (*function.signature.input_arg, *function.signature.output_arg):
                argument.type = _single(argument.type)

    return model.edited(change, [tf.float32 if tensor.dtype in _OTHERS else tensor.dtype for tensor in model.inputs])


def _rename_functions(graph: Any) -> None:
    """Give changed functions names of their own: the model's functions stay registered with TensorFlow under theirs."""
    names = {function.signature.name: f"{function.signature.name}_single" for function in graph.library.function}
    for function in graph.library.function:
        function.signature.name = names[function.signature.name]
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            node.op = names.get(node.op, node.op)
            for value in node.attr.values():
                for called in (*([value.func] if value.HasField("func") else []), *value.list.func):
                    called.name = names.get(called.name, called.name)


def _single(number: int) -> int:
    return tf.float32.as_datatype_enum if number in _NUMBERS else number


def _change(node: Any) -> None:
    for value in node.attr.values():
        kind = value.WhichOneof("value")
        if kind == "type":
            value.type = _single(value.type)
        elif kind == "list" and value.list.type:
            value.list.type[:] = [_single(number) for number in value.list.type]
        elif kind == "tensor" and value.tensor.dtype in _NUMBERS:
            value.tensor.CopyFrom(tf.make_tensor_proto(tf.make_ndarray(value.tensor).astype(np.float32)))
    if node.op == "FusedBatchNormV3":
        node.attr["U"].type = tf.float32.as_datatype_enum


def _omit_cast(node: Any) -> None:
    """Turn a cast to the same type into an identity. In functions it stays: there its reader names the output of a Cast."""
    if node.op == "Cast" and node.attr["SrcT"].type == node.attr["DstT"].type:
        node.op = "Identity"
        node.attr["T"].type = node.attr["DstT"].type
        for name in ("SrcT", "DstT", "Truncate"):
            node.attr.pop(name, None)

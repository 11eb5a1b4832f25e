"""Freezes a traced function: variables become constants, calls of functions are inlined, and operations
that no output depends on are removed.

TensorFlow's own `convert_variables_to_constants_v2` keeps whatever an output must wait for, such as a metric that a layer updates,
and then fails, since a constant cannot be assigned to. It also turns conditions and loops into operations that no converter reads.
Its parts are called here with other settings, and the graph is cleaned in between.

Large constants are not in the graph: each is a placeholder that the function captures, so that TensorFlow copies no weights when
it copies a graph. A captured variable shares its memory with the model.
"""

from typing import Any

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.framework import convert_to_constants, func_graph

from el_larq.converters.graph_def import keep_needed

LARGE = 2**14
"""The number of values from which a constant is kept outside the graph."""

_DRAWING = ("RngReadAndSkip", "RngSkip")
"""Operators on the state of a random number generator, a variable that they change. They stay, so that they can be reported."""


def freeze(function: Any) -> Any:
    """The graph of a concrete function without variables, calls and side effects. It captures its large constants."""
    data = _Data(func=function, lower_control_flow=False, aggressive_inlining=True)
    graph, _ = convert_to_constants._replace_variables_by_constants(converter_data=data)
    captures = {tensor.op.name for tensor in function.graph.internal_captures}
    inputs = [tensor for tensor in function.inputs if tensor.op.name not in captures]
    weights = data.weights | _take_constants(graph)
    keep_needed(graph, [tensor.name for tensor in (*function.outputs, *inputs)])
    left = {node.name for node in graph.node}
    for called in graph.library.function:  # otherwise, TensorFlow would keep those of the same name as they were
        if context.context().has_function(called.signature.name):
            context.context().remove_function(called.signature.name)
    define_functions(graph)  # also because TensorFlow removes them once more when it deletes the traced function
    frozen = func_graph.FuncGraph("frozen")
    with frozen.as_default():
        tf.graph_util.import_graph_def(graph, name="")
    frozen.inputs = [frozen.get_tensor_by_name(tensor.name) for tensor in inputs]
    frozen.outputs = [frozen.get_tensor_by_name(tensor.name) for tensor in function.outputs]
    for tensor, given in zip(frozen.inputs, inputs, strict=True):
        tensor.set_shape(given.shape)  # a scalar's is lost
    for name, value in weights.items():
        if name in left:
            frozen.add_capture(value, frozen.get_tensor_by_name(f"{name}:0"))
    return frozen


def define_functions(graph: Any) -> None:
    """Make the functions that the conditions and loops of a GraphDef call known to TensorFlow, which executes them by name."""
    for called in graph.library.function:
        if not context.context().has_function(called.signature.name):
            context.context().add_function_def(called)


class _Data(convert_to_constants._FunctionConverterDataInEager):
    """The constants that variables are replaced by. Large ones become placeholders instead.

    weights: their values, by the placeholder's name.
    """

    def _build_tensor_data(self) -> None:
        self.weights: dict[str, Any] = {}
        readers: dict[str, list[Any]] = {}
        for node in self.graph_def.node:
            for source in node.input:
                readers.setdefault(source.removeprefix("^").split(":")[0], []).append(node)
        taken = set()
        for value, inner in self._func.graph.captures:
            name = inner.op.name
            if value.dtype != tf.resource:
                if is_large(value):
                    self.weights[name] = value
                    taken.add(name)
            elif any(node.op in _DRAWING for node in readers.get(name, [])):
                self.weights[name] = value
                taken.add(name)
            elif (found := _reads(name, readers)) and is_large(read := _read(value, found[0])):
                _become_placeholder(found[0], read)
                self.weights[found[0].name] = read
                taken.add(name)
                for node in found[1:]:
                    for reader in readers.get(node.name, []):
                        _redirect(reader, node.name, found[0].name)
        self._variable_names_denylist = taken
        super()._build_tensor_data()


def is_large(tensor: Any) -> bool:
    return (tensor.shape.num_elements() or 0) >= LARGE


def _reads(variable: str, readers: dict[str, list[Any]]) -> list[Any]:
    """The nodes that read a variable's value; none if other nodes use it too."""
    found, stack = [], [variable]
    while stack:
        for node in readers.get(stack.pop(), []):
            if node.op == "ReadVariableOp":
                found.append(node)
            elif node.op == "Identity":
                stack.append(node.name)
            else:
                return []
    return found


def _read(variable: Any, node: Any) -> Any:
    return tf.raw_ops.ReadVariableOp(resource=variable, dtype=node.attr["dtype"].type)


def _redirect(reader: Any, old: str, new: str) -> None:
    reader.input[:] = [new if source.split(":")[0] == old else source for source in reader.input]


def _take_constants(graph: Any) -> dict[str, Any]:
    """Turn large constants of the graph into placeholders; returns their values by name."""
    found = {}
    for node in graph.node:
        if node.op == "Const":
            shape = tf.TensorShape(node.attr["value"].tensor.tensor_shape)
            if (shape.num_elements() or 0) >= LARGE and node.attr["dtype"].type != tf.string.as_datatype_enum:
                found[node.name] = tf.constant(tf.make_ndarray(node.attr["value"].tensor))
                _become_placeholder(node, found[node.name])
    return found


def _become_placeholder(node: Any, value: Any) -> None:
    name = node.name
    node.Clear()
    node.op, node.name = "Placeholder", name
    node.attr["dtype"].type = value.dtype.as_datatype_enum
    node.attr["shape"].shape.CopyFrom(value.shape.as_proto())

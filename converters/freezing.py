"""Freezes a traced function: variables become constants, calls of functions are inlined, what does not lead to an output goes.

TensorFlow's own `convert_variables_to_constants_v2` keeps whatever an output must wait for, such as a metric that a layer updates,
and then fails, since a constant cannot be assigned to. It also turns conditions and loops into operations that no converter reads.
Its parts are called here with other settings, and the graph is cleaned in between.
"""

from typing import Any

from tensorflow.python.framework import convert_to_constants


def freeze(function: Any) -> Any:
    """The concrete function without variables, calls and side effects."""
    data = convert_to_constants._FunctionConverterDataInEager(func=function, lower_control_flow=False, aggressive_inlining=True)
    graph, converted = convert_to_constants._replace_variables_by_constants(converter_data=data)
    _clean(graph, [tensor.op.name for tensor in function.outputs] + [tensor.op.name for tensor in function.inputs])
    return convert_to_constants._construct_concrete_function(function, graph, converted)


def _clean(graph: Any, needed: list[str]) -> None:
    """Remove control edges and every node that no needed node depends on."""
    nodes = {node.name: node for node in graph.node}
    stack, kept = list(needed), set()
    while stack:
        name = stack.pop()
        if name in kept or name not in nodes:
            continue
        kept.add(name)
        node = nodes[name]
        inputs = [source for source in node.input if not source.startswith("^")]
        del node.input[:]
        node.input.extend(inputs)
        stack.extend(source.split(":")[0] for source in inputs)
    # Not remove(node), which compares the nodes before it, with all their constants.
    for index in reversed(range(len(graph.node))):
        if graph.node[index].name not in kept:
            del graph.node[index]

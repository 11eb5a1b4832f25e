"""Freezes a traced function: variables become constants, calls of functions are inlined, what does not lead to an output goes.

TensorFlow's own `convert_variables_to_constants_v2` keeps whatever an output must wait for, such as a metric that a layer updates,
and then fails, since a constant cannot be assigned to. It also turns conditions and loops into operations that no converter reads.
Its parts are called here with other settings, and the graph is cleaned in between.
"""

import ctypes
import gc
from typing import Any

from tensorflow.python.framework import convert_to_constants

# The size of a graph, in bytes, from which memory is collected: it takes a tenth of a second.
_LARGE = 2**23


def freeze(function: Any) -> Any:
    """The concrete function without variables, calls and side effects."""
    data = convert_to_constants._FunctionConverterDataInEager(func=function, lower_control_flow=False, aggressive_inlining=True)
    graph, converted = convert_to_constants._replace_variables_by_constants(converter_data=data)
    _clean(graph, [tensor.op.name for tensor in function.outputs] + [tensor.op.name for tensor in function.inputs])
    frozen = convert_to_constants._construct_concrete_function(function, graph, converted)
    size = graph.ByteSize()
    graph.Clear()  # a closure of the function holds it, though it has been imported
    if size >= _LARGE:
        _return_memory()
    return frozen


def _return_memory() -> None:
    """Collect garbage: graphs are circular and hold their constants. Then give what is free back to the system, where glibc can."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


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

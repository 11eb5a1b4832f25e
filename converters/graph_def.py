"""Changes of a GraphDef: nodes that the workarounds for LCE's converter insert, and the part of a graph that tensors need."""

from collections.abc import Container, Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf


def add_constant(graph: Any, name: str, value: Any, dtype: tf.DType) -> str:
    """Add a constant; returns its name."""
    node = graph.node.add(name=_unique(graph, name), op="Const")
    node.attr["dtype"].type = dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(np.asarray(value), dtype))
    return node.name


def add_sign(graph: Any, name: str, source: str, dtype: tf.DType) -> str:
    """Add Larq's sign of a tensor, which is 1 at 0: sign(sign(x) + 0.1); returns its name."""
    inner = add_operation(graph, "Sign", f"{name}/inner", [source], dtype)
    shift = add_constant(graph, f"{name}/shift", 0.1, dtype)
    shifted = add_operation(graph, "AddV2", f"{name}/shifted", [inner, shift], dtype)
    return add_operation(graph, "Sign", name, [shifted], dtype)


def add_padding(graph: Any, name: str, source: str, amounts: Any, dtype: tf.DType, value: float | None = None) -> str:
    """Add constant padding of a tensor, with zeros by default; returns its name.

    amounts: before and after, along each axis of the tensor.
    """
    inputs = [source, add_constant(graph, f"{name}/amounts", amounts, tf.int32)]
    if value is not None:
        inputs.append(add_constant(graph, f"{name}/value", value, dtype))
    return add_operation(graph, "Pad" if value is None else "PadV2", name, inputs, dtype, Tpaddings=tf.int32)


def add_operation(graph: Any, op: str, name: str, inputs: Sequence[str], dtype: tf.DType, **types: tf.DType) -> str:
    """Add an operation on ``dtype``, with further type attributes by name; returns its name."""
    node = graph.node.add(name=_unique(graph, name), op=op, input=inputs)
    for attribute, value in {"T": dtype, **types}.items():
        node.attr[attribute].type = value.as_datatype_enum
    return node.name


def become(node: Any, op: str, inputs: Sequence[str], dtype: tf.DType, **types: tf.DType) -> None:
    """Turn a node into another operation under its name, so that its readers need not change."""
    name = node.name
    node.Clear()
    node.op, node.name = op, name
    node.input.extend(inputs)
    for attribute, value in {"T": dtype, **types}.items():
        node.attr[attribute].type = value.as_datatype_enum


def keep_needed(graph: Any, tensors: Iterable[str], given: Container[str] = ()) -> None:
    """Remove control edges, colocation with nodes that may be removed, and every node that none of the tensors depends on.

    given: tensors that are not computed, so what they depend on is not needed.
    """
    nodes = {node.name: node for node in graph.node}
    stack, kept = [name for name in tensors if name not in given], set()
    while stack:
        name = stack.pop().partition(":")[0]
        if name in kept or name not in nodes:
            continue
        kept.add(name)
        node = nodes[name]
        inputs = [source for source in node.input if not source.startswith("^")]
        del node.input[:]
        node.input.extend(inputs)
        node.attr.pop("_class", None)
        stack.extend(source for source in inputs if full_name(source) not in given)
    # Not remove(node), which compares the nodes before it, with all their constants.
    for index in reversed(range(len(graph.node))):
        if graph.node[index].name not in kept:
            del graph.node[index]


def full_name(source: str) -> str:
    """The name of the tensor that a node's input refers to: "name:0" for "name"."""
    return source if ":" in source else f"{source}:0"


def _unique(graph: Any, name: str) -> str:
    """A name that no node has yet: several workarounds may concern one convolution."""
    names = {node.name for node in graph.node}
    return next(unique for unique in (name, *(f"{name}_{number}" for number in range(1, len(names) + 2))) if unique not in names)

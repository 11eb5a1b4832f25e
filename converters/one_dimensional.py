"""Binary one-dimensional convolutions as two-dimensional ones.

Keras computes a Conv1D as a Conv2D on a map of height 1: sign, padding, ExpandDims, Conv2D. LCE's converter recognizes no sign in
front of ExpandDims and leaves such a convolution real-valued. All of these act on each value alone, or move values, so the new axis
can come first:

    conv(expand(pad(sign(x)))) = conv(pad(sign(expand(x))))
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel, find_source
from el_larq.converters.graph import constant_padding, larq_sign
from el_larq.converters.graph_def import add_constant, add_operation, add_padding, add_sign


@dataclass(frozen=True)
class _Site:
    """A convolution, the tensor whose signs it reads, the position of the new axis, and the padding, (3, 2), with its value."""

    name: str
    real: Any
    axis: int
    paddings: np.ndarray | None
    value: float


def with_two_dimensions(model: FrozenModel) -> FrozenModel:
    """The model with the sign of every one-dimensional convolution after the new axis."""
    sites = [site for operation in model.operations if operation.type == "Conv2D" and (site := _site(model, operation)) is not None]
    if not sites:
        return model

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for site in sites:
            dtype = site.real.dtype
            axis = add_constant(graph, f"{site.name}/axis", site.axis, tf.int32)
            expanded = add_operation(graph, "ExpandDims", f"{site.name}/expanded", [site.real.name, axis], dtype, Tdim=tf.int32)
            signs = add_sign(graph, f"{site.name}/signs", expanded, dtype)
            if site.paddings is not None:
                amounts = np.insert(site.paddings, site.axis, 0, axis=0)
                signs = add_padding(graph, f"{site.name}/padded", signs, amounts, dtype, site.value)
            nodes[site.name].input[0] = signs

    return model.edited(change)


def _site(model: FrozenModel, operation: Any) -> _Site | None:
    expanded = find_source(operation.inputs[0]).op
    if expanded.type != "ExpandDims" or expanded.inputs[0].shape.rank != 3:
        return None
    (axis,) = model.constants([expanded.inputs[1]])
    inner, paddings, value = find_source(expanded.inputs[0]), None, 0.0
    padding = constant_padding(model, inner)
    if padding is not None:
        if padding.amounts is None or padding.value is None:
            return None
        paddings, value = padding.amounts, padding.value
        inner = find_source(inner.op.inputs[0])
    sign = larq_sign(inner)
    if sign is None or axis is None or int(axis) % 4 not in (1, 2):
        return None
    return _Site(operation.name, sign.real, int(axis) % 4, paddings, value)

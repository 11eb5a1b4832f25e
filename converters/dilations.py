"""Dilated convolutions as one operation each.

Keras computes a dilated convolution on a rearranged map: SpaceToBatchND, a VALID convolution, BatchToSpaceND. In this form neither
a sign in front of the convolution nor its padding is recognizable; so the three become one convolution with dilations, which
computes the same:

    SpaceToBatchND pads by (p, q + e), where e makes the size a multiple of the rate, and BatchToSpaceND crops (0, e):
    a convolution of the map padded by (p, q)

TensorFlow itself runs no depthwise convolution with dilations, but for single precision on x86. No depthwise convolution is binary,
so these change last, in a graph that is only saved.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.graph_def import add_constant, add_operation, add_padding, become
from el_larq.layers.align import same_padding

_CONVOLUTIONS = ("Conv2D",)
_DEPTHWISE = ("DepthwiseConv2dNative",)


@dataclass(frozen=True)
class _Site:
    """The operations SpaceToBatchND, Conv2D and BatchToSpaceND, the rates and the padding for height and width.

    expand, squeeze: in one dimension, the operations around the convolution that add and remove the height.
    """

    before: Any
    convolution: Any
    after: Any
    rates: list[int]
    paddings: list[tuple[int, int]]
    expand: Any | None = None
    squeeze: Any | None = None


def with_dilations(model: FrozenModel, depthwise: bool = False) -> FrozenModel:
    """The model with each of its dilated convolutions, or depthwise convolutions, as one operation."""
    kinds = _DEPTHWISE if depthwise else _CONVOLUTIONS
    found = [site for operation in model.operations if (site := _site(model, operation, kinds)) is not None]
    if not found:
        return model

    def change(graph: Any) -> None:
        nodes = {node.name: node for node in graph.node}
        for site in found:
            _change(graph, nodes, site)

    return model.edited(change)


def _change(graph: Any, nodes: dict[str, Any], site: _Site) -> None:
    name, dtype, source = site.convolution.name, site.convolution.inputs[0].dtype, site.before.inputs[0].name
    if site.expand is not None:
        axis = add_constant(graph, f"{name}/axis", 1, tf.int32)
        source = add_operation(graph, "ExpandDims", f"{name}/expanded", [source, axis], dtype, Tdim=tf.int32)
    node = nodes[name]
    # LCE leaves a binary convolution with dilations along an axis where the kernel has one pixel real-valued.
    rates = [rate if size > 1 else 1 for rate, size in zip(site.rates, site.convolution.inputs[1].shape[:2], strict=True)]
    node.attr["dilations"].list.i[:] = [1, *rates, 1]
    if not np.any(site.paddings):
        node.attr["padding"].s = b"VALID"
    elif _is_same(site):
        node.attr["padding"].s = b"SAME"
    else:
        source = add_padding(graph, f"{name}/padded", source, [(0, 0), *site.paddings, (0, 0)], dtype)
    node.input[0] = source
    become(nodes[site.after.name], "Identity", [name if site.squeeze is None else site.squeeze.name], dtype)


def _site(model: FrozenModel, after: Any, kinds: tuple[str, ...]) -> _Site | None:
    """The dilated convolution that ``after`` ends, if it does."""
    if after.type != "BatchToSpaceND":
        return None
    convolution, squeeze, expand = after.inputs[0].op, None, None
    if convolution.type == "Squeeze":
        convolution, squeeze = convolution.inputs[0].op, convolution
    if convolution.type not in kinds or len(convolution.outputs[0].consumers()) != 1:
        return None
    before = convolution.inputs[0].op
    if squeeze is not None:
        before, expand = before.inputs[0].op if before.type == "ExpandDims" else before, before
    if before.type != "SpaceToBatchND" or before.inputs[0].shape.rank != (4 if squeeze is None else 3):
        return None
    if convolution.get_attr("padding") != b"VALID" or convolution.get_attr("data_format") != b"NHWC":
        return None
    if any(value != 1 for value in [*convolution.get_attr("strides"), *convolution.get_attr("dilations")]):
        return None
    values = model.constants([*before.inputs[1:], *after.inputs[1:]])
    axis = 1 if expand is None else model.constants([expand.inputs[1]])[0]
    if any(value is None for value in values) or axis is None or int(axis) % 4 != 1:
        return None
    rates, padded, rates_after, crops = (np.asarray(value) for value in values)
    dimensions = 2 if squeeze is None else 1
    if rates.shape != (dimensions,) or not np.array_equal(rates, rates_after):
        return None
    if np.any(crops[:, 0]) or np.any(crops[:, 1] > padded[:, 1]):
        return None
    paddings = [(int(p), int(q - e)) for (p, q), (_, e) in zip(padded, crops, strict=True)]
    if squeeze is not None:
        return _Site(before, convolution, after, [1, int(rates[0])], [(0, 0), *paddings], expand, squeeze)
    return _Site(before, convolution, after, [int(rate) for rate in rates], paddings)


def _is_same(site: _Site) -> bool:
    """Whether the padding is that of SAME at stride 1, where it is the same for every size."""
    kernel = site.convolution.inputs[1].shape
    same = [same_padding(1, (kernel[axis] - 1) * site.rates[axis] + 1, stride=1) for axis in (0, 1)]
    return None not in tuple(site.before.inputs[0].shape[1:]) and site.paddings == same

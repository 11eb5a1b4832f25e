"""The gated link of BBG: y = z + g * pool(x), one learned gate per channel; see `el_larq.layers.gated_link`.

Where the number of channels changes, y = z: the features pass through the network's own shortcut, whose normalization already
acts as a gate.
"""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.links.link import Link, Shape
from el_larq.links.link_option import LinkOption

if TYPE_CHECKING:
    import tensorflow as tf


def _fits(x: Shape, z: Shape) -> bool:
    return x[-1] == z[-1]


def _join(x: "tf.Tensor", z: "tf.Tensor", conv: Conv, **options: Any) -> "tf.Tensor":
    from el_larq.layers import GatedLink

    return GatedLink(strides=conv.strides, name=f"{conv.name}_link", **options)([x, z])


LINK = Link(
    name="gated",
    summary="the input, pooled by the stride and weighted by a gate per channel, where the channels agree (BBG)",
    join=_join,
    fits=_fits,
    residual=True,
    cost="one addition per value; one multiplication per value for at most one gate in a run of equal widths",
    declares=(LinkOption("gate_initializer", float), LinkOption("positive", bool)),
)

"""The gated link of BBG: y = z + g * pool(x), one learned gate per channel; see `el_larq.layers.gated_link`.

Where the number of channels changes, y = z: the features pass through the network's own shortcut, whose normalization already
acts as a gate.
"""

from typing import TYPE_CHECKING, Any

from el_larq.conv import Conv
from el_larq.links.link import Link

if TYPE_CHECKING:
    import tensorflow as tf


def _join(x: "tf.Tensor", z: "tf.Tensor", conv: Conv, **options: Any) -> "tf.Tensor":
    from el_larq.layers import GatedLink

    if x.shape[-1] != z.shape[-1]:
        return z
    return GatedLink(strides=conv.strides, name=f"{conv.name}_link", **options)([x, z])


LINK = Link(
    name="gated",
    summary="the input, pooled by the stride and weighted by a gate per channel, where the channels agree (BBG)",
    join=_join,
    residual=True,
    cost="one addition per value; one multiplication per value for at most one gate in a run of equal widths",
)

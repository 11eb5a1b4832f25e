"""The identity link of Bi-Real Net: y = z + x where the shapes agree, y = z where they do not."""

from typing import TYPE_CHECKING

from el_larq.conv import Conv
from el_larq.links.link import Link, Shape

if TYPE_CHECKING:
    import tensorflow as tf


def _fits(x: Shape, z: Shape) -> bool:
    return list(x) == list(z)


def _join(x: "tf.Tensor", z: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    import tf_keras as keras

    return keras.layers.Add(name=f"{conv.name}_link")([x, z])


LINK = Link(
    name="identity",
    summary="the input itself where the shapes agree, nothing where they do not (Bi-Real Net)",
    join=_join,
    fits=_fits,
    residual=True,
    cost="one addition per value",
)

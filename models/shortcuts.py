"""Shortcuts without parameters, which some networks put around every convolution, and how they combine with links."""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.methods.method import Method


def pool(x: tf.Tensor, strides: int, name: str) -> tf.Tensor:
    """(N, H, W, C) averaged to (N, ceil(H / strides), ceil(W / strides), C)."""
    if strides == 1:
        return x
    return keras.layers.AveragePooling2D(strides, strides, "same", name=f"{name}_pool")(x)


def unit_with_shortcut(x: tf.Tensor, conv: Conv, method: Method) -> tf.Tensor:
    """The unit of a convolution that keeps its number of channels, with a shortcut around it: y = unit(x) + x.

    There is one shortcut per convolution for any link. Where the link does not fit, the network adds x itself, average-pooled if
    the convolution has a stride. Elsewhere the link carries the same features and replaces the shortcut: together they would
    double the features with every convolution.

    Raises:
        ValueError: the convolution changes the number of channels.
    """
    shape: Any = x.shape
    if shape[-1] != conv.filters:
        raise ValueError(f"{conv.name}: {shape[-1]} channels become {conv.filters}, which a shortcut without parameters cannot do")
    if method.link.fits(shape[1:], conv.output_shape(shape[1:])):
        return method.unit(x, conv)
    return method.unit(x, conv, shortcut=pool(x, conv.strides, conv.name))

"""Stages shared by most methods, as Keras layers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import larq
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.layers import ActivationScale, SplitChannels
from el_larq.methods.binarization import Binarization
from el_larq.quantizers import PerChannel

if TYPE_CHECKING:
    import tensorflow as tf


def convolve(method: Binarization, x: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    """The convolution, without bias, since a normalization follows.

    Binary kernels larger than 1x1 pad with +1, which is a binary value and lets LCE fuse the padding. Groups are separate
    convolutions in parallel: LCE's default kernel does not support grouped convolutions.
    """
    if conv.real_input == "tanh" and not conv.real:
        x = keras.layers.Activation("tanh", name=f"{conv.name}_tanh")(x)
    return by_group(conv, x, lambda group: make_convolution(method, conv, group))(x)


def by_group(conv: Conv, x: "tf.Tensor", make: Callable[[int | None], keras.layers.Layer]) -> Callable[["tf.Tensor"], "tf.Tensor"]:
    """The convolution as a function, which uses the same kernels each time it is called.

    make: returns the layer of a group, counted from 1. It is called with None for a convolution without groups.

    Raises:
        UsageError: the number of channels or filters is not a multiple of the number of groups.
    """
    if conv.groups == 1:
        return make(None)
    shape: Any = x.shape
    if shape[-1] % conv.groups or conv.filters % conv.groups:
        raise UsageError(f"{conv.name}: {shape[-1]} channels to {conv.filters} cannot be divided into {conv.groups} groups")
    split = SplitChannels(conv.groups, name=f"{conv.name}_split")
    layers = [make(index + 1) for index in range(conv.groups)]
    join = keras.layers.Concatenate(name=f"{conv.name}_concatenate")
    return lambda y: join([layer(part) for layer, part in zip(layers, split(y), strict=True)])


def make_convolution(method: Binarization, conv: Conv, group: int | None = None) -> Any:
    """The layer of a convolution, or of one of its groups (counted from 1)."""
    shape: dict[str, Any] = {
        "kernel_size": conv.kernel_size,
        "strides": conv.strides,
        "dilation_rate": conv.dilation,
        "padding": conv.padding,
        "use_bias": False,
        "name": f"{conv.name}_conv" if group is None else f"{conv.name}_group{group}_conv",
    }
    if not conv.depthwise:
        shape["filters"] = conv.filters // conv.groups
    if not method.binary or conv.real:
        if conv.depthwise:
            return keras.layers.DepthwiseConv2D(**shape, depthwise_initializer="he_normal")
        return keras.layers.Conv2D(**shape, kernel_initializer="he_normal")
    shape["pad_values"] = 1.0 if conv.padding == "same" and conv.real_input is None else 0.0
    # Without a quantizer, the layer and the order of its weights stay the same.
    input_quantizer = _make(method.input_quantizer) if conv.real_input is None else None
    kernel_quantizer, constraint = (
        (None, None) if conv.real_kernel else (_make(method.kernel_quantizer), _make(method.kernel_constraint))
    )
    if conv.depthwise:
        return larq.layers.QuantDepthwiseConv2D(
            **shape,
            input_quantizer=input_quantizer,
            depthwise_quantizer=None if conv.real_kernel else PerChannel(kernel_quantizer),
            depthwise_constraint=constraint,
            depthwise_initializer="glorot_normal",
        )
    return larq.layers.QuantConv2D(
        **shape,
        input_quantizer=input_quantizer,
        kernel_quantizer=kernel_quantizer,
        kernel_constraint=constraint,
        kernel_initializer="glorot_normal",
    )


def scale_by_input(x: "tf.Tensor", z: "tf.Tensor", conv: Conv, k: str) -> "tf.Tensor":
    """XNOR-Net's K times the output z of a convolution of x, where the option ``k`` enables it and x is binarized. Dilated
    convolutions have no K: its source defines it for neighbouring pixels.

    k: off, 1x1, 3x3 (all kernels larger than 1x1) or all.
    """
    if k == "off" or conv.dilation > 1 or conv.real_input is not None or (k != "all" and (conv.kernel_size == 1) != (k == "1x1")):
        return z
    groups = conv.filters if conv.depthwise else conv.groups
    return ActivationScale(conv.kernel_size, conv.strides, groups, name=f"{conv.name}_k")([x, z])


def add(shortcut: "tf.Tensor", y: "tf.Tensor", name: str) -> "tf.Tensor":
    return keras.layers.Add(name=f"{name}_shortcut")([shortcut, y])


def activate(x: "tf.Tensor", activation: str | None, name: str) -> "tf.Tensor":
    return keras.layers.Activation(activation, name=f"{name}_activation")(x) if activation else x


def prelu(x: "tf.Tensor", name: str, slope: float) -> "tf.Tensor":
    """A PReLU with one trained slope per channel, initially ``slope``."""
    start: Any = keras.initializers.Constant(slope)  # pyright: ignore[reportArgumentType]
    return keras.layers.PReLU(start, shared_axes=[1, 2], name=f"{name}_prelu")(x)


def _make(spec: str | Callable[[], Any] | None) -> Any:
    return spec() if callable(spec) else spec

"""BinaryDenseNet 28 and 37, and the bottleneck DenseNet-121: the output of every layer is appended to its input.

    layer       y = [x, unit(x, 3x3, C -> growth)]                                       BinaryDenseNet
                y = [x, unit(unit(x, 1x1, C -> 4 growth), 3x3, 4 growth -> growth)]      bottleneck
    transition  BN, 2x2 max pooling, ReLU, real-valued 1x1 to C / reduction channels, rounded to a multiple of 32
    head        BN, ReLU, global average pooling, dense

    network      growth   layers          reductions      first channels
    densenet28   64       6, 6, 6, 5      2.7, 2.7, 2.2   64
    densenet37   64       6, 8, 12, 6     3.3, 3.3, 4     64
    densenet121  32       6, 12, 24, 16   2, 2, 2         64

Concatenation is the only shortcut of these networks. An elastic link is added only to the new channels, with x squeezed to their
number; an identity link applies only where x has exactly that number of channels.

The order in a unit is the method's. Methods that normalize after the convolution get an additional normalization after a
transition's 1x1, and their own activation in the stem instead of a ReLU, whose outputs would all have the same sign. With methods
that normalize first, both are as in the original.

Sources: Bethge, Yang, Bornstein, Meinel: Back to Simplicity, arXiv 1906.08637, with layers and reductions as in Larq Zoo's
BinaryDenseNet (a MB there is 2**20 bytes); Huang, Liu, van der Maaten, Weinberger: Densely Connected Convolutional
Networks, CVPR 2017. DenseNet-121 here uses BinaryDenseNet's transition, which pools before its 1x1 instead of after it.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import unknown_name
from el_larq.layers import normalize
from el_larq.methods.method import Method
from el_larq.models.network_registry import DOWNSAMPLES
from el_larq.models.stems import apply_stem

FIRST = 64
MULTIPLE = 32
BOTTLENECK = 4


def densenet(
    x: tf.Tensor,
    num_classes: int,
    method: Method,
    *,
    layers: Sequence[int],
    reductions: Sequence[float],
    growth: int,
    bottleneck: bool = False,
    width: float = 1.0,
    stem: str | None = None,
    downsample: str = "real",
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes).

    width: factor for the growth, the first channels and the multiple to which a transition rounds.
    downsample: "binary" turns the 1x1 convolutions of the transitions into units of the method, without the normalization and the
        ReLU before them.
    """
    if downsample not in DOWNSAMPLES:
        raise unknown_name("downsample", downsample, DOWNSAMPLES)
    growth = max(1, round(growth * width))
    activation = "relu" if normalizes_first(method) else method.activation
    x = apply_stem(stem, x, max(1, round(FIRST * width)), method.bn_momentum, activation)
    for stage, count in enumerate(layers):
        for index in range(count):
            x = _layer(x, growth, f"stage{stage + 1}_layer{index + 1}", method, bottleneck)
        if stage < len(layers) - 1:
            x = _transition(x, reductions[stage], width, f"transition{stage + 1}", method, downsample)
    x = normalize(x, "final_norm", method.bn_momentum)
    x = keras.layers.ReLU(name="final_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def normalizes_first(method: Method) -> bool:
    """Whether the method's unit normalizes before its convolution."""
    order = method.order
    return "norm" in order and order.index("norm") < order.index("conv")


def _layer(x: tf.Tensor, growth: int, name: str, method: Method, bottleneck: bool) -> tf.Tensor:
    y = method.unit(x, Conv(f"{name}_conv1", growth * BOTTLENECK, 1)) if bottleneck else x
    y = method.unit(y, Conv(f"{name}_conv2" if bottleneck else f"{name}_conv", growth, 3))
    return keras.layers.Concatenate(name=f"{name}_concatenate")([x, y])


def _transition(x: tf.Tensor, reduction: float, width: float, name: str, method: Method, downsample: str) -> tf.Tensor:
    """(N, H, W, C) to (N, ceil(H / 2), ceil(W / 2), about C / reduction)."""
    shape: Any = x.shape
    multiple = max(1, round(MULTIPLE * width))
    filters = max(1, round(shape[-1] // reduction / multiple)) * multiple
    if downsample == "binary":
        x = keras.layers.MaxPooling2D(2, 2, "same", name=f"{name}_pool")(x)
        return method.unit(x, Conv(name, filters, 1))
    x = normalize(x, f"{name}_norm", method.bn_momentum)
    x = keras.layers.MaxPooling2D(2, 2, "same", name=f"{name}_pool")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return x if normalizes_first(method) else normalize(x, f"{name}_conv_norm", method.bn_momentum)

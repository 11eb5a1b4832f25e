"""MobileNetV2: real-valued inverted residuals, with the layer names and shapes of Keras Applications, so that its weights fit.

    stem    3x3 with stride 2 to 32 channels, BN, ReLU6
    block   y = project(depthwise(expand(x)))    1x1 from M to t * M, 3x3 depthwise with stride s, 1x1 to N; BN after each, ReLU6
            after the first two; the first block has no expand;  + x  where the shape is unchanged
    blocks  17, of 16, 24, 32, 64, 96, 160 and 320 channels (STAGES)
    head    1x1 to 1280 channels, BN, ReLU6; global average pooling, dense

Channel counts are multiples of 8, rounded to nearest but not below 90 % of width * N; the head has 1280 at least. Images below 64
pixels get a stem of stride 1, which has the same weights.

It has no unit of a method: nothing in it is binarized. Its use is as a real-valued network to quantize to 8 bits
(`el-larq quantize`), and to compare binary networks with.

Source: Sandler, Howard, Zhu, Zhmoginov, Chen: MobileNetV2, CVPR 2018, arXiv 1801.04381; names and epsilon as in Keras Applications.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.layers import normalize
from el_larq.methods.method import Method
from el_larq.models.stems import IMAGENET_FROM

STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, output channels at width 1, number of blocks, stride of the first one."""

STEM, HEAD, MULTIPLE = 32, 1280, 8

EPSILON = 1e-3
"""That of the normalizations of the published weights."""


def rounded_channels(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and the next one where that is below 90 %."""
    found = max(MULTIPLE, int(channels + MULTIPLE / 2) // MULTIPLE * MULTIPLE)
    return found + MULTIPLE if found < 0.9 * channels else found


def mobilenet_v2(x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes). Of the method, only the momentum of its normalizations is used."""
    shape: Any = x.shape
    strides = 2 if min(shape[1:3]) >= IMAGENET_FROM else 1
    conv = keras.layers.Conv2D(
        rounded_channels(STEM * width), 3, strides, "same", use_bias=False, kernel_initializer="he_normal", name="Conv1"
    )
    x = _normalized(conv(x), "bn_Conv1", "Conv1_relu", method)
    number = 0
    for expansion, channels, repeats, first_stride in STAGES:
        for index in range(repeats):
            x = _block(x, expansion, rounded_channels(channels * width), 1 if index else first_stride, number, method)
            number += 1
    x = _pointwise(x, rounded_channels(HEAD * width) if width > 1 else HEAD, "Conv_1")
    x = _normalized(x, "Conv_1_bn", "out_relu", method)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(num_classes, name="predictions")(x)


def _block(x: tf.Tensor, expansion: int, filters: int, strides: int, number: int, method: Method) -> tf.Tensor:
    name = f"block_{number}" if number else "expanded_conv"
    shape: Any = x.shape
    channels, y = shape[-1], x
    if number:
        y = _normalized(_pointwise(y, expansion * channels, f"{name}_expand"), f"{name}_expand_BN", f"{name}_expand_relu", method)
    y = keras.layers.DepthwiseConv2D(
        3, strides, "same", use_bias=False, depthwise_initializer="he_normal", name=f"{name}_depthwise"
    )(y)
    y = _normalized(y, f"{name}_depthwise_BN", f"{name}_depthwise_relu", method)
    y = normalize(_pointwise(y, filters, f"{name}_project"), f"{name}_project_BN", method.bn_momentum, EPSILON)
    return keras.layers.Add(name=f"{name}_add")([x, y]) if strides == 1 and channels == filters else y


def _pointwise(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    return keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=name)(x)


def _normalized(x: tf.Tensor, norm: str, activation: str, method: Method) -> tf.Tensor:
    return keras.layers.ReLU(6.0, name=activation)(normalize(x, norm, method.bn_momentum, EPSILON))

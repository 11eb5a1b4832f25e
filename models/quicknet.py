"""QuickNet: four stages of binary 3x3 convolutions, one residual each, joined by antialiased, real-valued transitions.

    stem        3x3 with stride 2 to a quarter of the channels, depthwise 3x3 with stride 2, 1x1
    block       y = x + BN(conv3x3(sign(x), sign(W)))
    transition  ReLU, max pooling, blur with stride 2, 1x1 to the next stage's channels, BN
    head        ReLU, global average pooling, dense

Every 3x3 convolution is a unit of the method, so quantizers, order and link are the method's. Nothing else is binarized, except
the transitions' 1x1 convolutions with ``downsample="binary"``.

With a method and link that have no parameters of their own, parameters and memory here are exactly those that Larq Zoo publishes
(`el_larq.published`) by Larq's count: a normalization has two parameters per channel, the fixed blur counts, and a MB is 2**20
bytes. Its accuracies belong to its own definition, which is `el_larq.models.zoo.zoo_quicknet`.

Differences from Larq Zoo's models:

- A block's order is the method's. The original has a ReLU between convolution and normalization, which no method here uses;
  the method's activation, if any, comes after the addition.
- An elastic link adds one gamma per unit in addition to the block's own residual. An identity or gated link replaces that residual.
- Quantizers, clipping (1.25 in the original) and initializers of the units are the method's.
- Every normalization has the method's momentum and an epsilon of 1e-5; the original's stem has 0.99 and 1e-3.
- Logits, not probabilities.
- Images below 64 pixels get the `cifar` stem, as in this project's residual networks; the original has one stem.
- A feature map with a height or width of 1 passes through a transition without pooling, so that small images work; the original
  rejects them.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import UsageError, unknown_name
from el_larq.layers import normalize
from el_larq.methods.method import Method
from el_larq.models.blur import blur_pool
from el_larq.models.network_registry import DOWNSAMPLES
from el_larq.models.stems import IMAGENET_FROM, STEMS, apply_stem

STEM = "quicknet"


def quicknet(
    x: tf.Tensor,
    num_classes: int,
    method: Method,
    *,
    filters: Sequence[int],
    repeats: Sequence[int],
    width: float = 1.0,
    stem: str | None = None,
    downsample: str = "real",
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes); stage i has repeats[i] blocks of filters[i] * width channels.

    stem: "quicknet" or a name in `el_larq.models.stems`; None is "quicknet" for images of at least 64 pixels, else "cifar".
    downsample: "binary" turns the 1x1 convolutions of the transitions into units of the method and omits the ReLU before them,
        after which all signs would be the same.
    """
    if downsample not in DOWNSAMPLES:
        raise unknown_name("downsample", downsample, DOWNSAMPLES)
    channels = [max(1, round(count * width)) for count in filters]
    x = _apply_stem(stem, x, channels[0], method)
    for stage, (count, blocks) in enumerate(zip(channels, repeats, strict=True)):
        if stage:
            x = _transition(x, count, f"transition{stage}", method, downsample)
        for block in range(blocks):
            conv = Conv(f"stage{stage + 1}_block{block + 1}", count, 3)
            x = method.unit(x, conv, shortcut=None if method.link.residual else x)
    x = keras.layers.ReLU(name="final_relu")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _apply_stem(name: str | None, x: tf.Tensor, filters: int, method: Method) -> tf.Tensor:
    shape: Any = x.shape
    size = min(shape[1], shape[2])
    if name is None and size >= IMAGENET_FROM:
        name = STEM
    if name not in (None, STEM, *STEMS):
        raise unknown_name("stem", name, (STEM, *STEMS))
    if name != STEM:
        return apply_stem(name, x, filters, method.bn_momentum, method.activation)
    if size < 4:
        raise UsageError(f"stem {name!r} reduces by 4, too much for an input of {size} pixels; use --stem cifar")
    x = keras.layers.Conv2D(max(1, filters // 4), 3, 2, "same", use_bias=False, kernel_initializer="he_normal", name="stem_conv")(x)
    x = normalize(x, "stem_norm", method.bn_momentum)
    x = keras.layers.ReLU(name="stem_relu")(x)
    x = keras.layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="stem_depthwise")(x)
    # Scale and shift would be redundant with the next convolution and its normalization.
    x = normalize(x, "stem_depthwise_norm", method.bn_momentum, scale=False, center=False)
    return _pointwise(x, filters, "stem_pointwise", method)


def _transition(x: tf.Tensor, filters: int, name: str, method: Method, downsample: str) -> tf.Tensor:
    """(N, H, W, C) to (N, H // 2, W // 2, filters), or to (N, H, W, filters) where H or W is 1."""
    if downsample == "real":
        x = keras.layers.ReLU(name=f"{name}_relu")(x)
    shape: Any = x.shape
    if min(shape[1], shape[2]) > 1:
        x = blur_pool(x, name)
    if downsample == "binary":
        return method.unit(x, Conv(name, filters, 1))
    return _pointwise(x, filters, name, method)


def _pointwise(x: tf.Tensor, filters: int, name: str, method: Method) -> tf.Tensor:
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)
    return normalize(x, f"{name}_norm", method.bn_momentum)

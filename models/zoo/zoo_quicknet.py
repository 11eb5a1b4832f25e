"""QuickNet as in Larq Zoo.

    stem        3x3 with stride 2 to C / 4 channels, BN, ReLU, depthwise 3x3 with stride 2, BN without scale and shift, 1x1 to C, BN
    block       y = BN(relu(conv3x3(sign(x), sign(W)))) + x          padded by +1
    transition  ReLU, 2x2 max pooling with stride 1, blur with stride 2, 1x1, BN
    top         ReLU, global average pooling, dense

C is the number of channels of the first blocks. The BN of the stem have Keras' defaults (momentum 0.99, epsilon 1e-3), the others
0.9 and 1e-5. Signs have a gradient, and kernels are clipped, within [-1.25, 1.25].

The network of the same name in `el_larq.models.quicknet` takes any method, and therefore has no ReLU inside its blocks.

Reference: Bannink, Hillier, Geiger, de Bruin, Overweel, Neeven, Helwegen: Larq Compute Engine, MLSys 2021, arXiv 2011.09398.
"""

from collections.abc import Sequence
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.models.blur import blur_pool
from el_larq.models.zoo.shared_layers import BinaryLayers, classify, normalize

_BINARY = BinaryLayers(clip=1.25, initializer="glorot_normal")


def quicknet(x: tf.Tensor, num_classes: int | None, *, filters: Sequence[int], blocks: Sequence[int]) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, H / 32, W / 32, filters[-1]) if ``num_classes`` is None."""
    x = _stem(x, filters[0])
    for stage, (channels, count) in enumerate(zip(filters, blocks, strict=True)):
        if stage:
            x = _transition(x, channels, f"transition{stage}")
        for block in range(count):
            x = _block(x, f"stage{stage + 1}_block{block + 1}")
    if num_classes is None:
        return x
    x = keras.layers.ReLU(name="final_relu")(x)
    return classify(x, num_classes, initializer="glorot_normal")


def _stem(x: tf.Tensor, filters: int) -> tf.Tensor:
    conv: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}
    x = keras.layers.Conv2D(filters // 4, 3, 2, "same", name="stem_conv", **conv)(x)
    x = normalize(x, "stem_norm")
    x = keras.layers.ReLU(name="stem_relu")(x)
    x = keras.layers.DepthwiseConv2D(3, 2, "same", use_bias=False, name="stem_depthwise")(x)
    x = normalize(x, "stem_depthwise_norm", scale=False, center=False)
    x = keras.layers.Conv2D(filters, 1, name="stem_pointwise_conv", **conv)(x)
    return normalize(x, "stem_pointwise_norm")


def _block(x: tf.Tensor, name: str) -> tf.Tensor:
    shape: Any = x.shape
    y = _BINARY.conv(shape[-1], 3, f"{name}_conv", activation="relu", pad_values=1.0)(x)
    y = normalize(y, f"{name}_norm", 0.9, 1e-5)
    return keras.layers.Add(name=f"{name}_shortcut")([y, x])


def _transition(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    x = blur_pool(keras.layers.ReLU(name=f"{name}_relu")(x), name)
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="glorot_normal", name=f"{name}_conv")(x)
    return normalize(x, f"{name}_norm", 0.9, 1e-5)

"""MeliusNet22 as in Larq Zoo.

    stem         3x3 with stride 2 to 32 channels, 3x3 to 32 in 4 groups, 3x3 to 64 in 8 groups, each with BN and ReLU;
                 2x2 max pooling
    dense        y = [x, conv3x3(sign(BN(x)), sign(W))]                      64 new channels
    improvement  z = y + [0, conv3x3(sign(BN(y)), sign(V))]                  the new channels only
    transition   BN, 2x2 max pooling, ReLU, real-valued 1x1
    features     BN, ReLU
    top          global average pooling, dense

A block is a dense and an improvement block. All BN have momentum 0.9 and epsilon 1e-5. Signs have a gradient, and kernels are
clipped, within [-1.3, 1.3].

Reference: Bethge, Bartz, Yang, Chen, Meinel: MeliusNet: Can Binary Neural Networks Achieve MobileNet-level Accuracy?,
arXiv 2001.05936.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.layers import AddToLast, SplitChannels
from el_larq.models.zoo.shared_layers import BinaryLayers, classify, normalize

GROWTH = 64

_BINARY = BinaryLayers(clip=1.3, initializer="glorot_normal")
_norm = partial(normalize, momentum=0.9, epsilon=1e-5)


def meliusnet(x: tf.Tensor, num_classes: int | None, *, blocks: Sequence[int], transitions: Sequence[int]) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, H / 32, W / 32, 512) if ``num_classes`` is None.

    transitions: the channels after each stage except the last.
    """
    x = _stem(x)
    for stage, count in enumerate(blocks):
        if stage:
            x = _transition(x, transitions[stage - 1], f"transition{stage}")
        for block in range(count):
            x = _block(x, f"stage{stage + 1}_block{block + 1}")
    x = keras.layers.ReLU(name="final_relu")(_norm(x, "final_norm"))
    return x if num_classes is None else classify(x, num_classes, initializer="glorot_normal")


def _stem(x: tf.Tensor) -> tf.Tensor:
    for index, (filters, strides, groups) in enumerate(((32, 2, 1), (32, 1, 4), (64, 1, 8)), start=1):
        name = f"stem{index}"
        x = _grouped(x, filters, strides, groups, name)
        x = keras.layers.ReLU(name=f"{name}_relu")(_norm(x, f"{name}_norm"))
    return keras.layers.MaxPooling2D(2, 2, "same", name="stem_pool")(x)


def _grouped(x: tf.Tensor, filters: int, strides: int, groups: int, name: str) -> tf.Tensor:
    """A 3x3 convolution in groups. Each is a layer of its own, because the published weights have one array for each."""
    names = [f"{name}_group{index + 1}_conv" for index in range(groups)] if groups > 1 else [f"{name}_conv"]
    convs = [
        keras.layers.Conv2D(
            filters // groups, 3, strides, "same", use_bias=False, kernel_initializer="glorot_normal", name=layer_name
        )
        for layer_name in names
    ]
    if groups == 1:
        return convs[0](x)
    parts = SplitChannels(groups, name=f"{name}_split")(x)
    return keras.layers.Concatenate(name=f"{name}_concatenate")([conv(part) for conv, part in zip(convs, parts, strict=True)])


def _block(x: tf.Tensor, name: str) -> tf.Tensor:
    y = _BINARY.conv(GROWTH, 3, f"{name}_dense_conv")(_norm(x, f"{name}_dense_norm"))
    x = keras.layers.Concatenate(name=f"{name}_concatenate")([x, y])
    y = _BINARY.conv(GROWTH, 3, f"{name}_improvement_conv")(_norm(x, f"{name}_improvement_norm"))
    return AddToLast(name=f"{name}_improvement")([x, y])


def _transition(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    x = _norm(x, f"{name}_norm")
    x = keras.layers.MaxPooling2D(2, 2, "same", name=f"{name}_pool")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    conv: Any = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="glorot_normal", name=f"{name}_conv")
    return conv(x)

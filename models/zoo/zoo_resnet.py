"""Bi-Real Net 18 and BinaryResNetE18 as in Larq Zoo: ResNet18 with one shortcut per binary convolution.

    block       y = BN(conv3x3(sign(x), q(W))) + s
    s           x, or, where the block halves the map and doubles the channels: 2x2 average pooling, real-valued 1x1, BN

                   Bi-Real Net 18                          BinaryResNetE18
    q(W)           mean|W| * sign(W), per filter           sign(W)
    sign(x)        gradient 2 - 2|x| within [-1, 1]        gradient 1 within [-1.25, 1.25]
    W              within [-1, 1]                          within [-1.25, 1.25]
    BN             momentum 0.8, epsilon 1e-3              momentum 0.9, epsilon 1e-5
    stem           7x7/2, BN, 3x3/2 max pooling            7x7/2, BN, ReLU, 3x3/2 max pooling, BN; 3x3 below 50 pixels
    top            global average pooling, dense           ReLU, global average pooling, dense

BinaryResNetE18's ReLU belongs to its features.

References: Liu et al.: Bi-Real Net, ECCV 2018, arXiv 1808.00278; Bethge et al.: Back to Simplicity, arXiv 1906.08637.
"""

from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.models.zoo.shared_layers import (
    BinaryLayers,
    Norm,
    add,
    classify,
    fit_shortcut,
    is_small,
    large_stem,
    normalize,
    small_stem,
    stem_pool,
)

FILTERS = 64
BLOCKS = (4, 4, 4, 4)


def birealnet(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, H / 32, W / 32, 512) if ``num_classes`` is None."""
    binary = BinaryLayers(input_quantizer="approx_sign", kernel_quantizer="magnitude_aware_sign", initializer="glorot_normal")
    norm = partial(normalize, momentum=0.8)
    x = norm(large_stem(x, FILTERS, "glorot_normal"), "stem_norm")
    x = _blocks(stem_pool(x), binary, norm, "same")
    return x if num_classes is None else classify(x, num_classes)


def resnet_e18(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """As `birealnet`; images of a height below 50 are reduced by 8 instead of 32."""
    norm = partial(normalize, momentum=0.9, epsilon=1e-5)
    if is_small(x):
        x = small_stem(x, FILTERS)
    else:
        x = norm(large_stem(x, FILTERS, "he_normal"), "stem_norm")
        x = keras.layers.ReLU(name="stem_relu")(x)
        x = norm(stem_pool(x), "stem_pool_norm")
    x = _blocks(x, BinaryLayers(clip=1.25, initializer="glorot_normal"), norm, "valid")
    x = keras.layers.ReLU(name="final_relu")(x)
    return x if num_classes is None else classify(x, num_classes, initializer="glorot_normal")


def _blocks(x: tf.Tensor, binary: BinaryLayers, norm: Norm, padding: str) -> tf.Tensor:
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            x = _block(x, FILTERS * 2**stage, f"stage{stage + 1}_block{block + 1}", binary, norm, padding)
    return x


def _block(x: tf.Tensor, filters: int, name: str, binary: BinaryLayers, norm: Norm, padding: str) -> tf.Tensor:
    shape: Any = x.shape
    shortcut = fit_shortcut(x, filters, name, norm, padding)
    y = binary.conv(filters, 3, f"{name}_conv", strides=1 if shape[-1] == filters else 2)(x)
    return add(norm(y, f"{name}_norm"), shortcut, name)

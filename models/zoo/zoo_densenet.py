"""BinaryDenseNet 28, 37 and 45 as in Larq Zoo: the output of every layer is appended to its input.

    stem        7x7 with stride 2 to 64 channels, BN, ReLU, 3x3 max pooling with stride 2; a 3x3 below 50 pixels
    layer       y = [x, conv3x3(sign(BN(x)), sign(W))]         64 new channels
    transition  BN, 2x2 max pooling, ReLU, real-valued 1x1 to C / reduction channels, rounded to a multiple of 32
    features    BN, ReLU
    top         global average pooling, dense

In the dilated network, the last two blocks have dilated convolutions and no pooling before them: maps have 1/8 of the image's size.
All BN have momentum 0.9 and epsilon 1e-5. Signs have a gradient, and kernels are clipped, within [-1.3, 1.3].

Reference: Bethge, Yang, Bornstein, Meinel: Back to Simplicity, arXiv 1906.08637.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.models.zoo.shared_layers import BinaryLayers, classify, is_small, large_stem, normalize, small_stem, stem_pool

FIRST = GROWTH = 64
MULTIPLE = 32

_BINARY = BinaryLayers(clip=1.3, initializer="glorot_normal")
_norm = partial(normalize, momentum=0.9, epsilon=1e-5)


def densenet(
    x: tf.Tensor, num_classes: int | None, *, layers: Sequence[int], reductions: Sequence[float], dilations: Sequence[int]
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features if ``num_classes`` is None."""
    if is_small(x):
        x = small_stem(x, FIRST)
    else:
        x = _norm(large_stem(x, FIRST, "he_normal"), "stem_norm")
        x = stem_pool(keras.layers.ReLU(name="stem_relu")(x))
    for stage, count in enumerate(layers):
        if stage:
            x = _transition(x, reductions[stage - 1], f"transition{stage}", pool=dilations[stage] == 1)
        for layer in range(count):
            name = f"stage{stage + 1}_layer{layer + 1}"
            y = _BINARY.conv(GROWTH, 3, f"{name}_conv", dilation_rate=dilations[stage])(_norm(x, f"{name}_norm"))
            x = keras.layers.Concatenate(name=f"{name}_concatenate")([x, y])
    x = keras.layers.ReLU(name="final_relu")(_norm(x, "final_norm"))
    return x if num_classes is None else classify(x, num_classes, initializer="he_normal")


def _transition(x: tf.Tensor, reduction: float, name: str, pool: bool) -> tf.Tensor:
    shape: Any = x.shape
    filters = round(shape[-1] // reduction / MULTIPLE) * MULTIPLE
    x = _norm(x, f"{name}_norm")
    if pool:
        x = keras.layers.MaxPooling2D(2, 2, name=f"{name}_pool")(x)
    x = keras.layers.ReLU(name=f"{name}_relu")(x)
    return keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_conv")(x)

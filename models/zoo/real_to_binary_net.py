"""RealToBinaryNet as in Larq Zoo: ResNet18 whose binary convolutions are scaled per channel from their real-valued input.

    unit        v = BN(x)
                r = sigmoid(relu(mean(v) A) B)            A to C / 8 channels, B to those of the convolution
                y = PReLU(r * conv3x3(sign(v), sign(W))) + s
    s           x, or, where the unit halves the map and doubles the channels: 2x2 average pooling, real-valued 1x1, BN
    stem        7x7 with stride 2, BN, PReLU, 3x3 max pooling with stride 2
    top         global average pooling, dense

All BN have momentum 0.99 and epsilon 1e-3; all PReLU have one slope per channel, initially 0. `el_larq.methods.real_to_binary` has
this unit as a method.

Reference: Martinez, Yang, Bulat, Tzimiropoulos: Training Binary Neural Networks with Real-to-Binary Convolutions, ICLR 2020,
arXiv 2003.11535.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.models.zoo.shared_layers import BinaryLayers, add, average, classify, fit_shortcut, large_stem, normalize, stem_pool

FILTERS = 64
BLOCKS = (4, 4, 4, 4)
REDUCTION = 8

_BINARY = BinaryLayers(initializer="glorot_normal")


def real_to_binary_net(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, H / 32, W / 32, 512) if ``num_classes`` is None."""
    x = normalize(large_stem(x, FILTERS, "glorot_normal"), "stem_norm")
    x = stem_pool(_prelu(x, "stem"))
    for stage, count in enumerate(BLOCKS):
        for block in range(count):
            x = _unit(x, FILTERS * 2**stage, f"stage{stage + 1}_block{block + 1}")
    return x if num_classes is None else classify(x, num_classes)


def _unit(x: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    shape: Any = x.shape
    shortcut = fit_shortcut(x, filters, name, normalize)
    v = normalize(x, f"{name}_norm")
    y = _BINARY.conv(filters, 3, f"{name}_conv", strides=1 if shape[-1] == filters else 2)(v)
    y = keras.layers.Multiply(name=f"{name}_scale")([y, _scale(v, filters, f"{name}_scale")])
    return add(_prelu(y, name), shortcut, name)


def _scale(v: tf.Tensor, filters: int, name: str) -> tf.Tensor:
    """r, (N, 1, 1, filters)."""
    shape: Any = v.shape
    dense: dict[str, Any] = {"use_bias": False, "kernel_initializer": "he_normal"}
    r = average(v, f"{name}_pool")
    r = keras.layers.Dense(shape[-1] // REDUCTION, "relu", name=f"{name}_reduce", **dense)(r)
    r = keras.layers.Dense(filters, "sigmoid", name=f"{name}_expand", **dense)(r)
    return keras.layers.Reshape((1, 1, filters), name=f"{name}_shape")(r)


def _prelu(x: tf.Tensor, name: str) -> tf.Tensor:
    return keras.layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(x)

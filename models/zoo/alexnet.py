"""BinaryAlexNet, XNOR-Net and DoReFa-Net as in Larq Zoo: three ways to binarize AlexNet.

Convolutions in order; "pool" is 3x3 max pooling with stride 2 and "BN" is without scale, with momentum 0.9.

    BinaryAlexNet (epsilon 1e-3; every kernel is binary, padding by zeros)
        11x11/4 to 64 on the image, pool, BN; 5x5 to 192, pool, BN; 3x3 to 384, BN; 3x3 to 384, BN; 3x3 to 256, pool, BN
        top: 1x1 on all values as channels to 4096, BN; 1x1 to 4096, BN; 1x1 to the classes, BN

    XNOR-Net (kernels mean|W| * sign(W) per filter)
        real 11x11/4 to 96, BN (epsilon 1e-5), ReLU, pool, BN; binary 5x5 to 256, pool, BN; 3x3 to 384, BN; 3x3 to 384, BN;
        3x3 to 256, pool, BN; 6x6 "valid" to 4096, BN                                             epsilon 1e-4
        top: binary 1x1 to 4096, BN (epsilon 1e-3), ReLU, real dense without bias

    DoReFa-Net (activations in 4 levels of [0, 1], kernels mean|W| * sign(W) with one mean per layer; epsilon 1e-4)
        real 12x12/4 "valid" to 96 with bias; 5x5 to 256, BN, pool; 3x3 to 384, BN, pool; 3x3 to 384, BN; 3x3 to 256, BN, pool
        top: dense to 4096, BN; dense to 4096, BN; clip to [0, 1], real dense

The pools of DoReFa-Net pad with "same", except for its last; all others are "valid". LCE has no operator for activations of 2 bits,
so all of DoReFa-Net runs real-valued.

References: Hubara et al.: Binarized Neural Networks, NIPS 2016; Rastegari et al.: XNOR-Net, ECCV 2016, arXiv 1603.05279;
Zhou et al.: DoReFa-Net, arXiv 1606.06160.
"""

from functools import partial
from typing import Any

import larq
import tensorflow as tf
import tf_keras as keras

from el_larq.models.zoo.shared_layers import BinaryLayers, normalize
from el_larq.quantizers import ScaledSign, StraightScaledSign

UNITS = 4096


def binary_alexnet(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, h, w, 256) if ``num_classes`` is None."""
    binary = BinaryLayers()
    norm = partial(normalize, momentum=0.9, scale=False)
    x = norm(_pool(binary.conv(64, 11, "conv1", strides=4, real_input=True)(x), "pool1"), "norm1")
    x = norm(_pool(binary.conv(192, 5, "conv2")(x), "pool2"), "norm2")
    x = norm(binary.conv(384, 3, "conv3")(x), "norm3")
    x = norm(binary.conv(384, 3, "conv4")(x), "norm4")
    x = norm(_pool(binary.conv(256, 3, "conv5")(x), "pool5"), "norm5")
    if num_classes is None:
        return x
    shape: Any = x.shape
    # A dense layer as a 1x1 convolution, since LCE has binary convolutions only.
    x = keras.layers.Reshape((1, 1, shape[1] * shape[2] * shape[3]), name="flatten")(x)
    for index, units in enumerate((UNITS, UNITS, num_classes), start=6):
        x = norm(binary.conv(units, 1, f"dense{index}", padding="valid")(x), f"norm{index}")
    return keras.layers.Flatten(name="logits")(x)


def xnornet(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, h, w, 4096) if ``num_classes`` is None."""
    regularizer = keras.regularizers.L2(5e-7)
    binary = BinaryLayers(kernel_quantizer=lambda: ScaledSign("derived", clip_value=1.0), regularizer=regularizer)
    norm = partial(normalize, momentum=0.9, epsilon=1e-4, scale=False)
    x = keras.layers.Conv2D(96, 11, 4, "same", use_bias=False, kernel_regularizer=regularizer, name="conv1")(x)
    x = keras.layers.ReLU(name="relu1")(norm(x, "norm1", epsilon=1e-5))
    x = norm(_pool(x, "pool1"), "pool1_norm")
    x = norm(_pool(binary.conv(256, 5, "conv2")(x), "pool2"), "norm2")
    x = norm(binary.conv(384, 3, "conv3")(x), "norm3")
    x = norm(binary.conv(384, 3, "conv4")(x), "norm4")
    x = norm(_pool(binary.conv(256, 3, "conv5")(x), "pool5"), "norm5")
    x = norm(binary.conv(UNITS, 6, "dense6", padding="valid")(x), "norm6")
    if num_classes is None:
        return x
    x = norm(binary.conv(UNITS, 1, "dense7", padding="valid")(x), "norm7", epsilon=1e-3)
    x = keras.layers.Flatten(name="flatten")(keras.layers.ReLU(name="relu7")(x))
    return keras.layers.Dense(num_classes, use_bias=False, kernel_regularizer=regularizer, name="logits")(x)


def dorefanet(x: tf.Tensor, num_classes: int | None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), or to features (N, h, w, 256) if ``num_classes`` is None."""
    norm = partial(normalize, momentum=0.9, epsilon=1e-4, scale=False)
    x = keras.layers.Conv2D(96, 12, 4, name="conv1")(x)
    x = _pool(norm(_two_bit_conv(256, 5, "conv2")(x), "norm2"), "pool2", "same")
    x = _pool(norm(_two_bit_conv(384, 3, "conv3")(x), "norm3"), "pool3", "same")
    x = norm(_two_bit_conv(384, 3, "conv4")(x), "norm4")
    x = _pool(norm(_two_bit_conv(256, 3, "conv5")(x), "norm5"), "pool5")
    if num_classes is None:
        return x
    x = keras.layers.Flatten(name="flatten")(x)
    for index in (6, 7):
        x = norm(larq.layers.QuantDense(UNITS, name=f"dense{index}", **_two_bit())(x), f"norm{index}")
    x = keras.layers.ReLU(max_value=1.0, name="clip7")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _pool(x: tf.Tensor, name: str, padding: str = "valid") -> tf.Tensor:
    return keras.layers.MaxPooling2D(3, 2, padding, name=name)(x)


def _two_bit_conv(filters: int, size: int, name: str) -> Any:
    return larq.layers.QuantConv2D(filters, size, padding="same", name=name, **_two_bit())


def _two_bit() -> dict[str, Any]:
    return {
        "use_bias": False,
        "input_quantizer": larq.quantizers.DoReFa(k_bit=2),
        "kernel_quantizer": StraightScaledSign("tensor"),
    }

"""TBN: ternary activations and binary weights, as two binary convolutions with one kernel.

With x the normalized input of the convolution, D its threshold and T its ternary value:

    x = BN(input)
    D = delta * mean|x|
    T(x) = (sign(x - D) + sign(x + D)) / 2             +1 where x >= D, -1 where x < -D, 0 between
    Wb = alpha * sign(W),  alpha = mean|W| per filter  sign(0) = +1
    y = conv(T(x), Wb) = (conv(sign(x - D), Wb) + conv(sign(x + D), Wb)) / 2

The second form is exact, also at the borders: padding both signs with +1 pads T with +1. Gradient, with D and
alpha as constants:

    dL/dx = dL/dT * 1[|x| <= 1]                        of T as a whole; the two signs themselves do not clip
    dL/dW = dL/dWb                                     the identity

Reference: Wan, Shen, Liu, Zhu, Qin, Shao, Shen: TBN: Convolutional Neural Network with Ternary Inputs and Binary Weights, ECCV
2018, and the authors' repository, dnvtmf/TBN. Published ImageNet top-1, as quoted by the Elastic-Link poster: ResNet18 55.6,
ResNet34 58.2. These networks have 1-bit weights and ternary activations, log2(3) = 1.58 bits, so they cost more than 1/1 networks.

Differences from the source, what it leaves open, and the choices made here:

- `delta`: 0.5 (default) is the repository's value; the paper's is 0.4 from memory, not checked.
- At inference mean|x| is a moving average, as in the repository. Its momentum is 0.9, as for normalizations here, and it
  starts at the value of a normal distribution.
- A value of exactly -D becomes 0 here and -1 in the repository: that is the mean of two signs where sign(0) = +1.
- Ternary values are not scaled. The repository's default is a later version, which scales the product by 2D with another
  gradient; its figures do not apply to this method.
- Latent weights are clipped to [-1, 1]. The identity gradient does not need it; the repository uses weight decay instead, which
  recipes here apply to real-valued kernels only. Both keep weights close enough to zero to change their sign.
- The order is normalization, ternarization, convolution, with no activation and no link: the block's shortcut is the only one.

Deployment: two LceBconv2d per convolution, which share one packed kernel in the .tflite. The remaining real-valued work is a shift
and a packing for each of the two signs, and the sum of the two products. With `fold` the normalization is part of the two shifts,
where its scales are positive, and the factor 1/2 is part of the convolutions.
"""

from functools import partial
from math import isfinite
from typing import TYPE_CHECKING

from el_larq.conv import Conv
from el_larq.errors import UsageError
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method

if TYPE_CHECKING:
    import tensorflow as tf


def make(delta: float = 0.5) -> Method:
    """TBN with thresholds at ``delta`` times the mean magnitude."""
    if not (delta > 0 and isfinite(delta)):
        raise UsageError(f"option delta must be a positive share of mean|x|; got {delta:g}")
    return Method(
        name="tbn",
        summary="ternary activations as the mean of two shifted signs, one binary kernel, normalization first",
        reference="Wan, Shen, Liu, Zhu, Qin, Shao, Shen: TBN, ECCV 2018",
        year=2018,
        link=LINKS["none"],
        input_quantizer=_sign,
        kernel_quantizer=_kernel_sign,
        kernel_constraint="weight_clip",
        order=("norm", "conv", "link", "shortcut", "activation"),
        stages={"conv": partial(_convolve, delta)},
        options={"delta": delta},
        activation_bits="1.58",
        extra_cost="two binary convolutions instead of one, their sum, and a shift before each sign",
    )


def _convolve(delta: float, x: "tf.Tensor", y: "tf.Tensor", conv: Conv) -> "tf.Tensor":
    import tf_keras as keras

    from el_larq.layers import TernarySplit
    from el_larq.methods.stages import by_group, make_convolution

    convolution = by_group(conv, y, lambda group: make_convolution(METHOD, conv, group))
    lower, upper = TernarySplit(delta, METHOD.bn_momentum, name=f"{conv.name}_ternary")(y)
    return keras.layers.Average(name=f"{conv.name}_mean")([convolution(lower), convolution(upper)])


def _sign() -> object:
    import larq

    return larq.quantizers.SteSign(clip_value=None)


def _kernel_sign() -> object:
    from el_larq.quantizers import StraightScaledSign

    return StraightScaledSign()


METHOD = make()

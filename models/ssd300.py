"""SSD300 on VGG16 for binary networks, for 300x300 pixels.

    conv1     3x3 to 64, real-valued; unit(3x3, 64)
    down1     unit(3x3, 64 -> 128, stride 2)                  150x150
    conv2     2 x unit(3x3, 128)
    down2     unit(3x3, 128 -> 256, stride 2)                  75x75
    conv3     3 x unit(3x3, 256)
    down3     unit(3x3, 256 -> 512, stride 2)                  38x38
    conv4     3 x unit(3x3, 512)            map 1: L2 normalization of its output
    down4     unit(3x3, 512, stride 2)                         19x19
    conv5     3 x unit(3x3, 512)
    conv6     unit(3x3, 512 -> 1024, dilation 6)
    conv7     1x1, 1024, real-valued        map 2
    extra     four maps of 512, 256, 256 and 256 channels      10x10, 5x5, 3x3, 1x1

VGG16 with batch normalization, in which a strided binary convolution with a real-valued shortcut (average pooling, 1x1 convolution,
normalization) takes the place of each max-pooling: pooling the inputs of signs makes most of them +1. It also takes over the change
of the number of channels, which VGG16 makes in the first convolution behind the pooling; so one convolution of each stage from the
second to the fourth does not change it. VGG16's pool5 keeps the size and is left out. Every convolution of a stage has an identity
shortcut where the method's link is not one; conv6 has the link alone, if it fits, since a real-valued 1x1 convolution around it
would take 2 MB. Real-valued are the first convolution, conv7, shortcuts that change the number of channels, and heads by default.

Sources: Liu et al.: SSD, ECCV 2016; the layout of strided convolutions and shortcuts: Wang, Wu, Lu, Zhou: BiDet, CVPR 2020.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.layers import L2Normalize, normalize
from el_larq.methods.method import Method
from el_larq.models.resnet import shortcut_of
from el_larq.models.shortcuts import unit_with_shortcut
from el_larq.models.ssd import extra_maps, predict_boxes

STAGES = ((64, 1), (128, 2), (256, 3), (512, 3), (512, 3))
"""Channels and number of units at one resolution."""

CONV6, CONV6_DILATION = 1024, 6
EXTRA_FILTERS = (512, 256, 256, 256)


def ssd300(x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0, heads: str | None = None) -> tf.Tensor:
    """(N, H, W, C) to predictions (N, A, num_classes + 5); A is 8,732 at 300x300 pixels. width is a factor for all channels."""

    def scaled(filters: int) -> int:
        return max(2, round(filters * width))

    y = keras.layers.Conv2D(scaled(64), 3, padding="same", use_bias=False, kernel_initializer="he_normal", name="stem_conv")(x)
    y = normalize(y, "stem_norm", method.bn_momentum)
    y = keras.layers.Activation(method.activation or "relu", name="stem_activation")(y)
    maps = []
    for stage, (filters, count) in enumerate(STAGES, 1):
        if stage > 1:
            y = _down(y, Conv(f"stage{stage}_down", scaled(filters), 3, 2), method)
        for index in range(1, count + 1):
            y = unit_with_shortcut(y, Conv(f"stage{stage}_block{index}", scaled(filters), 3), method)
        if stage == 4:
            maps.append(L2Normalize(name="stage4_l2")(y))
    y = method.unit(y, Conv("conv6", scaled(CONV6), 3, dilation=CONV6_DILATION))
    y = method.unit(y, Conv("conv7", scaled(CONV6), 1, real=True, bypassed=True))
    return predict_boxes(extra_maps([*maps, y], [scaled(filters) for filters in EXTRA_FILTERS], method), num_classes, method, heads)


def _down(x: tf.Tensor, conv: Conv, method: Method) -> tf.Tensor:
    """The unit of a strided convolution, with a real-valued shortcut where it changes the number of channels."""
    shape: Any = x.shape
    if shape[-1] == conv.filters:
        return unit_with_shortcut(x, conv, method)
    return method.unit(x, conv, shortcut=shortcut_of(x, conv.filters, conv.strides, conv.name, method, "real"))

"""VGG-Small: six 3x3 convolutions and a dense layer, the plain network of many papers on binary networks; for 32x32 pixels.

    stem      3x3 to 128, real-valued
    stage 1   3x3 to 128, pooled
    stage 2   3x3 to 256, 3x3 to 256, pooled
    stage 3   3x3 to 512, 3x3 to 512, pooled
    head      flatten, dense

The convolutions of the stages are units of the method with their links. Max pooling is 2x2 with stride 2, behind the whole unit, so
a link is pooled together with what it is added to. The network has no shortcuts, so a link that needs equal shapes applies to the
last convolution of each stage only.

Source: Zhang, Yang, Ye, Hua: LQ-Nets, ECCV 2018.
"""

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.methods.method import Method
from el_larq.models.stems import apply_stem

FILTERS = ((128,), (256, 256), (512, 512))
"""Of the convolutions in front of each pooling, without the first convolution."""


def vgg_small(x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0, stem: str | None = None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes); width is a factor for all channel counts. The dense layer has as many weights per
    class as the last map has values: (H / 8) * (W / 8) * 512 * width behind the `cifar` stem.
    """
    x = apply_stem(stem, x, _scaled(128, width), method.bn_momentum, method.activation)
    for stage, block in enumerate(FILTERS, 1):
        for index, filters in enumerate(block, 1):
            x = method.unit(x, Conv(f"stage{stage}_block{index}_conv", _scaled(filters, width), 3))
        x = keras.layers.MaxPooling2D(2, 2, "same", name=f"stage{stage}_pool")(x)
    return keras.layers.Dense(num_classes, name="logits")(keras.layers.Flatten(name="flatten")(x))


def _scaled(filters: int, width: float) -> int:
    return max(1, round(filters * width))

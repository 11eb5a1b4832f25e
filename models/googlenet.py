"""GoogLeNet (Inception v1) with batch normalization: nine modules of parallel 1x1, 3x3 and 5x5 convolutions.

    stem       7x7 with stride 2 to 64, 3x3 max pooling with stride 2, 1x1 to 64, 3x3 to 192, pooling; real-valued
    module     [unit(x, 1x1), unit(unit(x, 1x1), 3x3), unit(unit(x, 1x1), 5x5), unit(max pooling 3x3 of x, 1x1)]
    head       global average pooling, dense

    module   1x1   1x1 -> 3x3   1x1 -> 5x5   pooled 1x1   output
    3a       64    96   128     16   32      32           256
    3b       128   128  192     32   96      64           480
    4a       192   96   208     16   48      64           512
    4b       160   112  224     24   64      64           512
    4c       128   128  256     24   64      64           512
    4d       112   144  288     32   64      64           528
    4e       256   160  320     32   128     128          832
    5a       256   160  320     32   128     128          832
    5b       384   192  384     48   128     128          1024

with pooling by 2 before 4a and 5a. Every convolution of a module is a unit of the method with its link. Input and output channels
are seldom multiples of each other here, which an elastic link does not require. The network has no shortcut, and a link that needs
equal shapes applies almost nowhere.

The stem ends with the method's activation and has ReLU between its convolutions, where signs do not matter. Its 3x3 convolution
accounts for most of the network's real-valued operations. Omitted from the original: the two auxiliary classifiers, dropout, and
local response normalization (replaced by batch normalization, as is now usual). Images below 64 pixels get the `cifar` stem.

Source: Szegedy, Liu, Jia, Sermanet, Reed, Anguelov, Erhan, Vanhoucke, Rabinovich: Going Deeper with Convolutions, CVPR 2015.
"""

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.methods.method import Method
from el_larq.models.stems import apply_stem, convolve

MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}
POOLED = ("4a", "5a")


def googlenet(x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0, stem: str | None = None) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes); width is a factor for all channel counts."""

    def scaled(filters: int) -> int:
        return max(1, round(filters * width))

    x = apply_stem(stem, x, scaled(64), method.bn_momentum, "relu")
    x = convolve(x, scaled(64), 1, 1, "stem_reduce", method.bn_momentum, "relu")
    x = convolve(x, scaled(192), 3, 1, "stem_conv2", method.bn_momentum, method.activation)
    x = _pool(x, 2, "stem_pool2")
    for name, channels in MODULES.items():
        if name in POOLED:
            x = _pool(x, 2, f"inception{name}_input_pool")
        x = _module(x, [scaled(count) for count in channels], f"inception{name}", method)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)


def _module(x: tf.Tensor, channels: list[int], name: str, method: Method) -> tf.Tensor:
    one, three_reduce, three, five_reduce, five, pooled = channels
    branches = [
        method.unit(x, Conv(f"{name}_1x1", one, 1)),
        method.unit(method.unit(x, Conv(f"{name}_3x3_reduce", three_reduce, 1)), Conv(f"{name}_3x3", three, 3)),
        method.unit(method.unit(x, Conv(f"{name}_5x5_reduce", five_reduce, 1)), Conv(f"{name}_5x5", five, 5)),
        method.unit(_pool(x, 1, f"{name}_pool"), Conv(f"{name}_pooled", pooled, 1)),
    ]
    return keras.layers.Concatenate(name=f"{name}_concatenate")(branches)


def _pool(x: tf.Tensor, strides: int, name: str) -> tf.Tensor:
    return keras.layers.MaxPooling2D(3, strides, "same", name=name)(x)

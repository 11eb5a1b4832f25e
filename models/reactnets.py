"""ReActNet-A, -B and -C: MobileNetV1's layout, without depthwise convolutions and with a shortcut around every convolution.

    stem     3x3 with stride 2 to 32 channels, BN
    block    a = unit(x, 3x3, C -> C, stride s) + (x, averaged where s = 2)
             b = unit(a, 1x1, C -> C) + a                                where the block keeps its channels
             b = [unit(a, 1x1, C -> C) + a, unit'(a, 1x1, C -> C) + a]   where it doubles them: two parallel units with one input
    blocks   64; 128, 128; 256, 256; 512 six times; 1024, 1024 channels; stride 2 where channels double, except in the first block
    head     global average pooling, dense

No shortcut has parameters, see `el_larq.models.shortcuts`. B and C keep the 1x1 convolutions of the five doubling blocks
real-valued (``expansion``), B in four groups. The units around them are the method's, including link and activation.

The original's shifts before the sign and its activations with shifts are in the method `reactnet`. Each of the two units of a
doubling block has its own here. For the activation, which works per channel, that is the same function as the original's single one
on both outputs. For the shift it is one more: the original's two convolutions share the signs of their input.

Which convolutions B and C keep real-valued is inferred from the published BOPs and FLOPs, which this choice reproduces to their
published precision; the source of the two networks was not available. A real-valued convolution in four groups is four parallel
convolutions: TensorFlow has no gradient for grouped convolutions on a CPU. Images below 64 pixels get the `cifar` stem, which keeps
their size.
"""

from typing import Literal

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.methods.method import Method
from el_larq.models.shortcuts import unit_with_shortcut
from el_larq.models.stems import apply_stem

# Output channels, as multiples of the stem's, and strides.
BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))


def reactnet(
    x: tf.Tensor,
    num_classes: int,
    method: Method,
    *,
    expansion: Literal["binary", "grouped", "real"] = "binary",
    width: float = 1.0,
    stem: str | None = None,
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes).

    expansion: the 1x1 convolutions that double the channels: binary (A), real-valued in four groups (B), real-valued (C).
    width: factor for the stem's 32 channels, and hence for all; with four groups the stem has a multiple of four channels.
    """
    groups = 4 if expansion == "grouped" else 1
    filters = max(1, round(32 * width / groups)) * groups
    x = apply_stem(stem, x, filters, method.bn_momentum, method.activation, default="mobile")
    channels = filters
    for index, (factor, strides) in enumerate(BLOCKS):
        name = f"block{index + 1}"
        x = unit_with_shortcut(x, Conv(f"{name}_conv1", channels, 3, strides), method)
        if channels == filters * factor:
            x = unit_with_shortcut(x, Conv(f"{name}_conv2", channels, 1), method)
            continue
        halves = [
            unit_with_shortcut(x, Conv(f"{name}_conv2{half}", channels, 1, groups=groups, real=expansion != "binary"), method)
            for half in "ab"
        ]
        x = keras.layers.Concatenate(name=f"{name}_concatenate")(halves)
        channels = filters * factor
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.layers.Dense(num_classes, name="logits")(x)

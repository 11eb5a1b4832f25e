"""Residual networks of basic (ResNet18, 20, 34), bottleneck (ResNet26, 50) and single-convolution blocks (ReActNet's ResNet18).

Stem, classifier and, with ``downsample="real"``, the 1x1 convolution of a shortcut that changes shape are real-valued; every
other convolution is a unit of the method. The 3x3 convolution has the stride (the first one in a basic block); shortcuts start with
average pooling.

Blocks of a single convolution follow Bi-Real Net's layout for any link: one shortcut per convolution (`el_larq.models.shortcuts`).
Bottleneck blocks offer Bi-Real-50's two streams as the variant ``two_stream`` (`el_larq.models.two_stream`), and ``linked_pair``:

    y = unit(unit(x, 1x1, no link), 3x3, link from x)        instead of  unit(unit(x, 1x1), 3x3)

One link around two convolutions costs less than one around each: the first convolution writes bits, and there is one addition less.
No source describes it; it is this project's own. docs/cost.md has what it saves and what it does to accuracy.
"""

from collections.abc import Sequence
from functools import partial

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import unknown_name
from el_larq.layers import normalize
from el_larq.links import none
from el_larq.methods.method import Method
from el_larq.models.network_registry import DOWNSAMPLES
from el_larq.models.shortcuts import unit_with_shortcut
from el_larq.models.stems import apply_stem
from el_larq.models.two_stream import two_stream

EXPANSION = 4


def resnet(
    x: tf.Tensor,
    num_classes: int,
    method: Method,
    *,
    block: str,
    repeats: Sequence[int],
    channels: int = 64,
    width: float = 1.0,
    stem: str | None = None,
    downsample: str = "real",
    variant: str | None = None,
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), from the last of `resnet_stages`."""
    stages = resnet_stages(
        x, method, block=block, repeats=repeats, channels=channels, width=width, stem=stem, downsample=downsample, variant=variant
    )
    return keras.layers.Dense(num_classes, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(stages[-1]))


def resnet_stages(
    x: tf.Tensor,
    method: Method,
    *,
    block: str,
    repeats: Sequence[int],
    channels: int = 64,
    width: float = 1.0,
    stem: str | None = None,
    downsample: str = "real",
    variant: str | None = None,
) -> list[tf.Tensor]:
    """The outputs of the stages for images (N, H, W, C); stage i has channels * width * 2**i channels, four times as many in a
    bottleneck. Of the variant ``two_stream``, the output of the last stage alone."""
    if downsample not in DOWNSAMPLES:
        raise unknown_name("downsample", downsample, DOWNSAMPLES)
    bottleneck = partial(_bottleneck, is_pair_linked=variant == "linked_pair")
    blocks = {"single": _single, "basic": _basic, "bottleneck": bottleneck}
    filters = max(1, round(channels * width))
    x = apply_stem(stem, x, filters, method.bn_momentum, method.activation)
    if variant == "two_stream":
        return [two_stream(x, filters, EXPANSION, repeats, method, partial(shortcut_of, downsample=downsample))]
    outputs = []
    for stage, count in enumerate(repeats):
        for index in range(count):
            strides = 2 if stage and not index else 1
            name = f"stage{stage + 1}_block{index + 1}"
            x = blocks[block](x, filters * 2**stage, strides, name, method, downsample)
        outputs.append(x)
    return outputs


def _single(x: tf.Tensor, filters: int, strides: int, name: str, method: Method, downsample: str) -> tf.Tensor:
    conv = Conv(f"{name}_conv", filters, 3, strides)
    shortcut = shortcut_of(x, filters, strides, name, method, downsample)
    return unit_with_shortcut(x, conv, method) if shortcut is x else method.unit(x, conv, shortcut=shortcut)


def _basic(x: tf.Tensor, filters: int, strides: int, name: str, method: Method, downsample: str) -> tf.Tensor:
    first = Conv(f"{name}_conv1", filters, 3, strides, bypassed=True)
    second = Conv(f"{name}_conv2", filters, 3)
    shortcut = shortcut_of(x, filters, strides, name, method, downsample)
    if method.link.residual:
        # One shortcut per convolution: the link itself, except where the shape changes.
        y = method.unit(x, first, shortcut=None if shortcut is x else shortcut)
        return method.unit(y, second)
    return method.unit(method.unit(x, first), second, shortcut=shortcut)


def _bottleneck(
    x: tf.Tensor, filters: int, strides: int, name: str, method: Method, downsample: str, *, is_pair_linked: bool
) -> tf.Tensor:
    shortcut = shortcut_of(x, filters * EXPANSION, strides, name, method, downsample)
    first = method.with_link(none.LINK) if is_pair_linked else method
    y = first.unit(x, Conv(f"{name}_conv1", filters, 1, bypassed=True))
    y = method.unit(y, Conv(f"{name}_conv2", filters, 3, strides, bypassed=True), linked=x if is_pair_linked else None)
    return method.unit(y, Conv(f"{name}_conv3", filters * EXPANSION, 1), shortcut=shortcut)


def shortcut_of(x: tf.Tensor, filters: int, strides: int, name: str, method: Method, downsample: str) -> tf.Tensor:
    """x itself where the shape is unchanged; else average pooling by the stride and a 1x1 convolution."""
    if strides == 1 and x.shape[-1] == filters:
        return x
    if strides > 1:
        x = keras.layers.AveragePooling2D(strides, strides, "same", name=f"{name}_downsample_pool")(x)
    if downsample == "binary":
        return method.unit(x, Conv(f"{name}_downsample", filters, 1))
    x = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_downsample_conv")(x)
    return normalize(x, f"{name}_downsample_norm", method.bn_momentum)

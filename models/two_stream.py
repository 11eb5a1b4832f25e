"""Bi-Real-50's block: a bottleneck whose narrow and wide features are carried on as two streams.

With x1 the narrow stream (w channels: the output of the previous block's 3x3) and x2 the wide one (4 w channels: the previous
block's output):

    y1 = unit(x2, 1x1, 4 w -> w) + x1
    y2 = unit(y1, 3x3, stride s) + (y1, averaged where s = 2)
    y3 = unit(y2, 1x1, w -> 4 w) + x2           the next block gets x1 = y2 and x2 = y3

At the start of a stage, x1 passes through a real-valued 1x1 convolution without normalization, and x2 through the downsample of the
other blocks (average pooling, 1x1, BN). In the first block of the network both streams come from the stem; its first convolution is
real-valued after a leaky clip, and nothing is added to it.

These additions are Bi-Real Net's shortcuts, one per convolution: with a residual link they serve as the link. An elastic link is
used in addition to x1 and x2, which carry other features than the squeezed or expanded input, and replaces the shortcut around the
3x3 convolution, which would carry the same features.

Source: Liu, Wu, Luo, Yang, Liu, Cheng: Bi-Real Net, and its repository for the bottleneck; its figures are for [3, 4, 6, 3] blocks.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.layers import LeakyClip
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method
from el_larq.models.shortcuts import unit_with_shortcut

# (x, filters, strides, name, method) to the wide stream's shortcut with that number of filters as channels.
Downsample = Callable[[tf.Tensor, int, int, str, Method], tf.Tensor]


def two_stream(
    x: tf.Tensor, filters: int, expansion: int, repeats: Sequence[int], method: Method, shortcut: Downsample
) -> tf.Tensor:
    """The blocks of all stages: (N, H, W, filters) to (N, H / 8, W / 8, filters * 8 * expansion)."""
    narrow = wide = x
    for stage, count in enumerate(repeats):
        for index in range(count):
            strides = 2 if stage and not index else 1
            narrow, wide = _block(
                narrow, wide, filters * 2**stage, strides, f"stage{stage + 1}_block{index + 1}", method, expansion, shortcut
            )
    return wide


def _block(
    narrow: tf.Tensor, wide: tf.Tensor, filters: int, strides: int, name: str, method: Method, expansion: int, shortcut: Downsample
) -> tuple[tf.Tensor, tf.Tensor]:
    streams = replace(method, link=LINKS["none"]) if method.link.residual else method
    carried = shortcut(wide, filters * expansion, strides, name, method)
    first = Conv(f"{name}_conv1", filters, 1)
    shape: Any = narrow.shape
    if narrow is wide:
        y = streams.unit(LeakyClip(name=f"{name}_leaky_clip")(wide), replace(first, real=True))
    else:
        if shape[-1] != filters:
            narrow = keras.layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal", name=f"{name}_narrow_conv")(
                narrow
            )
        y = streams.unit(wide, first, shortcut=narrow)
    y = unit_with_shortcut(y, Conv(f"{name}_conv2", filters, 3, strides), method)
    return y, streams.unit(y, Conv(f"{name}_conv3", filters * expansion, 1), shortcut=carried)

"""MobileNetV1, with every depthwise and pointwise convolution in a unit of the method with its link; and MoBiNet's mid-block.

    stem    3x3 with stride 2 to 32 channels, BN; real-valued
    block   y = unit(unit(x, depthwise 3x3, stride s), 1x1, M -> N)
    blocks  64; 128, 128; 256, 256; 512 six times; 1024, 1024 channels; stride 2 in blocks 2, 4, 6 and 12
    head    global average pooling, dense

Without a link, nothing bypasses these convolutions: MobileNetV1 has no shortcuts, and methods without links were reported
not to converge on it (Elastic-Link poster, table 1).

The depthwise convolutions themselves stay real-valued; the method's normalization and link surround them. ``depthwise="binary"``
binarizes them too. LCE has no operator for that: they run as real-valued convolutions, at a higher cost than ordinary real-valued
ones, and `el-larq convert` requires ``--allow binary-depthwise``.

Variant ``mid`` is the block of MoBiNet (Phan, Huynh, He, Savvides, Shen: MoBiNet, WACV 2020, arXiv 1907.12629), following an
implementation by others: the paper's text was not available, and its authors released no code.

    a = unit(x, 3x3 in groups, M -> M, stride s) + x
    b = unit(a, 1x1, M -> N)
    y = unit(b, 1x1, N -> N) + b

with K channels in each group of the 3x3 convolution ("K-dependency"; ``channels_per_group``). The additions are shortcuts as in
`el_larq.models.shortcuts`; M -> N has none, unless the link applies to any convolution (elastic). The paper's best
network has K = 4, from memory. Each group is a separate convolution, and a separate operator in LCE (its default kernel
does not support groups), with its input channels packed into words of 32 bits:

    K a multiple of 32   M / K operators without waste, and the split and concatenation around them; the default is K = 32
    another K            also M / K operators, each of which multiplies ceil(K / 32) * 32 bits for K channels: at K = 4 eight
                         times the work, and at full width up to 256 operators per block
    K >= M               one ungrouped convolution

Groups larger than the paper's mean more operations, which `el-larq inspect` counts. The binary depthwise convolution is K = 1,
which here would be one operator per channel; the standard block computes it in one operator.

What the source leaves open: where the 3x3 convolution has a stride, the shortcut is average-pooled, as elsewhere in this project.
"""

from dataclasses import replace

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.errors import UsageError, unknown_name
from el_larq.links.link_registry import LINKS
from el_larq.methods.method import Method
from el_larq.models.network_registry import DEPTHWISES
from el_larq.models.shortcuts import unit_with_shortcut
from el_larq.models.stems import apply_stem

# Output channels, as multiples of the stem's, and strides.
BLOCKS = ((2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2), *[(16, 1)] * 5, (32, 2), (32, 1))

CHANNELS_PER_GROUP = 32


def mobilenet(
    x: tf.Tensor,
    num_classes: int,
    method: Method,
    *,
    width: float = 1.0,
    stem: str | None = None,
    depthwise: str | None = None,
    variant: str | None = None,
    channels_per_group: int | None = None,
) -> tf.Tensor:
    """(N, H, W, C) to logits (N, num_classes), from the last of `mobilenet_blocks`."""
    blocks = mobilenet_blocks(
        x, method, width=width, stem=stem, depthwise=depthwise, variant=variant, channels_per_group=channels_per_group
    )
    return keras.layers.Dense(num_classes, name="logits")(keras.layers.GlobalAveragePooling2D(name="pool")(blocks[-1]))


def mobilenet_blocks(
    x: tf.Tensor,
    method: Method,
    *,
    width: float = 1.0,
    stem: str | None = None,
    depthwise: str | None = None,
    variant: str | None = None,
    channels_per_group: int | None = None,
) -> list[tf.Tensor]:
    """The outputs of the blocks for images (N, H, W, C). Images below 64 pixels get the `cifar` stem, which keeps their size.

    depthwise: "real" (the default) or "binary" depthwise convolutions; only for the standard block.
    channels_per_group: K of variant "mid", at least 1; the default is 32.

    Raises:
        UsageError: an invalid value, an option of the other block, or a channel count above K that is not a multiple of K.
    """
    if variant is None and channels_per_group is not None:
        raise UsageError("channels per group are an option of the block variant 'mid'; add --variant mid")
    if variant is not None and depthwise is not None:
        raise UsageError(f"the block variant {variant!r} has no depthwise convolution; omit --depthwise")
    if depthwise not in (None, *DEPTHWISES):
        raise unknown_name("depthwise", depthwise, DEPTHWISES)
    k = CHANNELS_PER_GROUP if channels_per_group is None else channels_per_group
    if k < 1:
        raise UsageError(f"a group has at least 1 channel; got {k}")
    channels = max(1, round(32 * width))
    x = apply_stem(stem, x, channels, method.bn_momentum, method.activation, default="mobile")
    start, outputs = channels, []
    for index, (factor, strides) in enumerate(BLOCKS):
        name = f"block{index + 1}"
        filters = start * factor
        if variant == "mid":
            x = _mid(x, channels, filters, strides, name, method, k)
        else:
            first = Conv(f"{name}_depthwise", channels, 3, strides, depthwise=True, real=depthwise != "binary")
            x = method.unit(method.unit(x, first), Conv(f"{name}_pointwise", filters, 1))
        channels = filters
        outputs.append(x)
    return outputs


def _mid(x: tf.Tensor, channels: int, filters: int, strides: int, name: str, method: Method, k: int) -> tf.Tensor:
    if channels > k and channels % k:
        raise UsageError(
            f"{name}: {channels} channels cannot be divided into groups of {k}; choose another --width or --channels-per-group"
        )
    x = unit_with_shortcut(x, Conv(f"{name}_conv1", channels, 3, strides, groups=max(1, channels // k)), method)
    # A residual link would be a shortcut around this convolution; the block has none here, even where the channel count is kept.
    bare = replace(method, link=LINKS["none"]) if method.link.residual else method
    x = bare.unit(x, Conv(f"{name}_conv2", filters, 1))
    return unit_with_shortcut(x, Conv(f"{name}_conv3", filters, 1), method)

"""SSD: a backbone, smaller maps behind it, and on each map convolutions that predict classes and boxes for its anchors.

    maps      some outputs of the backbone, then for each extra map unit(1x1, half as many channels), unit(3x3, stride 2)
    heads     on each map a 3x3 convolution to per_cell * (C + 1) logits, background first, and one to per_cell * 4 box codes
    output    both for all anchors, (N, A, C + 5), in the order of the anchors

All convolutions but the stem, shortcuts that change the number of channels, and ``heads="real"`` are units of the method with its
link. With ``heads="binary"``, heads are units too, without the method's activation; the normalization takes the place of a bias.

The maps' sizes follow from the image's: at 300 pixels, ResNet18 gives 38, 19 and 10 cells a side, followed by 5, 3 and 1; MobileNet
19 and 10, followed by 5, 3 and 1. `el_larq.models.detector_anchors` has their anchors.

Source: Liu et al.: SSD, ECCV 2016.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.detection.anchors import anchors_per_cell, default_ratios
from el_larq.errors import UsageError, unknown_name
from el_larq.methods.method import Method
from el_larq.models.mobilenet import mobilenet_blocks
from el_larq.models.network_registry import HEADS
from el_larq.models.resnet import resnet_stages
from el_larq.models.shortcuts import pool

EXTRA_FILTERS = (512, 256, 256)
"""Of the maps behind the backbone, at full width."""


def ssd_resnet18(
    x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0, heads: str | None = None, **options: Any
) -> tf.Tensor:
    """(N, H, W, C) to predictions (N, A, num_classes + 5). The options are those of the network resnet18."""
    maps = resnet_stages(x, method, block="basic", repeats=(2, 2, 2, 2), width=width, **options)[1:]
    return _detector(maps, num_classes, method, width, heads)


def ssd_mobilenet(
    x: tf.Tensor, num_classes: int, method: Method, *, width: float = 1.0, heads: str | None = None, **options: Any
) -> tf.Tensor:
    """(N, H, W, C) to predictions (N, A, num_classes + 5). The options are those of the network mobilenet."""
    blocks = mobilenet_blocks(x, method, width=width, **options)
    return _detector([blocks[10], blocks[12]], num_classes, method, width, heads)


def _detector(maps: Sequence[tf.Tensor], num_classes: int, method: Method, width: float, heads: str | None) -> tf.Tensor:
    maps = extra_maps(maps, [max(2, round(filters * width)) for filters in EXTRA_FILTERS], method)
    return predict_boxes(maps, num_classes, method, heads)


def extra_maps(maps: Sequence[tf.Tensor], filters: Sequence[int], method: Method) -> list[tf.Tensor]:
    """The maps and further ones behind the last: each half as large as the one before, and 3x3 cells are followed by one."""
    found = list(maps)
    for index, count in enumerate(filters, 1):
        x: Any = found[-1]
        strides = 3 if max(x.shape[1:3]) == 3 else 2
        shortcut = pool(x, strides, f"extra{index}") if x.shape[-1] == count else None
        narrow = method.unit(x, Conv(f"extra{index}_conv1", count // 2, 1, bypassed=shortcut is not None))
        found.append(method.unit(narrow, Conv(f"extra{index}_conv2", count, 3, strides), shortcut=shortcut))
    return found


def predict_boxes(maps: Sequence[tf.Tensor], num_classes: int, method: Method, heads: str | None = None) -> tf.Tensor:
    """(N, A, num_classes + 5) for the anchors of all maps.

    heads: "real" (the default) or "binary".

    Raises:
        UsageError: an unknown value, or binary heads with a method that does not binarize.
    """
    if heads not in (None, *HEADS):
        raise unknown_name("heads", str(heads), HEADS)
    if heads == "binary" and not method.binary:
        raise UsageError(f"method {method.name!r} does not binarize; omit --heads binary")
    parts = []
    for index, (x, ratios) in enumerate(zip(maps, default_ratios(len(maps)), strict=True), 1):
        per_cell = anchors_per_cell(ratios)
        outputs = []
        for kind, size in (("classes", num_classes + 1), ("boxes", 4)):
            name = f"head{index}_{kind}"
            y = _head(x, per_cell * size, name, method, heads)
            outputs.append(keras.layers.Reshape((-1, size), name=name)(y))
        parts.append(outputs)
    classes, boxes = (
        keras.layers.Concatenate(axis=1, name=kind)([outputs[place] for outputs in parts])
        for place, kind in enumerate(("classes", "boxes"))
    )
    return keras.layers.Concatenate(name="predictions")([classes, boxes])


def _head(x: tf.Tensor, filters: int, name: str, method: Method, heads: str | None) -> tf.Tensor:
    if heads == "binary":
        return replace(method, activation=None).unit(x, Conv(f"{name}_unit", filters, 3))
    return keras.layers.Conv2D(filters, 3, padding="same", kernel_initializer="glorot_uniform", name=f"{name}_conv")(x)

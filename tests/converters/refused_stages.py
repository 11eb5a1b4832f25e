"""Stages of random networks that LCE cannot run: `convert` must refuse them by their cause."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

from typing import Any

import larq
import tf_keras as keras
from drawing import Drawing, Stage

L = keras.layers
Q: Any = larq.layers


def _binary_depthwise(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("binary-depthwise")
    return Q.QuantDepthwiseConv2D(3, padding="same", input_quantizer="ste_sign", depthwise_quantizer="ste_sign", name=name)(x)


def _no_operator(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("no-operator")
    signs = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign", "name": name}
    if draw.maybe():
        return Q.QuantConv2DTranspose(8, 3, padding="same", **signs)(x)
    return Q.QuantLocallyConnected2D(4, 1, **signs)(x)


def _low_bit(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("low-bit")
    quantizers = draw.of(
        {"input_quantizer": larq.quantizers.DoReFa(2), "kernel_quantizer": "ste_sign"},
        {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_tern"},
    )
    return Q.QuantConv2D(8, 3, padding="same", **quantizers, name=name)(x)


def _zeros_and_ones(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("not-binary")
    quantizers = {"input_quantizer": larq.quantizers.SteHeaviside(), "kernel_quantizer": "ste_sign"}
    return Q.QuantConv2D(8, 3, padding="same", **quantizers, name=name)(x)


def _uneven_groups(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("not-binary")
    y = L.Conv2D(16, 1, name=f"{name}_before")(x)
    signs = {"input_quantizer": "ste_sign", "kernel_quantizer": "ste_sign"}
    return Q.QuantConv2D(8, 3, padding="same", pad_values=1.0, groups=2, **signs, name=name)(y)


def _gelu(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("uses Erf")
    return L.Activation("gelu", name=name)(x)


def _batch_statistics(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("training=True")
    return L.BatchNormalization(name=name)(x, training=True)


def _loop(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("keeps a list in a loop")
    _, height, width, channels = x.shape
    y = L.LSTM(8, name=name)(L.Reshape((height, width * channels), name=f"{name}_rows")(x))
    return L.Reshape((1, 1, 8), name=f"{name}_map")(y)


def _sparse(draw: Drawing, x: Any, name: str) -> Any:
    draw.refusals.add("sparse matrix")
    return L.LocallyConnected2D(2, 1, implementation=3, name=name)(x)


REFUSED: tuple[Stage, ...] = (
    _binary_depthwise,
    _no_operator,
    _low_bit,
    _zeros_and_ones,
    _uneven_groups,
    _gelu,
    _batch_statistics,
    _loop,
    _sparse,
)

"""Chains of layers whose channels no other layer sees: channels that are always 0 there can be left out, without any other change.

    producer -> layers that treat each channel by itself -> consumer

A producer is a convolution or dense layer, and so is the consumer, which sums over channels. In between are normalizations, ReLUs,
depthwise convolutions, pools and the like, each the only reader of the one before: an expansion and its projection in MobileNetV2,
or two convolutions of a residual block.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.keras_internals import LayerCall, is_functional, layer_calls

_ENDS = (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)

_BETWEEN = (
    keras.layers.AveragePooling2D,
    keras.layers.BatchNormalization,
    keras.layers.Cropping2D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Dropout,
    keras.layers.GlobalAveragePooling2D,
    keras.layers.GlobalMaxPooling2D,
    keras.layers.MaxPooling2D,
    keras.layers.ReLU,
    keras.layers.SpatialDropout2D,
    keras.layers.UpSampling2D,
    keras.layers.ZeroPadding2D,
)


@dataclass(frozen=True)
class ChannelChain:
    """Layers with the same channels between ``producer`` and ``consumer``; all are distinct, and each is called once."""

    producer: Any
    between: tuple[Any, ...]
    consumer: Any

    @property
    def channels(self) -> int:
        return int(self.producer.get_weights()[0].shape[-1])

    def always_zero(self) -> np.ndarray:
        """The channels that are 0 for every image where the consumer reads them, bool (C,)."""
        kernel, *bias = self.producer.get_weights()
        zero = ~np.any(kernel.reshape(-1, kernel.shape[-1]), axis=0)
        zero = zero & (bias[0] == 0) if bias else zero
        for layer in self.between:
            if isinstance(layer, keras.layers.BatchNormalization):
                zero = (_array(layer.gamma) == 0) & (_array(layer.beta) == 0)
            elif isinstance(layer, keras.layers.DepthwiseConv2D):
                kernel, *bias = layer.get_weights()
                zero = zero | ~np.any(kernel, axis=(0, 1, 3))
                zero = zero & (bias[0] == 0) if bias else zero
        return zero


def channel_chains(model: keras.Model) -> Iterator[ChannelChain]:
    """The chains of a model, in the order of its graph; none if it is not a graph of layers."""
    if not is_functional(model):
        return
    calls = list(layer_calls(model))
    count: dict[int, int] = {}
    readers: dict[int, list[LayerCall]] = {}
    for call in calls:
        count[id(call.layer)] = count.get(id(call.layer), 0) + 1
        for tensor in () if call.is_input else call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    outputs: Any = model.outputs
    results = {id(tensor) for tensor in outputs}

    def reader(call: LayerCall) -> LayerCall | None:
        """The only reader of the only output of a layer that is called once."""
        tensors = [id(tensor) for tensor in call.outputs]
        if len(tensors) != 1 or tensors[0] in results or len(found := readers.get(tensors[0], [])) != 1:
            return None
        return found[0] if count[id(found[0].layer)] == 1 and len(found[0].inputs) == 1 else None

    for call in calls:
        if (
            type(call.layer) not in _ENDS
            or count[id(call.layer)] > 1
            or not _passes_zero(call.layer)
            or call.layer.dtype != "float32"
        ):
            continue
        between, following = [], reader(call)
        while following is not None and type(following.layer) in _BETWEEN and _is_by_channel(following.layer):
            between.append(following.layer)
            following = reader(following)
        if following is not None and type(following.layer) in _ENDS and getattr(following.layer, "groups", 1) == 1:
            yield ChannelChain(call.layer, tuple(between), following.layer)


def _passes_zero(layer: Any) -> bool:
    """Whether a layer's activation is 0 at 0, and its outputs are computed from all inputs."""
    name = getattr(getattr(layer, "activation", None), "__name__", "linear")
    return name in ("linear", "relu", "relu6", "swish") and getattr(layer, "groups", 1) == 1


def _is_by_channel(layer: Any) -> bool:
    if getattr(layer, "data_format", "channels_last") != "channels_last":
        return False
    if isinstance(layer, keras.layers.BatchNormalization):
        return layer.axis == [len(layer.input_shape) - 1] and layer.gamma is not None and layer.beta is not None
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return layer.depth_multiplier == 1 and _passes_zero(layer)
    return not (isinstance(layer, keras.layers.ReLU) and layer.threshold)


def _array(variable: Any) -> np.ndarray:
    return np.asarray(variable)

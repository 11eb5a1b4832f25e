"""Channels that are 0 for every image are left out: those of a training that prunes channels, for example. Exact.

A channel of a chain (`el_larq.counting.channel_chains`) goes with its filter, its entries of normalizations and depthwise kernels,
and its inputs of the consumer. One channel is left if all are 0.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.counting.channel_chains import ChannelChain, channel_chains


def without_unused_channels(model: keras.Model) -> tuple[keras.Model, int]:
    """The model without channels that are always 0, and their number; the same model if there are none."""
    kept = [(chain, _kept(chain)) for chain in channel_chains(model)]
    kept = [(chain, channels) for chain, channels in kept if len(channels) < chain.channels]
    if not kept:
        return model, 0
    outputs: dict[int, int] = {id(chain.producer): len(channels) for chain, channels in kept}
    taken: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for chain, channels in kept:
        taken[id(chain.producer)].append((-1, channels))
        taken[id(chain.consumer)].append((-2, channels))
        for layer in chain.between:
            taken[id(layer)].append((-2 if isinstance(layer, keras.layers.DepthwiseConv2D) else -1, channels))

    def smaller(layer: Any) -> Any:
        config = layer.get_config()
        if (count := outputs.get(id(layer))) is not None:
            config["units" if isinstance(layer, keras.layers.Dense) else "filters"] = count
        return layer.__class__.from_config(config)

    found: Any = keras.models.clone_model(model, clone_function=smaller)
    for layer in model.layers:
        weights = layer.get_weights()
        for axis, channels in taken[id(layer)]:
            # Vectors are biases and parameters of normalizations; a bias of the consumer has no input channels.
            weights = [
                array
                if array.ndim == 1 and axis == -2 and not isinstance(layer, keras.layers.DepthwiseConv2D)
                else np.take(array, channels, -1 if array.ndim == 1 else axis)
                for array in weights
            ]
        if weights:
            found.get_layer(layer.name).set_weights(weights)
    return found, sum(chain.channels - len(channels) for chain, channels in kept)


def _kept(chain: ChannelChain) -> np.ndarray:
    """The channels that may be other than 0; the first one if there are none."""
    found = np.flatnonzero(~chain.always_zero())
    return found if len(found) else np.array([0])

"""Channels that are 0 for every image are left out: those of a training that prunes channels, for example. Exact.

A channel of a chain (`el_larq.counting.channel_chains`) goes with its filter, its entries of normalizations and depthwise kernels,
and its inputs of the consumer. One channel is left if all are 0.
"""

from collections import defaultdict
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.counting.channel_chains import ChannelChain, channel_chains
from el_larq.errors import summarize
from el_larq.printable import counted


def without_unused_channels(model: keras.Model) -> tuple[keras.Model, str]:
    """The model without channels that are always 0, and a line about them; the same model, and "", if there are none.

    A model with layers that cannot be made again from their configuration keeps them.
    """
    kept = [(chain, _kept(chain)) for chain in channel_chains(model)]
    kept = [(chain, channels) for chain, channels in kept if len(channels) < chain.channels]
    if not kept:
        return model, ""
    unused = counted(sum(chain.channels - len(channels) for chain, channels in kept), "channel")
    try:
        found = _without(model, kept)
    except (ValueError, TypeError, NotImplementedError) as error:
        return model, f"{unused} that are always 0 remain, since the model cannot be made again without them: {summarize(error)}"
    return found, f"{unused} left out that are always 0: {found.count_params():,} parameters remain"


def _without(model: keras.Model, kept: list[tuple[ChannelChain, np.ndarray]]) -> keras.Model:
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
            copy = found.get_layer(layer.name)
            copy.set_weights(weights)
            if hasattr(copy, "finalize_state"):  # of preprocessing: it computes with constants that it derives from weights
                copy.finalize_state()
    return found


def _kept(chain: ChannelChain) -> np.ndarray:
    """The channels that may be other than 0; the first one if there are none."""
    found = np.flatnonzero(~chain.always_zero())
    return found if len(found) else np.array([0])

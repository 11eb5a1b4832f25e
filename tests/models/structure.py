"""What tests of networks ask of a model's graph."""

from functools import cache
from typing import Any

import tf_keras as keras

from el_larq.keras_internals import leaf_layers
from el_larq.models.build import build


@cache
def small(network: str, method: str = "el", **arguments: Any) -> Any:
    """A network small enough to build in a moment, once for all tests that ask for the same."""
    arguments = {"input_shape": (16, 16, 1), "num_classes": 10, "width": 0.125} | arguments
    return build(network, method, **arguments)


def layers_of(model: Any, kind: Any) -> list[Any]:
    return [layer for layer in leaf_layers(model) if isinstance(layer, kind)]


def has(model: Any, name: str) -> bool:
    return name in {layer.name for layer in model.layers}


def inputs_of(model: Any, name: str) -> list[str]:
    """Names of the layers whose outputs a layer takes, in order."""
    inbound = model.get_layer(name).inbound_nodes[0].inbound_layers
    return [layer.name for layer in (inbound if isinstance(inbound, list) else [inbound])]


def sizes(model: Any, kind: Any = keras.layers.Conv2D) -> list[int]:
    """Heights of the maps that layers of a kind put out, without repetition, in order."""
    return list(dict.fromkeys(layer.output_shape[1] for layer in layers_of(model, kind)))

"""Which layers of a network are trained: `freeze` of a recipe, for a network that starts from a trained one.

- "none": all layers.
- "backbone": all but the head. The head is what comes last: the last layer with weights, and the layers without weights after it.
- a pattern, or several separated by commas, as a shell has them (``stem_*,stage1_*``): all layers but those whose names match.

A frozen layer keeps its weights, and a frozen batch normalization normalizes with its moving statistics, as in inference.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.keras_internals import is_compiled, is_functional, layer_calls, leaf_layers
from el_larq.training.recipe import Recipe

NOTHING, BACKBONE = "none", "backbone"

_NAMED = 6


@dataclass(frozen=True)
class Head:
    """The head of a network: its layers, in order, and the tensor that the first of them reads, symbolic (N, ...)."""

    layers: tuple[keras.layers.Layer, ...]
    features: Any


def find_head(model: keras.Model) -> Head:
    """The head of a network. Raises UsageError if it does not end in a chain of layers with one input each."""
    outputs: Any = model.outputs
    if not is_functional(model) or len(outputs) != 1:
        raise UsageError(f"{model.name} has no head that can be told from its backbone; freeze layers by name, such as 'stage1_*'")
    made = {id(tensor): call for call in layer_calls(model) if not call.is_input for tensor in call.outputs}
    tensor, layers = outputs[0], []
    while True:
        call = made.get(id(tensor))
        if call is None or len(call.inputs) != 1 or isinstance(call.layer, keras.Model):
            raise UsageError(
                f"{model.name} does not end in a chain of single layers, so its head is not known; "
                "freeze layers by name, such as 'stage1_*'"
            )
        layers.insert(0, call.layer)
        tensor = call.inputs[0]
        if call.layer.weights:
            return Head(tuple(layers), tensor)


def frozen_layers(model: keras.Model, freeze: str) -> list[keras.layers.Layer]:
    """The layers with weights that ``freeze`` excludes from training.

    Raises:
        UsageError: a pattern matches no layer with weights, or every layer that has weights would be frozen.
    """
    if freeze == NOTHING:
        return []
    layers = [layer for layer in leaf_layers(model) if layer.weights]
    if freeze == BACKBONE:
        head = {id(layer) for layer in find_head(model).layers}
        return [layer for layer in layers if id(layer) not in head]
    patterns = [pattern.strip() for pattern in freeze.split(",") if pattern.strip()]
    names = [layer.name for layer in layers]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise UsageError(f"--freeze {pattern}: no layer with weights has such a name; there are {_listed(names)}")
    found = [layer for layer in layers if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]
    if not any(layer.trainable_weights for layer in layers if layer not in found):
        raise UsageError(f"--freeze {freeze}: this freezes all layers, so there is nothing to train")
    return found


def freeze_layers(model: keras.Model, recipe: Recipe) -> list[keras.layers.Layer]:
    """Exclude layers from training as the recipe says, before the model is compiled; return those that were trained until now.

    Raises:
        UsageError: see `frozen_layers`; or the model is compiled.
    """
    layers = frozen_layers(model, recipe.freeze)
    if recipe.batch_norm == "frozen":
        head = {id(layer) for layer in find_head(model).layers}
        norms = (layer for layer in leaf_layers(model) if isinstance(layer, keras.layers.BatchNormalization))
        layers += [layer for layer in norms if id(layer) not in head and layer not in layers]
    layers = [layer for layer in layers if layer.trainable]
    if layers and is_compiled(model):
        raise UsageError(f"{model.name} is compiled, so its layers cannot be frozen; set trainable before you compile it")
    set_trainable(layers, False)
    return layers


def set_trainable(layers: Iterable[keras.layers.Layer], value: bool) -> None:
    for layer in layers:
        layer.trainable = value


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more

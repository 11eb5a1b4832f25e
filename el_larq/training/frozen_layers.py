"""Which layers of a network are trained: `freeze` of a recipe, for a network that starts from a trained one.

- "none": all layers.
- "backbone": all but the head. The head is the last layer with weights that is not a batch normalization, and what follows it.
- a pattern, or several separated by commas, as a shell has them (``stem_*,stage1_*``): all layers but those whose names match.

A frozen layer keeps its weights, and a frozen batch normalization normalizes with its moving statistics, as in inference.
"""

from collections.abc import Collection
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import tf_keras as keras

from el_larq.errors import UsageError
from el_larq.keras_internals import all_layers, is_compiled, is_functional, layer_calls, leaf_layers
from el_larq.printable import listed
from el_larq.training.recipe import Recipe

NOTHING, BACKBONE = "none", "backbone"

_NAMED = 6


@dataclass(frozen=True)
class Head:
    """The head of a network: its layers, in order, and the tensor that the first of them reads, symbolic (N, ...)."""

    layers: tuple[keras.layers.Layer, ...]
    features: Any

    def __contains__(self, layer: keras.layers.Layer) -> bool:
        """Whether a layer is one of the head's, or a part of one."""
        return any(layer is part for own in self.layers for part in all_layers(own))


def find_head(model: keras.Model) -> Head:
    """The head of a network.

    Raises:
        UsageError: the network does not end in a chain of layers with one input each, or a layer of the head with weights is
            called elsewhere too.
    """
    outputs: Any = model.outputs
    error = UsageError(
        f"{model.name} does not end in a chain of single layers, so its head is not known: freeze layers by name (stage1_*), "
        "and leave backbone_rate at 1 and batch_norm at train"
    )
    if not is_functional(model) or len(outputs) != 1:
        raise error
    calls = [call for call in layer_calls(model) if not call.is_input]
    made = {id(tensor): call for call in calls for tensor in call.outputs}
    tensor, layers = outputs[0], []
    while True:
        call = made.get(id(tensor))
        if call is None or len(call.inputs) != 1 or isinstance(call.layer, keras.Model):
            raise error
        if call.layer.weights and sum(other.layer is call.layer for other in calls) > 1:
            raise error
        layers.insert(0, call.layer)
        tensor = call.inputs[0]
        # Larq's networks often end in a normalization of the classifier's outputs.
        if call.layer.weights and not isinstance(call.layer, keras.layers.BatchNormalization):
            return Head(tuple(layers), tensor)


def frozen_layers(model: keras.Model, recipe: Recipe) -> list[keras.layers.Layer]:
    """The layers with weights that a recipe excludes from training.

    Raises:
        UsageError: a pattern matches no layer with weights, or the head is needed and not known.
    """
    layers = [layer for layer in leaf_layers(model) if layer.weights]
    head = find_head(model) if recipe.freeze == BACKBONE or recipe.batch_norm == "frozen" else None
    found = []
    if recipe.freeze == BACKBONE and head is not None:
        found = [layer for layer in layers if layer not in head]
    elif recipe.freeze != NOTHING:
        patterns = [pattern.strip() for pattern in recipe.freeze.split(",") if pattern.strip()]
        names = [layer.name for layer in layers]
        for pattern in patterns:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UsageError(f"--freeze {pattern}: no layer with weights has such a name; there are {listed(names, _NAMED)}")
        found = [layer for layer in layers if any(fnmatchcase(layer.name, pattern) for pattern in patterns)]
    if recipe.batch_norm == "frozen" and head is not None:
        norms = [layer for layer in layers if isinstance(layer, keras.layers.BatchNormalization) and layer not in head]
        found += [layer for layer in norms if layer not in found]
    return found


Trainable = list[tuple[keras.layers.Layer, bool]]
"""All layers of a model, outer ones first, and whether each was trainable."""


def freeze_layers(model: keras.Model, recipe: Recipe, fresh: Collection[str] = ()) -> Trainable:
    """Exclude layers from training as the recipe says, before the model is compiled; return what `restore_trainable` needs.

    Arguments:
        fresh: the names of layers that were not initialized from a trained model.

    Raises:
        UsageError: see `frozen_layers`; or a layer to freeze is ``fresh``, nothing is left to train, or the model is compiled.
    """
    before = [(layer, layer.trainable) for layer in all_layers(model)]
    if recipe.backbone_rate != 1 and not is_compiled(model):
        find_head(model)
    layers = frozen_layers(model, recipe)
    random = [layer.name for layer in layers if layer.name in fresh]
    if random:
        raise UsageError(
            f"{listed(random, _NAMED)} would be frozen with random weights, since the model that the training starts from does "
            "not have them; use its network, width and method, or freeze fewer layers"
        )
    if layers and is_compiled(model):
        raise UsageError(f"{model.name} is compiled, so its layers cannot be frozen; set trainable before you compile it")
    for layer in layers:
        layer.trainable = False
    if layers and not model.trainable_weights:
        restore_trainable(before)
        raise UsageError(f"freeze {recipe.freeze} freezes all layers, so there is nothing to train")
    return before


def restore_trainable(before: Trainable) -> None:
    """Undo `freeze_layers`, so that a saved model is not frozen."""
    for layer, value in before:
        layer.trainable = value

"""`--init-from`: a network's layers are initialized with the weights of another model.

A layer takes the weights of the layer with the same name if their number and shapes agree; all others keep their own
initialization. A classifier with a different number of classes thus takes everything but its last layer, and so does one whose
classes have other names. A detector takes the backbone of a classifier, and of a detector of other classes all but the
convolutions that predict classes; of what it is made from, only heads may be left over.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq import card
from el_larq.data.dataset import Dataset
from el_larq.data.in_memory import InMemory
from el_larq.errors import ElLarqError, UsageError
from el_larq.loading.load import check_has_layers, load_model
from el_larq.models.detector_anchors import anchors_of
from el_larq.printable import counted, listed
from el_larq.training.frozen_layers import find_head
from el_larq.zoo.named_models import find_model, is_model_name

_NAMED = 8
_HEAD, _CLASSES = re.compile(r"head\d+_"), re.compile(r"head\d+_classes_")
"""The layers of a detector that predict, and of these, those that predict classes."""


@dataclass(frozen=True)
class Initialized:
    """taken: names of the layers whose weights were copied. fresh: the other layers with weights, as pairs of name and reason.

    share: the fraction of the network's weights that were copied, 0 to 1.
    left: of a detector, names of the source's layers with weights that have no place in it.
    """

    source: str
    taken: tuple[str, ...]
    fresh: tuple[tuple[str, str], ...]
    share: float
    left: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For the run's config, which adds the source."""
        return {"taken": len(self.taken), "fresh": [name for name, _ in self.fresh]}

    @property
    def is_minor(self) -> bool:
        """Whether fewer than half of the layers were copied."""
        return len(self.taken) < len(self.fresh)

    @property
    def summary(self) -> str:
        total = len(self.taken) + len(self.fresh)
        if not self.fresh:
            return f"all {total} layers with weights start from {self.source}"
        left = f"; not taken: {listed(self.left, _NAMED)}" if self.left else ""
        named = [f"{name} ({reason})" for name, reason in self.fresh[:_NAMED]]
        more = [f"{len(self.fresh) - _NAMED} more"] if len(self.fresh) > _NAMED else []
        return (
            f"{len(self.taken)} of {total} layers with weights ({self.share:.0%} of all weights) start from {self.source}; "
            f"fresh: {', '.join(named + more)}{left}"
        )


def initialize(
    model: keras.Model,
    source: str | Path,
    trust: bool = False,
    whole: bool = False,
    labels: Sequence[str] = (),
    partial: bool = False,
) -> Initialized:
    """Copy the weights that fit from a model into ``model``.

    Arguments:
        source: a model file (.h5, .keras or SavedModel), a run folder or zoo:NAME.
        trust: as in `load_model`.
        whole: all of them must fit, and none may be left over: nothing that was trained is lost silently.
        labels: the classes of ``model``. If the source's card names others, the head is not copied, unless ``whole`` is set.
        partial: accept a source of which fewer than half of the network's layers are taken.

    Raises:
        ElLarqError: the file cannot be loaded, none of its layers fits, fewer than half do and ``partial`` is not set, or not all
            do and ``whole`` is set. The model is then unchanged.
    """
    path = find_model(source)
    start = load_model(path, trust)
    check_has_layers(start, str(source))
    weights = _weights(start)
    if whole:
        _check_whole(str(source), _layers(start), _layers(model))
    other_classes = set() if whole else _head_of_other_classes(model, path, labels)
    layers = _layers(model)
    left = _left_over(str(source), start, model, partial) if anchors_of(model) is not None and not whole else ()
    taken, fresh = [], []
    for name, layer in layers.items():
        own = layer.get_weights()
        theirs = weights.get(name)
        if theirs is None:
            fresh.append((name, "not there"))
        elif [array.shape for array in theirs] != [array.shape for array in own]:
            fresh.append((name, _difference(theirs, own)))
        elif name in other_classes:
            fresh.append((name, "for other classes"))
        else:
            taken.append(name)
    if not taken:
        raise ElLarqError(
            f"{source}: none of its {len(weights)} layers with weights fits the network; "
            "train the network, width and method that it was made with"
        )
    parameters = {name: layer.count_params() for name, layer in layers.items()}
    share = sum(parameters[name] for name in taken) / max(1, sum(parameters.values()))
    done = Initialized(str(source), tuple(taken), tuple(fresh), share, left)
    if done.is_minor and not partial:
        name, reason = fresh[0]
        raise ElLarqError(
            f"{source}: only {len(taken)} of {len(layers)} layers with weights ({share:.0%} of all weights) fit the network; the "
            f"first that does not is {name} ({reason}); train the network, width and method that it was made with, or accept this "
            "with --partial"
        )
    for name in taken:
        layers[name].set_weights(weights[name])
    return done


def _head_of_other_classes(model: keras.Model, source: Path, labels: Sequence[str]) -> set[str]:
    """The names of the head's layers if the classes of the source's card are not ``labels``; else none."""
    known = card.labels_of_dataset(card.read(source), labels, str(source)) if labels else None
    if known is None or known == list(labels):
        return set()
    if anchors_of(model) is not None:
        return {layer.name for layer in model.layers if _CLASSES.match(layer.name)}
    try:
        return {layer.name for layer in find_head(model).layers}
    except UsageError:  # a network without a simple head
        return set()


def _left_over(source: str, start: keras.Model, detector: keras.Model, partial: bool) -> tuple[str, ...]:
    """The names of the source's layers that a detector does not take because it has heads of its own.

    Raises:
        ElLarqError: another layer has no place in it, and ``partial`` is not set.
    """
    theirs, own = _layers(start), _layers(detector)
    left = [name for name, layer in theirs.items() if name not in own or _described(layer) != _described(own[name])]
    try:
        heads = {layer.name for layer in find_head(start).layers}
    except UsageError:
        heads = set()
    lost = [name for name in left if name not in heads and not _HEAD.match(name)]
    if lost and not partial:
        name = lost[0]
        why = f"{_described(theirs[name])} there, {_described(own[name])} here" if name in own else "it has no place in the network"
        raise ElLarqError(
            f"{source}: {counted(len(lost), 'layer')} of its backbone would be left behind, the first of them {name} ({why}); "
            "train the network, width, stem and method that it was made with, or accept this with --partial"
        )
    return tuple(left)


def _check_whole(source: str, theirs: dict[str, keras.layers.Layer], own: dict[str, keras.layers.Layer]) -> None:
    """Raise ElLarqError unless both have the same layers with the same weights, by name, number and shape."""
    wrong = [f"{name} is not there" for name in own if name not in theirs]
    wrong += [f"{name} has no place here" for name in theirs if name not in own]
    for name in own:
        if name in theirs and (there := _described(theirs[name])) != (here := _described(own[name])):
            wrong.append(f"{name} has {there} there, {here} here")
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise ElLarqError(
            f"not all weights of {source} fit, so the training cannot start from it: {wrong[0]}{more}; "
            "to take only those that fit, use --init-from instead of the recipe's start"
        )


def _described(layer: keras.layers.Layer) -> str:
    """The layer's weights by name and shape, without the layer's own name."""
    return ", ".join(f"{weight.name.split('/')[-1].split(':')[0]} {tuple(weight.shape)}" for weight in layer.weights)


def adopt_preprocessing(data: Dataset, source: str | Path) -> Dataset:
    """The data set prepared as the model's card states, so that the copied layers see inputs like those they were trained on.

    Mean, standard deviation and channel order change, and crop and resampling unless the images were already resized in memory;
    the size remains the data set's, and images for detectors are never cropped. A model with another number of channels, or
    without a card, changes nothing.
    """
    if not (is_model_name(source) or Path(source).exists()):
        return data
    path = find_model(source)
    how = card.preprocessing(card.read(path), str(path))
    if how is None or how.channels != data.preprocessing.channels:
        return data
    scaled = replace(data.preprocessing, mean=how.mean, std=how.std, channel_order=how.channel_order)
    if data.task == "detection":
        scaled = replace(scaled, resampling=how.resampling)
    elif not isinstance(data, InMemory):
        scaled = replace(scaled, crop=how.crop, resampling=how.resampling)
    return data.with_preprocessing(scaled)


def _layers(model: keras.Model, prefix: str = "") -> dict[str, keras.layers.Layer]:
    """Layers with weights by name; those of nested models are "inner/name". Quantizers' weights count as their layer's."""
    found = {}
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            found |= _layers(layer, f"{prefix}{layer.name}/")
        elif layer.weights:
            found[prefix + layer.name] = layer
    return found


def _weights(model: keras.Model) -> dict[str, list[np.ndarray]]:
    return {name: layer.get_weights() for name, layer in _layers(model).items()}


def _difference(theirs: list[np.ndarray], own: list[np.ndarray]) -> str:
    for a, b in zip(theirs, own, strict=False):
        if a.shape != b.shape:
            return f"{'x'.join(map(str, a.shape))} there, {'x'.join(map(str, b.shape))} here"
    return f"{len(theirs)} weights there, {len(own)} here"

"""Teachers: models whose outputs a training compares with its own (`el_larq.training.distillation`)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq import card
from el_larq.data.dataset import Dataset, scale
from el_larq.data.preprocessing import Preprocessing
from el_larq.errors import ElLarqError, UsageError
from el_larq.loading.load import load_model
from el_larq.zoo.named_models import find_model


@dataclass(frozen=True)
class Teacher:
    """A trained model from images to class scores.

    scaling: how its inputs were prepared, if that differs from the training's in scaling or channel order; see `inputs`.
    own: how the training's inputs are prepared.
    probabilities: the model ends with a softmax.
    """

    name: Path
    model: keras.Model
    own: Preprocessing
    scaling: Preprocessing | None
    probabilities: bool

    def inputs(self, images: Any) -> Any:
        """A batch of the training's inputs (N, H, W, C), scaled as the teacher's are."""
        if self.scaling is None:
            return images
        pixels = images * _values(self.own.std) + _values(self.own.mean)
        if self.own.channel_order == "bgr":
            pixels = tf.reverse(pixels, axis=[-1])
        return scale(self.scaling, pixels)

    def logits(self, outputs: Any) -> Any:
        """Logits (N, classes) in float32. Of probabilities, the logarithm; a softmax of it gives them back."""
        outputs = tf.cast(outputs, tf.float32)
        return tf.math.log(tf.maximum(outputs, 1e-30)) if self.probabilities else outputs


def load_teacher(path: Path, data: Dataset, trust: bool = False) -> Teacher:
    """The teacher in a model file or run folder, for a training on ``data``.

    Raises:
        UsageError: it has other classes than the data set, or takes other inputs.
        ElLarqError: it cannot be loaded.
    """
    file = find_model(path)
    model = load_model(file, trust)
    shape, classes = data.preprocessing.input_shape, data.num_classes
    inputs, outputs = [[tuple(tensor.shape[1:]) for tensor in side or []] for side in (model.inputs, model.outputs)]
    if len(outputs) != 1 or len(outputs[0]) != 1:
        raise UsageError(f"the teacher {path} must have one output of {classes} classes; its outputs are {outputs}")
    if outputs[0] != (classes,):
        raise UsageError(
            f"the teacher {path} has {outputs[0][0]} classes, {data.name} has {classes}; train a teacher on {data.name}"
        )
    facts = card.read(file)
    labels = card.labels_of_dataset(facts, data.labels, str(path))
    if labels is not None and labels != list(data.labels):
        raise UsageError(
            f"the teacher {path} has other labels than {data.name}, or in another order; train a teacher on {data.name}"
        )
    fits = len(inputs) == 1 and len(inputs[0]) == 3 and all(a in (None, b) for a, b in zip(inputs[0], shape, strict=True))
    if not fits:
        raise UsageError(f"the teacher {path} takes inputs {inputs}, the training has {shape}; train a teacher on {data.name}")
    model.trainable = False
    return Teacher(path, model, data.preprocessing, _other_scaling(facts, path, data.preprocessing), _ends_with_softmax(model))


def _other_scaling(facts: card.Card, path: Path, own: Preprocessing) -> Preprocessing | None:
    """The teacher's preprocessing if its card states one that scales differently."""
    how = card.preprocessing(facts, str(path))
    if how is None or (how.mean, how.std, how.channel_order) == (own.mean, own.std, own.channel_order):
        return None
    if how.mean is None or own.mean is None:
        raise ElLarqError(
            f"the teacher {path} scales its inputs by their own mean and the training does not, or the reverse; "
            "train a teacher on this data set"
        )
    return how


def _ends_with_softmax(model: keras.Model) -> bool:
    last: Any = model.layers[-1]
    return isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax


def _values(numbers: Any) -> tf.Tensor:
    return tf.constant(numbers, tf.float32)

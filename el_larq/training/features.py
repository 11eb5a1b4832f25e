"""The features of a frozen backbone, computed once: the head is trained on them in place of images.

Images that are not augmented have the same features in every epoch, so this gives the weights that computing the features at each
step gives, up to rounding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import tensorflow as tf
import tf_keras as keras

from el_larq.data.dataset import Dataset, View
from el_larq.data.in_memory import ArrayView, Split
from el_larq.data.streaming import Streaming
from el_larq.data.threads import in_threads
from el_larq.errors import ElLarqError
from el_larq.keras_internals import is_compiled, leaf_layers, random_state
from el_larq.training.frozen_layers import BACKBONE, Head, find_head
from el_larq.training.recipe import Recipe
from el_larq.training.stopping import Stop

BATCH = 64
MAX_BYTES = 1 << 30
"""The largest size of the features of all splits together that are kept in memory."""


class OnFeatures(keras.Model):
    """A network whose steps take its features in place of images, and compute its head only.

    It shares layers and weights with the network that it is made of; a file contains all of them.
    """

    _head: Callable[..., Any]

    def train_step(self, data: Any) -> Any:
        features, labels, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            logits = self._head(features, training=True)
            loss = self.compute_loss(features, labels, logits, weights)
        self.optimizer.minimize(loss, self.trainable_variables, tape=tape)
        return self.compute_metrics(features, labels, logits, weights)


def logits_of(model: keras.Model, inputs: Any) -> Any:
    """A model's outputs in inference, for images or, of `OnFeatures`, for features."""
    return model._head(inputs, training=False) if isinstance(model, OnFeatures) else model(inputs, training=False)


@dataclass(frozen=True, repr=False)
class Features(Dataset):
    """The features of a data set, float32 (N, ...), in its order; each split's are computed when they are first used.

    Raises StopRequestedError instead of computing more of them once ``stop`` asks for it.
    """

    images: Dataset
    backbone: keras.Model
    stop: Stop = field(default_factory=Stop)
    _computed: dict[str, Split] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        return self.images.fingerprint

    @property
    def slug(self) -> str:
        return self.images.slug

    @property
    def augments(self) -> bool:
        return False

    @property
    def skipped(self) -> tuple[str, ...]:
        return self.images.skipped

    def class_counts(self) -> dict[str, list[int]] | None:
        return self.images.class_counts()

    def hold_out(self, share: float) -> Self:
        raise NotImplementedError("features are computed of splits")

    def stopped_by(self, stop: Stop) -> Self:
        """The same features, whose computation ends at a stop request."""
        return replace(self, stop=stop)

    def test_view(self, index: np.ndarray) -> View:
        split = self._split("test")
        return ArrayView(split.images[index], split.labels[index])

    def plain_batches(self, split: str, batch_size: int) -> Any:
        return self._plain_pixels(self._split(split), batch_size)

    def _plain_pixels(self, split: Split, batch_size: int) -> Any:
        def batch(first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            part = slice(int(first), int(first) + batch_size)
            return split.images[part], split.labels[part]

        return self._mapped(tf.data.Dataset.range(0, len(split), batch_size), batch, None)

    def _train_pixels(self, order: Any, batch_size: int) -> Any:
        split = self._split("train")

        def batch(index: np.ndarray, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return split.images[index], split.labels[index]

        return self._mapped(order.batch(batch_size, drop_remainder=True), batch, batch_size)

    def _mapped(self, elements: Any, batch: Any, batch_size: int | None) -> Any:
        """Batches that are taken from the arrays: constants of TensorFlow would be copies of them."""
        return in_threads(elements, batch, self.backbone.output_shape[1:], batch_size, "float32")

    def _scaled(self, batches: Any) -> Any:
        return batches

    def _split(self, name: str) -> Split:
        """Raises ElLarqError if a training image cannot be read: the others' places in the order would change."""
        if name not in self._computed:
            compute: Any = tf.function(lambda images: self.backbone(images, training=False), reduce_retracing=True)
            count, shape = len(self.splits[name]), self.backbone.output_shape[1:]
            features, labels, done = np.empty((count, *shape), np.float32), np.empty(count, np.int64), 0
            with self.images.reading():
                for images, numbers in self.images.plain_batches(name, BATCH):
                    part = slice(done, done + len(numbers))
                    features[part], labels[part] = compute(images).numpy(), numbers.numpy()
                    done = part.stop
                    self.stop.check()
            if done < count and name == "train":
                raise ElLarqError(
                    f"{self.name}: {count - done} training images cannot be read, so the order of the others would change; remove "
                    "them and train again"
                )
            self._computed[name] = Split(features[:done], labels[:done])
        return self._computed[name]


def with_features(
    model: keras.Model, data: Dataset, recipe: Recipe, search: str | None, replicas: int, notify: Callable[[str], None]
) -> tuple[keras.Model, Dataset]:
    """The model and the data set with features in place of images, if the recipe freezes the backbone and nothing prevents it."""
    if recipe.freeze != BACKBONE:
        return model, data
    head = find_head(model)
    images = sum(len(split) for split in data.splits.values())
    reason = "there are several replicas" if replicas > 1 else _reason_against(model, data, recipe, search, head, images)
    if reason is not None:
        notify(f"{reason}, so the backbone is computed at each step")
        return model, data
    notify(f"the features of the frozen backbone are computed once, for {images:,} images")
    own: Any = OnFeatures(inputs=model.inputs, outputs=model.outputs, name=model.name)
    upper, backbone = keras.Model(head.features, model.outputs[0]), keras.Model(model.inputs, head.features)
    # In a function, since Keras would count an attribute that is a model as a part of this one.
    own._head = lambda features, training: upper(features, training=training)
    features = Features(
        name=data.name,
        version=data.version,
        labels=data.labels,
        preprocessing=data.preprocessing,
        train=data.train,
        test=data.test,
        validation=data.validation,
        images=data,
        backbone=backbone,
    )
    return own, features


def _reason_against(model: keras.Model, data: Dataset, recipe: Recipe, search: str | None, head: Head, images: int) -> str | None:
    if isinstance(data, Streaming):
        return f"{data.name} is read from front to back"
    if data.augments:
        return f"{data.name} augments its images (--augment none does not)"
    for name in ("random_augment", "mixup", "cutmix"):
        if getattr(recipe, name):
            return f"{name} changes the images"
    if recipe.qat_bits:
        return "int8 is simulated in the backbone too"
    if recipe.teacher is not None:
        return "a teacher needs the images"
    if search is not None:
        return "the method searches on images between epochs"
    if recipe.average:
        return "an average of weights is evaluated on images"
    if recipe.cross_entropy != 1 or is_compiled(model) or type(model).train_step is not keras.Model.train_step:
        return "the network has a custom training step"
    drawing = [layer.name for layer in leaf_layers(model) if layer not in head and random_state(layer) is not None]
    if drawing:
        return f"layer {drawing[0]} draws random numbers"
    shape = head.features.shape[1:]
    if None in shape:
        return "the size of its features is not known"
    if 4 * math.prod(shape) * images > MAX_BYTES:
        return f"features would take more than {MAX_BYTES / 1e9:.1f} GB"
    return None

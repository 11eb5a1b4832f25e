r"""Training batches with pairs of images mixed, and weights of classes. All random numbers are a function of (seed, step).

With images x, x' and their one-hot labels y, y', where x' is the batch in another order:

    mixup     lambda x + (1 - lambda) x',  lambda y + (1 - lambda) y',  lambda ~ Beta(alpha, alpha), one per batch
    cutmix    a rectangle of x is replaced by that of x'; its area is 1 - lambda of the image before it is clipped to the image,
              its centre is uniform; the labels are mixed by the area that was really replaced

Images are mixed after scaling. With both, each batch is mixed by one of them, with equal probability.

Sources: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018; Yun et al., CutMix, ICCV 2019.
"""

from typing import Any

import numpy as np
import tensorflow as tf

from el_larq.data.dataset import WHOLE_BATCH, BatchShare, Dataset
from el_larq.data.random_augment import RandomAugment
from el_larq.errors import UsageError
from el_larq.training.recipe import Recipe

_MIXUP, _CUTMIX = 0, 1


def recipe_batches(data: Dataset, recipe: Recipe, seed: int, start: int = 0, share: BatchShare = WHOLE_BATCH) -> Any:
    """The share of the data set's training batches from step ``start`` on, with what the recipe adds.

    A process mixes the images of its share with each other, in the same proportion as the other processes.

    Returns:
        A tf.data.Dataset of (images, labels): float32 (N, H, W, C), and int64 (N,) or, mixed, float32 (N, classes). With class
        weights there is a third entry, the weight of each image, float32 (N,).

    Raises:
        UsageError: class weights are asked for and a class has no training images, or the data set does not state their numbers.
    """
    augment = RandomAugment(recipe.random_augment, recipe.random_magnitude) if recipe.random_augment else None
    batches = data.training_batches(recipe.batch_size, recipe.epochs, seed, start, random_augment=augment, share=share)
    weights = class_weights(data) if recipe.class_weights == "balanced" else None
    kinds = [kind for kind, alpha in ((_MIXUP, recipe.mixup), (_CUTMIX, recipe.cutmix)) if alpha]
    if not kinds and weights is None:
        return batches

    def change(step: Any, batch: tuple[Any, Any]) -> tuple[Any, ...]:
        images, labels = batch
        weight = None if weights is None else tf.gather(weights, labels)
        if kinds:
            images, labels = _mixed(images, tf.one_hot(labels, data.num_classes), recipe, kinds, tf.stack([seed, step]))
            weight = None if weights is None else tf.linalg.matvec(labels, weights)
        return (images, labels) if weight is None else (images, labels, weight)

    changed = batches.enumerate(start).map(change, num_parallel_calls=tf.data.AUTOTUNE)
    return changed.prefetch(tf.data.AUTOTUNE)


def _mixed(images: Any, labels: Any, recipe: Recipe, kinds: list[int], key: Any) -> tuple[Any, Any]:
    """``images`` (N, H, W, C) and one-hot ``labels`` (N, classes), mixed."""

    def keyed(number: int) -> Any:
        return key + tf.stack([tf.constant(0, tf.int64), tf.constant((number + 1) << 40, tf.int64)])

    shuffle = tf.random.experimental.stateless_shuffle  # pyright: ignore[reportAttributeAccessIssue]
    order = shuffle(tf.range(tf.shape(images)[0]), keyed(0))
    others, other_labels = tf.gather(images, order), tf.gather(labels, order)
    chosen = tf.constant(kinds[0])
    if len(kinds) == 2:
        chosen = tf.random.stateless_uniform([], keyed(1), 0, 2, tf.int32)
    alpha = tf.where(chosen == _MIXUP, recipe.mixup, recipe.cutmix)
    first, second = (tf.random.stateless_gamma([], keyed(number), alpha) for number in (2, 3))
    share = first / (first + second)
    # Both numbers underflow to 0 for a small alpha, whose Beta distribution is then close to 0 and 1 alone.
    share = tf.where(tf.math.is_finite(share), share, 1.0)
    mask = _rectangle(tf.shape(images)[1], tf.shape(images)[2], share, tf.random.stateless_uniform([2], keyed(4)))
    part = tf.where(chosen == _MIXUP, share, 1 - tf.reduce_mean(mask))
    inside = tf.where(chosen == _MIXUP, 1 - share, mask[None, :, :, None])
    return images + inside * (others - images), part * labels + (1 - part) * other_labels


def _rectangle(height: Any, width: Any, share: Any, centre: Any) -> Any:
    """A mask (height, width): 1 inside a rectangle of 1 - ``share`` of the area around ``centre`` (0 to 1), 0 elsewhere."""
    side = tf.sqrt(1 - share)

    def inside(length: Any, middle: Any) -> Any:
        pixels, half = tf.cast(length, tf.float32), tf.round(tf.cast(length, tf.float32) * side) / 2
        at = tf.floor(middle * pixels)
        positions = tf.range(pixels)
        return tf.cast((positions >= at - half) & (positions < at + half), tf.float32)

    return inside(height, centre[0])[:, None] * inside(width, centre[1])[None, :]


def class_weights(data: Dataset) -> Any:
    """A weight per class, float32 (classes,): inverse to its number of training images, 1 on average over these.

    Raises:
        UsageError: a class has no training images, or the data set does not state their numbers.
    """
    counts = data.class_counts()
    if counts is None:
        raise UsageError(f"{data.name} does not state how many images its classes have; set class_weights to none")
    numbers = np.array(counts["train"], np.float64)
    if not numbers.all():
        empty = data.labels[int(np.argmin(numbers))]
        raise UsageError(f"class {empty} has no training images, so it has no class weight; set class_weights to none")
    return tf.constant(numbers.sum() / (len(numbers) * numbers), tf.float32)

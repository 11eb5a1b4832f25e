"""Optimizer, schedule and loss of a recipe."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.models.counts import kernel_bits, leaf_layers
from el_larq.training.recipe import Recipe


def make_optimizer(recipe: Recipe, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """Adam with the recipe's schedule over ``steps`` steps, and decay on the real-valued kernels of ``model``."""
    warmup = round(recipe.warmup * steps)
    schedule: Any = keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate if warmup == 0 else 0.0,
        max(1, steps - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    if not recipe.weight_decay:
        return keras.optimizers.Adam(schedule)
    optimizer = keras.optimizers.AdamW(schedule, weight_decay=recipe.weight_decay)
    decayed = {id(kernel) for kernel in decayed_kernels(model)}
    optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if id(v) not in decayed])
    return optimizer


def decayed_kernels(model: keras.Model) -> list[tf.Variable]:
    """Kernels that weight decay acts on: real-valued ones of convolutions and dense layers."""
    kernels = []
    for layer in leaf_layers(model):
        if kernel_bits(layer) == 32:
            kernels += [getattr(layer, name) for name in ("kernel", "depthwise_kernel") if hasattr(layer, name)]
    return kernels


def make_loss(recipe: Recipe, num_classes: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Cross-entropy of logits (N, num_classes) with integer labels (N,), smoothed as the recipe says."""

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), num_classes)
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=recipe.label_smoothing)

    return loss

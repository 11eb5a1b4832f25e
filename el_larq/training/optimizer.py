"""Optimizer, schedule and loss of a recipe; and the variables and learning rate of any Keras or Larq optimizer."""

import warnings
from collections.abc import Callable
from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.counting.counts import kernel_bits
from el_larq.keras_internals import leaf_layers, loss_scale_state, optimizer_state, rate_or_schedule
from el_larq.training.bop import make_bop
from el_larq.training.frozen_layers import find_head
from el_larq.training.recipe import Recipe


def make_optimizer(recipe: Recipe, model: keras.Model, steps: int) -> keras.optimizers.Optimizer:
    """The recipe's optimizer with its schedule over ``steps`` steps, and weight decay on the real-valued kernels of ``model``."""
    if recipe.optimizer == "bop":
        return make_bop(_schedule(recipe, steps), recipe.bop_threshold, recipe.bop_gamma, model)
    arguments: dict[str, Any] = {"learning_rate": _schedule(recipe, steps), "global_clipnorm": recipe.clip_norm}
    plain, decaying = keras.optimizers.Adam, keras.optimizers.AdamW
    if recipe.optimizer == "sgd":
        plain = decaying = keras.optimizers.SGD
        arguments |= {"momentum": recipe.momentum, "nesterov": recipe.momentum > 0}
    if recipe.weight_decay:
        plain = decaying
        arguments["weight_decay"] = recipe.weight_decay
    if recipe.backbone_rate != 1:
        head = {id(weight) for layer in find_head(model).layers for weight in layer.weights}
        slow = [weight for weight in model.trainable_variables if id(weight) not in head]
        plain = _slowed(plain, slow, recipe.backbone_rate)
    optimizer = plain(**arguments)
    if recipe.weight_decay:
        decayed = {id(kernel) for kernel in decayed_kernels(model)}
        optimizer.exclude_from_weight_decay([v for v in model.trainable_variables if id(v) not in decayed])
    return optimizer


def scheduled_rate(recipe: Recipe, steps: int, step: int) -> float:
    """The learning rate of a recipe over ``steps`` steps at one of them."""
    return float(_schedule(recipe, steps)(step))


def _slowed(optimizer: Any, slow: list[tf.Variable], factor: float) -> Any:
    """A class of optimizers like the given one that changes some variables by ``factor`` times as much.

    For Adam, and for SGD with its own momentum per variable, this is a learning rate of ``factor`` times the common one.
    """

    class Slowed(optimizer):
        def apply_gradients(self, *arguments: Any, **options: Any) -> Any:
            before = [tf.identity(variable) for variable in slow]
            result = super().apply_gradients(*arguments, **options)
            for variable, old in zip(slow, before, strict=True):
                variable.assign(old + factor * (variable - old))
            return result

    return Slowed


def _schedule(recipe: Recipe, steps: int) -> Any:
    warmup = round(recipe.warmup * steps)
    if recipe.schedule == "linear":
        return _Linear(recipe.learning_rate, warmup, steps)
    if recipe.schedule != "cosine":
        drops = [round(at * steps) for at in recipe.drop_at] if recipe.schedule == "step" else []
        return _Steps(recipe.learning_rate, warmup, drops, recipe.drop)
    return keras.optimizers.schedules.CosineDecay(
        recipe.learning_rate if warmup == 0 else 0.0,
        max(1, steps - warmup),
        warmup_target=recipe.learning_rate if warmup else None,
        warmup_steps=warmup,
    )


class _Steps(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to ``peak`` over ``warmup`` steps; from each step of ``drops`` on, it is multiplied by ``factor``."""

    def __init__(self, peak: float, warmup: int, drops: list[int], factor: float):
        self.peak, self.warmup, self.drops, self.factor = peak, warmup, drops, factor

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        rate = self.peak * tf.minimum(1.0, step / self.warmup) if self.warmup else tf.constant(self.peak)
        for drop in self.drops:
            rate = tf.where(step < drop, rate, rate * self.factor)
        return rate

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "drops": self.drops, "factor": self.factor}


class _Linear(keras.optimizers.schedules.LearningRateSchedule):
    """Rises linearly from 0 to ``peak`` over ``warmup`` steps, then falls linearly to 0 at ``steps``."""

    def __init__(self, peak: float, warmup: int, steps: int):
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> tf.Tensor:
        step = tf.cast(step, tf.float32)
        falling = tf.maximum(0.0, (self.steps - step) / max(1, self.steps - self.warmup))
        return self.peak * (tf.minimum(falling, step / self.warmup) if self.warmup else falling)

    def get_config(self) -> dict[str, Any]:
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


def decayed_kernels(model: keras.Model) -> list[tf.Variable]:
    """The kernels that weight decay applies to: the real-valued ones of convolutions and dense layers."""
    kernels = []
    for layer in leaf_layers(model):
        if kernel_bits(layer) == 32:
            kernels += [getattr(layer, name) for name in ("kernel", "depthwise_kernel") if hasattr(layer, name)]
    return kernels


def make_loss(recipe: Recipe, num_classes: int) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Cross-entropy of logits (N, num_classes) with labels, with the recipe's label smoothing.

    Labels are integers (N,), or the shares of the classes (N, num_classes) of mixed images (`el_larq.training.mixing`).
    """

    def loss(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        targets = labels
        if not _is_shares(labels, num_classes):
            targets = tf.one_hot(tf.cast(tf.reshape(labels, [-1]), tf.int32), num_classes)
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True, label_smoothing=recipe.label_smoothing)

    return loss


def make_accuracy(num_classes: int) -> keras.metrics.Metric:
    """The share of images whose largest logit is that of their label; of a mixed image, the label with the largest share."""

    def correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        wanted = tf.argmax(labels, axis=-1) if _is_shares(labels, num_classes) else tf.reshape(labels, [-1])
        return tf.cast(tf.equal(tf.cast(wanted, tf.int64), tf.argmax(logits, axis=-1)), tf.float32)

    return keras.metrics.MeanMetricWrapper(correct, name="accuracy")


def _is_shares(labels: tf.Tensor, num_classes: int) -> bool:
    return labels.shape.rank == 2 and labels.shape[-1] == num_classes and num_classes > 1


def optimizer_variables(model: keras.Model) -> list[tf.Variable]:
    """All variables of the model's optimizer other than the weights, created now if necessary, always in the same order.

    Supports Keras' optimizers, its legacy ones and Larq's `CaseOptimizer`, which assigns each weight to one of several, also with
    a scale of the loss, whose state comes last.

    Raises:
        ValueError, TypeError, AttributeError: the optimizer is none of these or does not fit the model's weights.
    """
    weights, scale = list(model.trainable_variables), loss_scale_state(model.optimizer)
    optimizer: Any = _inner(model.optimizer)
    if not hasattr(optimizer, "pred_opt_pairs"):
        return optimizer_state(optimizer, weights) + scale
    if optimizer.var_opt_mapping is None:
        with warnings.catch_warnings():
            # Without a default, a CaseOptimizer warns of the weights that no optimizer takes, by design, and prints their values.
            warnings.simplefilter("ignore", UserWarning)
            optimizer._compute_var_opt_mapping([(None, weight) for weight in weights])
    parts = [[] for _ in optimizer.optimizers]
    for weight in weights:
        if (index := optimizer.var_opt_mapping.get(weight._unique_id)) is not None:
            parts[index].append(weight)
    return [found for part, its in zip(optimizer.optimizers, parts, strict=True) for found in optimizer_state(part, its)] + scale


def _inner(optimizer: Any) -> Any:
    """The optimizer itself, without a scale of the loss."""
    return getattr(optimizer, "inner_optimizer", optimizer)


def learning_rate(optimizer: Any, step: int) -> float | None:
    """The learning rate at a step, for a `CaseOptimizer` that of its default; None if the optimizer has none."""
    optimizer = _inner(optimizer)
    if hasattr(optimizer, "pred_opt_pairs"):
        optimizer = optimizer.default
    rate = rate_or_schedule(optimizer)
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(step)
    return None if rate is None else float(rate)

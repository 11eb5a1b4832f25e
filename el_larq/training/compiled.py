"""User networks that their builder has compiled: they are trained with their own optimizer and loss, unchanged.

This allows Larq's Bop, for example, which trains binary kernels without latent weights. Of the recipe, only epochs and batch size
apply, and its loss where ``compile`` was given none. Whatever this project's loop cannot do the way `Model.fit` does is refused,
and the error names it.
"""

from typing import Any

import tensorflow as tf
import tf_keras as keras

from el_larq.errors import ElLarqError, UsageError, summarize
from el_larq.keras_internals import compile_arguments, loss_function
from el_larq.training.optimizer import make_loss, optimizer_variables
from el_larq.training.recipe import Recipe

_STEPS = ("train_step", "test_step", "make_train_function", "make_test_function")


def prepare_compiled(model: keras.Model, recipe: Recipe, num_classes: int, network: str) -> dict[str, str]:
    """Prepare a compiled model for the training loop and return the names of its optimizer and loss.

    Raises:
        UsageError: the model is compiled with something that the loop does not support.
        ElLarqError: its optimizer or its loss does not work with these outputs and integer labels.
    """
    asked = compile_arguments(model)
    for what in _refused(model, asked):
        raise UsageError(f"{network} cannot be trained with its own {what}; remove it from the model, or train with fit()")
    if recipe.mixup or recipe.cutmix:
        raise UsageError(
            f"{network} is compiled, and its own loss and metrics may not support the labels of mixed images; "
            f"set mixup and cutmix of recipe {recipe.name} to 0, or do not compile the model"
        )
    metrics = _flat(asked.get("metrics"))
    if not any(getattr(metric, "name", metric) == "accuracy" for metric in metrics):
        metrics.append("accuracy")
    loss = _flat(asked.get("loss"))
    model.compile(
        model.optimizer,
        loss[0] if loss else make_loss(recipe, num_classes),
        metrics=metrics,
        run_eagerly=asked.get("run_eagerly"),
        jit_compile=asked.get("jit_compile"),
    )
    named = {"optimizer": _optimizer_name(model.optimizer), "loss": _loss_name(loss[0]) if loss else "the recipe's"}
    try:
        optimizer_variables(model)
    except (ValueError, TypeError, AttributeError, NotImplementedError) as error:
        raise ElLarqError(f"{network}: its optimizer {named['optimizer']} cannot be used: {summarize(error)}") from error
    try:
        loss_function(model)(tf.zeros([1], tf.int64), tf.fill([1, num_classes], 1.0 / num_classes))
    except Exception as error:  # a loss may raise anything
        raise ElLarqError(
            f"{network}: its loss {named['loss']} does not take integer labels of {num_classes} classes: {summarize(error)}; "
            "use SparseCategoricalCrossentropy"
        ) from error
    model.reset_metrics()
    return named


def summary(network: str, named: dict[str, str]) -> str:
    """One line that says which optimizer and loss train the network."""
    return (
        f"{network} is compiled: optimizer {named['optimizer']}, loss {named['loss']}; "
        "the recipe's learning rate, backbone rate, schedule, weight decay and label smoothing do not apply"
    )


def _refused(model: keras.Model, asked: dict[str, Any]) -> list[str]:
    own = [name for name in _STEPS if getattr(type(model), name) is not getattr(keras.Model, name)]
    found = [f"{name}()" for name in own] + [
        f"compile({name}=...)" for name in ("loss_weights", "weighted_metrics") if asked.get(name)
    ]
    if asked.get("steps_per_execution") not in (None, 1):
        found.append("compile(steps_per_execution=...)")
    if len(_flat(asked.get("loss"))) > 1:
        found.append("list of losses")
    if getattr(model.optimizer, "use_ema", False):
        found.append("moving average of weights (use_ema)")
    return found


def _flat(given: Any) -> list[Any]:
    """A flat list of what `compile` accepts as a single object, a list, or a dict by output."""
    if given is None or given == {} or given == []:
        return []
    if isinstance(given, dict):
        given = list(given.values())
    if isinstance(given, (list, tuple)):
        return [one for part in given for one in _flat(part)]
    return [given]


def _optimizer_name(optimizer: Any) -> str:
    parts = getattr(optimizer, "optimizers", None)
    inner = f" ({', '.join(type(part).__name__ for part in parts)})" if parts else ""
    return type(optimizer).__name__ + inner


def _loss_name(loss: Any) -> str:
    return loss if isinstance(loss, str) else getattr(loss, "__name__", None) or type(loss).__name__

"""Small random networks, from units of this project's methods alone, or from Larq's and Keras' layers as they come.

Each is a function of a `random.Random`: that of a seed, or one that Hypothesis controls.
"""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

from dataclasses import dataclass
from random import Random
from typing import Any

import numpy as np
import random_stages as stages
import tensorflow as tf
import tf_keras
import tf_keras as keras
from drawing import Drawing, Refusals
from further_stages import FURTHER

from el_larq.conv import Conv
from el_larq.layers import ElasticLink
from el_larq.links.link_registry import LINKS
from el_larq.methods.method_registry import METHODS


@keras.utils.register_keras_serializable("el_larq_tests")
class Gain(keras.layers.Layer):
    """A factor, one for all or one per channel: a gate."""

    def __init__(self, per_channel: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.per_channel = per_channel

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(name="gain", shape=(input_shape[-1],) if self.per_channel else (), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"per_channel": self.per_channel}


@keras.utils.register_keras_serializable("el_larq_tests")
class Shift(keras.layers.Layer):
    """A learned shift per channel, as before ReActNet's sign."""

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs + self.shift


def randomize(model: Any, seed: int, negative: bool = False) -> Any:
    """Every variable that rewrites move gets a value of its own; gains and normalizations may be negative."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.name, variable.shape
        if not tf.as_dtype(variable.dtype).is_floating:
            continue
        if "variance" in name:
            variable.assign(random.uniform(0.5, 2, shape))
        elif "kernel" not in name and "embeddings" not in name:
            sign = random.choice([-1, 1], shape, p=[0.3, 0.7]) if negative else 1
            scales = any(part in name for part in ("gamma", "gain"))
            variable.assign(random.uniform(0.3, 2.5, shape) * sign if scales else random.normal(0, 0.3, shape))
    return model


def random_network(random: Random) -> keras.Model:
    """Two to four units with uneven channels, strides, both placements, all links, gates, shifts and shared tensors."""
    image: Any = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(random.randint(1, 12), 3, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    for index in range(random.randint(2, 4)):
        x = _unit(random, x, f"unit{index}")
    if _maybe(random):
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x), name="random")
    return randomize(model, random.randint(0, 2**31), _maybe(random))


def _maybe(random: Random, percent: int = 50) -> bool:
    return random.randint(0, 99) < percent


def _unit(random: Random, x: Any, name: str) -> Any:
    method = METHODS[random.choice(["binary", "bireal", "el"])]
    link = LINKS[random.choice(["none", "identity", "elastic"])]
    if link.name == "elastic":
        link = link.with_options(per_channel=_maybe(random))
    method = method.with_link(link).with_placement(random.choice(["after_norm", "before_norm"]))
    channels = x.shape[-1]
    filters = random.choice([channels, 2 * channels, max(1, channels // 2), 3 * channels, 5, 7])
    conv = Conv(name, filters, random.choice([1, 3]), random.choice([1, 1, 2]))
    before = Shift(name=f"{name}_shift")(x) if _maybe(random) else x
    y = method.unit(before, conv)
    if _maybe(random) and y.shape[1:] == x.shape[1:]:
        gated = Gain(_maybe(random), name=f"{name}_gate")(x) if _maybe(random) else x
        y = keras.layers.Add(name=f"{name}_residual")([gated, y])
    elif _maybe(random):
        y = ElasticLink(name=f"{name}_outer", strides=conv.strides)([x, y])
    if _maybe(random):
        y = Shift(name=f"{name}_after")(keras.layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(y))
    return y


POLICIES = ("float32", "mixed_float16", "mixed_bfloat16", "float64")


FIRST_FURTHER = 300
"""The number from which networks also have the stages of `further_stages`, and inputs of half precision."""


@dataclass(frozen=True)
class RandomModel:
    """A network of any layers, and the kinds of refusal that these may cause.

    policy: the drawn dtype policy. keras: the Keras that it is built with, tf_keras or Keras 3.
    """

    model: Any
    refusals: Refusals
    policy: str
    keras: Any


def random_model(number: int, policy: str | None = None, keras: Any = tf_keras) -> RandomModel:
    """The network of a number and a Keras.

    policy: the dtype policy in place of the drawn one; everything else stays the same.
    """
    random = Random(number)
    drawn = random.choice(POLICIES) if _maybe(random, 12) else "float32"
    before = keras.mixed_precision.dtype_policy() if keras is not tf_keras else keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(policy or drawn)
    try:
        keras.utils.set_random_seed(random.randint(0, 2**31))
        drawing = Drawing(random, drawn, FURTHER if number >= FIRST_FURTHER else (), keras)
        return RandomModel(_model(drawing), drawing.refusals, drawn, keras)
    finally:
        keras.mixed_precision.set_global_policy(before)


def _model(drawing: Drawing) -> Any:
    random, keras = drawing.random, drawing.keras
    layers = keras.layers
    size = (random.randint(5, 12), random.randint(5, 12)) if _maybe(random, 30) else (random.randint(5, 12),) * 2
    kind = random.choice(["uint8", "int8", "int32"]) if _maybe(random, 12) else None
    if drawing.further and kind is None and _maybe(random, 10):
        kind = "float16"
    image: Any = keras.Input((*size, random.choice([1, 3, 4])), name="image", dtype=kind)
    inputs: list[Any] = [image]
    x = image if kind is None else layers.Rescaling(1 / 64, -0.5, name="scaled")(image)
    x = stages.stem(drawing, x, "stem")
    side = None
    if _maybe(random, 15):
        side = _side(drawing, inputs)
    outputs: list[Any] = []
    for index in range(random.randint(2, 5)):
        name = f"s{index}"
        x = _unit(random, x, name) if drawing.has_larq and _maybe(random, 10) else stages.stage(drawing, x, name)
        if _maybe(random, 6):
            outputs.append(x)
    x = stages.end(drawing, x, "end")
    if side is not None:
        x = layers.Concatenate(name="joined")([x, side])
    outputs.append(stages.classifier(drawing, x))
    if _maybe(random, 5):
        outputs.append(outputs[0])
    if _maybe(random, 3) and kind is None:
        outputs.append(image)
    if _maybe(random, 20):
        outputs.reverse()
    model = keras.Model(inputs if len(inputs) > 1 else image, outputs if len(outputs) > 1 else outputs[0], name="random")
    return randomize(model, random.randint(0, 2**31), _maybe(random))


def _side(drawing: Drawing, inputs: list[Any]) -> Any:
    """A second input: numbers, or indices for an embedding. It may come first."""
    random, keras = drawing.random, drawing.keras
    layers = keras.layers
    if _maybe(random):
        second: Any = keras.Input((4,), name="numbers")
        y = layers.Dense(4, activation="relu", name="side")(second)
    else:
        second = keras.Input((3,), name="indices", dtype="int32")
        y = layers.Flatten(name="flat_indices")(layers.Embedding(7, 2, name="embedding")(second))
    inputs.insert(random.randint(0, 1), second)
    return y

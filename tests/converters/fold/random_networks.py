"""Small random networks with everything that the rewrites have to be right about."""

from typing import Any

import hypothesis.strategies as st
import numpy as np
import tf_keras as keras

from el_larq.conv import Conv
from el_larq.layers import ElasticLink
from el_larq.links.registry import LINKS
from el_larq.methods.registry import METHODS


@keras.utils.register_keras_serializable("el_larq_tests")
class Gain(keras.layers.Layer):
    """A factor, one for all or one a channel: a gate."""

    def __init__(self, per_channel: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        self.per_channel = per_channel

    def build(self, input_shape: Any) -> None:
        self.gain = self.add_weight(name="gain", shape=(input_shape[-1],) if self.per_channel else (), initializer="ones")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs * self.gain


@keras.utils.register_keras_serializable("el_larq_tests")
class Shift(keras.layers.Layer):
    """A learned shift by channel, as before ReActNet's sign."""

    def build(self, input_shape: Any) -> None:
        self.shift = self.add_weight(name="shift", shape=(input_shape[-1],), initializer="zeros")
        super().build(input_shape)

    def call(self, inputs: Any) -> Any:
        return inputs + self.shift


def randomize(model: keras.Model, seed: int, negative: bool = False) -> keras.Model:
    """Every variable that rewrites move gets a value of its own; gains and normalizations may be negative."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        name, shape = variable.name, variable.shape
        if "moving_variance" in name:
            variable.assign(random.uniform(0.5, 2, shape))
        elif "kernel" not in name and "variance" not in name:
            sign = random.choice([-1, 1], shape, p=[0.3, 0.7]) if negative else 1
            scales = any(part in name for part in ("gamma", "gain"))
            variable.assign(random.uniform(0.3, 2.5, shape) * sign if scales else random.normal(0, 0.3, shape))
    return model


def random_network(draw: Any) -> keras.Model:
    """Two to four units with uneven channels, strides, both placements, all links, gates, shifts and shared tensors."""
    image: Any = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(draw(st.integers(1, 12)), 3, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    for index in range(draw(st.integers(2, 4))):
        x = _unit(draw, x, index)
    if draw(st.booleans()):
        x = keras.layers.ReLU()(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model = keras.Model(image, keras.layers.Dense(3, name="logits")(x), name="random")
    return randomize(model, draw(st.integers(0, 2**31)), draw(st.booleans()))


def _unit(draw: Any, x: Any, index: int) -> Any:
    name = f"unit{index}"
    method = METHODS[draw(st.sampled_from(["binary", "bireal", "el"]))]
    link = LINKS[draw(st.sampled_from(["none", "identity", "elastic"]))]
    if link.name == "elastic":
        link = link.with_options(per_channel=draw(st.booleans()))
    method = method.with_link(link).with_placement(draw(st.sampled_from(["after_norm", "before_norm"])))
    channels = x.shape[-1]
    filters = draw(st.sampled_from([channels, 2 * channels, max(1, channels // 2), 3 * channels, 5, 7]))
    conv = Conv(name, filters, draw(st.sampled_from([1, 3])), draw(st.sampled_from([1, 1, 2])))
    before = Shift(name=f"{name}_shift")(x) if draw(st.booleans()) else x
    y = method.unit(before, conv)
    if draw(st.booleans()) and y.shape[1:] == x.shape[1:]:
        gated = Gain(draw(st.booleans()), name=f"{name}_gate")(x) if draw(st.booleans()) else x
        y = keras.layers.Add(name=f"{name}_residual")([gated, y])
    elif draw(st.booleans()):
        y = ElasticLink(name=f"{name}_outer", strides=conv.strides)([x, y])
    if draw(st.booleans()):
        y = Shift(name=f"{name}_after")(keras.layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(y))
    return y

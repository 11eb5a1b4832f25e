"""What decides whether two Keras models are the same network, and weights that are the same for both."""

import hashlib
from typing import Any

import numpy as np
import tf_keras as keras

from el_larq.keras_internals import leaf_layers

_SETTINGS = ("strides", "padding", "dilation_rate", "pad_values", "use_bias", "momentum", "epsilon", "center", "scale")
_OWN_QUANTIZERS = {"xnor_weight_scale": "ScaledSign", "magnitude_aware_sign_unclipped": "StraightScaledSign"}
"""Functions of Larq Zoo, and the classes with their mathematics here."""


def describe(model: keras.Model) -> list[str]:
    """A line for each layer with weights, in order: its kind, the roles and shapes of its weights, and its settings."""
    return [_describe(layer) for layer in leaf_layers(model) if layer.weights]


def shapes(model: keras.Model) -> list[str]:
    """The shapes of the weights of each layer that has any, in order: "3x3x64x64", or "64,64,64,64" for a normalization."""
    return [",".join("x".join(map(str, weight.shape)) for weight in layer.weights) for layer in leaf_layers(model) if layer.weights]


def digest(lines: list[str]) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def _describe(layer: Any) -> str:
    # Without quantizers, Larq's layers are Keras' own.
    kind = type(layer).__name__.removeprefix("Quant")
    weights = [f"{role(weight)}={'x'.join(map(str, weight.shape))}" for weight in layer.weights]
    settings = [f"{name}={_word(getattr(layer, name))}" for name in _SETTINGS if getattr(layer, name, None) is not None]
    settings = [setting for setting in settings if setting != "pad_values=0"]
    activation = getattr(layer, "activation", None)
    if activation is not None and activation is not keras.activations.linear:
        settings.append(f"activation={activation.__name__}")
    for name in ("input_quantizer", "kernel_quantizer", "kernel_constraint", "kernel_regularizer", "kernel_initializer"):
        part = getattr(layer, name, None)
        if part is not None:
            settings.append(f"{name}={_part(part)}")
    frozen = [] if layer.trainable else ["frozen"]
    return " ".join([kind, *weights, *settings, *frozen])


def role(weight: Any) -> str:
    return str(weight.name).rsplit("/", 1)[-1].split(":")[0]


def _word(value: Any) -> str:
    if isinstance(value, tuple):
        return "x".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) and not isinstance(value, bool) else str(value)


def _part(part: Any) -> str:
    name = {"weight_clip": "WeightClip"}.get(_name(part), _name(part))
    if name in _OWN_QUANTIZERS or name in _OWN_QUANTIZERS.values():
        return _OWN_QUANTIZERS.get(name, name)
    config = {key: value for key, value in part.get_config().items() if key in ("clip_value", "k_bit", "mode", "l2", "min_value")}
    return name + "".join(f",{key}={_number(value)}" for key, value in sorted(config.items()))


def _name(part: Any) -> str:
    return getattr(part, "__name__", type(part).__name__)


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, (int, float, np.number, np.ndarray)) else str(value)


def seeded_weights(model: keras.Model, seed: int = 0) -> list[np.ndarray]:
    """Random weights of plausible size for each role, the same for all models with equal `describe`."""
    random = np.random.default_rng(seed)
    return [_values(role(weight), tuple(weight.shape), random) for weight in model.weights]


def _values(what: str, shape: tuple[int, ...], random: np.random.Generator) -> np.ndarray:
    if what in ("moving_variance", "gamma"):
        values = random.uniform(0.5, 1.5, shape)
    elif what in ("moving_mean", "beta", "bias"):
        values = 0.3 * random.standard_normal(shape)
    elif what == "alpha":
        values = random.uniform(0, 0.5, shape)
    else:
        values = random.standard_normal(shape) * np.sqrt(2 / np.prod(shape[:-1]))
    return values.astype(np.float32)


def image(size: int) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((1, size, size, 3)).astype(np.float32)

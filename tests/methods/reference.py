"""What tests of single methods share: units, NumPy in double precision for their parts, and a network of units to convert."""

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tf_keras as keras

import el_larq
from el_larq.conv import Conv
from el_larq.converters.job import Options
from el_larq.counting import counts
from el_larq.keras_internals import leaf_layers
from el_larq.methods.method import Method
from el_larq.tflite.reader import parse


def make_unit(method: Method, shape: tuple[int | None, ...], conv: Conv) -> Any:
    image: Any = keras.Input(shape)
    return keras.Model(image, method.unit(image, conv))


def values(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def randomize(model: Any, seed: int = 0) -> None:
    """Every variable at random: variances and slopes positive, the rest on both sides of zero, kernels partly beyond one."""
    random = np.random.default_rng(seed)
    for variable in model.variables:
        positive = any(word in variable.name for word in ("variance", "slope", "alpha"))
        variable.assign(random.uniform(0.3, 2.0, variable.shape) if positive else random.normal(size=variable.shape))


def weights(model: Any, layer: str) -> list[np.ndarray]:
    return [np.asarray(weight, np.float64) for weight in model.get_layer(layer).get_weights()]


def sign(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1.0, -1.0)


def padded(x: np.ndarray, size: int, strides: int, value: float) -> np.ndarray:
    """What padding "same" reads, with windows of that size."""
    missing = [max((-(-length // strides) - 1) * strides + size - length, 0) for length in x.shape[1:3]]
    sides = [(0, 0), *((m // 2, m - m // 2) for m in missing), (0, 0)]
    return np.pad(x, sides, constant_values=value)


def convolve(x: np.ndarray, kernel: np.ndarray, strides: int = 1, depthwise: bool = False, pad: float = 1.0) -> np.ndarray:
    """Padding "same", with ``pad`` around it. Kernels are (kh, kw, C_in, C_out), depthwise ones (kh, kw, C, 1)."""
    size = kernel.shape[0]
    height, width = (-(-length // strides) for length in x.shape[1:3])
    wide = padded(x, size, strides, pad)
    y = 0.0
    for a in range(size):
        for b in range(size):
            cells = wide[:, a : a + strides * height : strides, b : b + strides * width : strides][:, :height, :width]
            y = y + (cells * kernel[a, b, :, 0] if depthwise else cells @ kernel[a, b])
    return np.asarray(y)


def convolve_depthwise(x: np.ndarray, kernel: np.ndarray, strides: int = 1) -> np.ndarray:
    return convolve(x, kernel, strides, depthwise=True)


def mean_magnitude(kernel: np.ndarray, depthwise: bool = False) -> np.ndarray:
    """One value a filter, ready to multiply the kernel."""
    return np.abs(kernel).mean(axis=(0, 1, 3) if depthwise else (0, 1, 2), keepdims=True)


def norm_scale_and_shift(model: Any, layer: str) -> tuple[np.ndarray, np.ndarray]:
    return _scale_and_shift(model.get_layer(layer))


def normalize(z: np.ndarray, layer: Any) -> np.ndarray:
    scale, shift = _scale_and_shift(layer)
    return scale * z + shift


def _scale_and_shift(layer: Any) -> tuple[np.ndarray, np.ndarray]:
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    scale = gamma / np.sqrt(variance + 1e-5)
    return scale, beta - mean * scale


def randomize_norm(layer: Any, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    channels = layer.gamma.shape[0]
    layer.set_weights([*random.normal(size=(3, channels)), random.uniform(0.5, 3, size=channels)])


def gradients(model: Any, x: np.ndarray, upstream: np.ndarray) -> dict[str, np.ndarray]:
    """Of sum(upstream * model(x)), by the variables' names without ":0", and for the input under "x"."""
    source = tf.constant(x, tf.float32)
    variables = {variable.name.split(":")[0]: variable for variable in model.trainable_variables}
    with tf.GradientTape() as tape:
        tape.watch(source)
        y = model(source, training=False)
    g: Any = tf.constant(upstream, tf.float32)
    found: Any = tape.gradient(y, {"x": source, **variables}, output_gradients=g)
    return {name: np.asarray(gradient, np.float64) for name, gradient in found.items()}


def check_saving(model: Any, folder: Path, x: np.ndarray) -> Path:
    """The model saved as .h5 and as .keras predicts the same, bit for bit; the latter's path."""
    paths = [folder / "model.h5", folder / "model.keras"]
    for path in paths:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            keras.Model(model.inputs, model.outputs, name=model.name).save(path)
        np.testing.assert_array_equal(el_larq.load_model(path)(x, training=False), model(x, training=False))
    return paths[-1]


def units_network(method: Method, *convs: Conv) -> Any:
    """(N, 6, 6, 1) to 10 logits: a real-valued stem of 32 channels, these units, pooling, a dense layer. Seeded."""
    keras.utils.set_random_seed(0)
    image = keras.Input((6, 6, 1), name="image")
    x: Any = keras.layers.Conv2D(32, 3, padding="same", name="stem")(image)
    for conv in convs:
        x = method.unit(x, conv)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="tested")


def convert_units(
    folder: Path,
    units: Iterable[tuple[Method, Conv]],
    size: int = 8,
    channels: int = 32,
    skip: tuple[str, ...] = (),
    **options: Any,
) -> Any:
    """A network of these units, saved in both formats, loaded, converted, audited and verified.

    Returns the counts of operators, by name.
    """
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, 1), name="image")
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name="stem")(image)
    x = keras.layers.BatchNormalization(name="stem_norm")(x)
    for method, conv in units:
        x = method.unit(x, conv)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    model: Any = keras.Model(image, keras.layers.Dense(10, name="logits")(x), name="units")
    _disturb(model)
    check_saving(model, folder, values(2, size, size, 1, seed=1))
    job = el_larq.convert(folder / "model.h5", folder / "model.tflite", options=Options(verify_images=32, **options), skip=skip)
    details = {entry.step: entry.details for entry in job.report}
    assert details["verify"]["failures"] == ()
    binary = [layer for layer in counts.count(model).layers if layer.binary]
    assert details["audit"]["meant_binary"] == len(binary)
    operators = [operator.name for operator in parse((folder / "model.tflite").read_bytes()).operators]
    assert operators.count("LceBconv2d") == details["audit"]["binary"]
    return {name: operators.count(name) for name in operators}


def _disturb(model: Any) -> None:
    """What starts at zero or one is moved from there, as training would."""
    random = np.random.default_rng(0)
    for layer in leaf_layers(model):
        for variable in layer.weights:
            if "kernel" not in variable.name and "gamma" not in variable.name:
                variable.assign(variable + random.uniform(-0.2, 0.2, variable.shape))
            elif "gamma" in variable.name:
                variable.assign(variable * random.uniform(0.8, 1.2, variable.shape))

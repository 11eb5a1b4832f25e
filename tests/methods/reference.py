"""What tests of methods share: units of small models, and convolutions in NumPy, in double precision and without TensorFlow."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras as keras

import el_larq
from el_larq.methods.method import Conv, Method


def make_unit(method: Method, shape: tuple[int, ...], conv: Conv) -> Any:
    image: Any = keras.Input(shape)
    return keras.Model(image, method.unit(image, conv))


def values(*shape: int, seed: int = 0, scale: float = 1.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(scale=scale, size=shape).astype(np.float32)


def sign(x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, 1.0, -1.0)


def patches(x: np.ndarray, size: int, strides: int, pad_value: float) -> np.ndarray:
    """(N, H, W, C) to (N, H', W', size, size, C): what each output pixel of a convolution with padding "same" sees."""
    n, height, width, c = x.shape
    out_h, out_w = -(-height // strides), -(-width // strides)
    above, left = (max((out - 1) * strides + size - full, 0) // 2 for out, full in ((out_h, height), (out_w, width)))
    padded = np.full((n, out_h * strides + size, out_w * strides + size, c), pad_value)
    padded[:, above : above + height, left : left + width] = x
    result = np.zeros((n, out_h, out_w, size, size, c))
    for i in range(out_h):
        for j in range(out_w):
            result[:, i, j] = padded[:, i * strides : i * strides + size, j * strides : j * strides + size]
    return result


def convolve(x: np.ndarray, kernel: np.ndarray, strides: int = 1, pad_value: float = 1.0) -> np.ndarray:
    """x with a kernel (k, k, C_in, C_out), "same"."""
    return np.tensordot(patches(x, kernel.shape[0], strides, pad_value), kernel, axes=([3, 4, 5], [0, 1, 2]))


def convolve_depthwise(x: np.ndarray, kernel: np.ndarray, strides: int = 1, pad_value: float = 1.0) -> np.ndarray:
    """x with a kernel (k, k, C, 1), "same"."""
    return np.einsum("nijabc,abc->nijc", patches(x, kernel.shape[0], strides, pad_value), kernel[..., 0])


def normalize(z: np.ndarray, layer: Any) -> np.ndarray:
    gamma, beta, mean, variance = (np.asarray(weight, np.float64) for weight in layer.get_weights())
    return gamma * (z - mean) / np.sqrt(variance + 1e-5) + beta


def randomize_norm(layer: Any, seed: int = 0) -> None:
    random = np.random.default_rng(seed)
    channels = layer.gamma.shape[0]
    layer.set_weights([*random.normal(size=(3, channels)), random.uniform(0.5, 3, size=channels)])


def check_saving(model: Any, folder: Path, x: np.ndarray) -> Path:
    """The model saved as .h5 and as .keras predicts the same, bit for bit; the latter's path."""
    paths = [folder / "model.h5", folder / "model.keras"]
    for path in paths:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
            keras.Model(model.inputs, model.outputs, name=model.name).save(path)
        np.testing.assert_array_equal(el_larq.load_model(path)(x, training=False), model(x, training=False))
    return paths[-1]

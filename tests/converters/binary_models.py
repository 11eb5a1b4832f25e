"""Small models that tests of the converter share."""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flatbuffers
import larq
import numpy as np
import tf_keras as keras

from el_larq.tflite.reader import IDENTIFIER

SIGNS: dict[str, Any] = {
    "input_quantizer": "ste_sign",
    "kernel_quantizer": "ste_sign",
    "kernel_constraint": "weight_clip",
    "use_bias": False,
}


def binary(filters: int, name: str, kernel_size: int | tuple[int, int] = 3, **changes: Any) -> Any:
    padding: dict[str, Any] = {"padding": "same", "pad_values": 1.0} if kernel_size != 1 else {"padding": "valid"}
    return larq.layers.QuantConv2D(filters, kernel_size, name=name, **(SIGNS | padding | changes))


def norm(name: str, seed: int = 0, fan_in: int = 1) -> keras.layers.Layer:
    """A batch normalization whose statistics are those of no initializer; a sum of ``fan_in`` signs has that variance."""
    uniform: Any = keras.initializers.RandomUniform
    return keras.layers.BatchNormalization(
        name=name,
        beta_initializer=uniform(-0.5, 0.5, seed),
        gamma_initializer=uniform(0.5, 1.5, seed + 1),
        moving_mean_initializer=uniform(-0.5 * fan_in**0.5, 0.5 * fan_in**0.5, seed + 2),
        moving_variance_initializer=uniform(0.5 * fan_in, 2.0 * fan_in, seed + 3),
    )


def network(
    *middle: Callable[[Any], Any], channels: int = 32, size: int = 8, image_channels: int = 1, name: str = "tested"
) -> keras.Model:
    """Stem, the given layers, pooling and a classifier of ten; the same weights at each call."""
    keras.utils.set_random_seed(0)
    image = keras.Input((size, size, image_channels), name="image")
    x = keras.layers.Conv2D(channels, 3, padding="same", use_bias=False, name="stem")(image)
    x = norm("stem_norm")(x)
    for layer in middle:
        x = layer(x)
    x = keras.layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(image, keras.layers.Dense(10, name="logits", bias_initializer="normal")(x), name=name)


def layer(model: keras.Model, name: str) -> Any:
    """A layer by name, as what it is and not as what Keras declares."""
    return model.get_layer(name)


def images(count: int = 32, size: int = 8, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((count, size, size, channels), np.float32)


def edit(content: bytes, change: Callable[[Any], None]) -> bytes:
    """The flatbuffer after a change of its object form."""
    from larq_compute_engine.mlir.python import tflite_schema

    model: Any = tflite_schema.ModelT.InitFromObj(tflite_schema.Model.GetRootAsModel(content, 0))
    change(model)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), IDENTIFIER)
    return bytes(builder.Output())


def change_constant(content: bytes, tensor: int, dtype: Any, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """The flatbuffer with the values of one constant tensor, by index, changed; where a buffer is shared, it gets its own."""

    def apply(model: Any) -> None:
        from larq_compute_engine.mlir.python import tflite_schema

        entry = model.subgraphs[0].tensors[tensor]
        values = np.frombuffer(bytes(model.buffers[entry.buffer].data), dtype)
        buffer: Any = tflite_schema.BufferT()
        buffer.data = np.frombuffer(change(values.copy()).astype(dtype).tobytes(), np.uint8)
        model.buffers.append(buffer)
        entry.buffer = len(model.buffers) - 1

    return edit(content, apply)


def save(model: Any, path: Path) -> Path:
    """Save a model of tf_keras, or of Keras 3, which has no folders."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are saving your model as an HDF5 file")
        model.save(path, **({} if path.suffix else {"save_format": "tf"}))
    return path

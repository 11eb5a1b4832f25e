"""A small real-valued classifier of inverted residuals, and the same with channels that a power of two makes uneven."""

from functools import cache
from typing import Any

import numpy as np
import tf_keras as keras

SIZE, CLASSES = 12, 5


def images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, SIZE, SIZE, 3)).astype(np.float32)


def _normalized(x: Any, name: str, numbers: np.random.Generator, limit: float | None = None) -> Any:
    layer = keras.layers.BatchNormalization(name=name)
    x, size = layer(x), layer.gamma.shape
    mean, beta = numbers.normal(0, 0.3, size), numbers.normal(0.3, 0.5, size)
    layer.set_weights([numbers.uniform(0.5, 1.5, size), beta, mean, numbers.uniform(0.5, 1.5, size)])
    return x if limit is None else keras.layers.ReLU(None if limit == 0 else limit, name=f"{name}_relu")(x)


def classifier(limit: float = 0, softmax: bool = True) -> keras.Model:
    """limit: that of ReLU, 6 for ReLU6; 0 for none."""
    keras.utils.set_random_seed(0)
    numbers, L = np.random.default_rng(0), keras.layers
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = _normalized(L.Conv2D(8, 3, 2, "same", use_bias=False, name="stem")(image), "stem_norm", numbers, limit)
    for block in ("one", "two"):
        y = _normalized(L.Conv2D(24, 1, use_bias=False, name=f"{block}_expand")(x), f"{block}_expand_norm", numbers, limit)
        y = L.DepthwiseConv2D(3, 1, "same", use_bias=False, name=f"{block}_depthwise")(y)
        y = _normalized(y, f"{block}_depthwise_norm", numbers, limit)
        y = _normalized(L.Conv2D(8, 1, use_bias=False, name=f"{block}_project")(y), f"{block}_project_norm", numbers)
        x = L.Add(name=f"{block}_add")([x, y])
    x = L.GlobalAveragePooling2D()(x)
    return keras.Model(image, L.Dense(CLASSES, "softmax" if softmax else None, name="classes")(x), name="small")


@cache
def uneven() -> Any:
    """Computes exactly what `classifier()` does: factors between expansions and depthwise convolutions are powers of two."""
    model: Any = classifier()
    numbers = np.random.default_rng(1)
    for block in ("one", "two"):
        norm, depthwise = model.get_layer(f"{block}_expand_norm"), model.get_layer(f"{block}_depthwise")
        factors = 2.0 ** numbers.integers(-8, 9, norm.gamma.shape)
        gamma, beta, *moments = norm.get_weights()
        norm.set_weights([gamma * factors, beta * factors, *moments])
        depthwise.set_weights([depthwise.get_weights()[0] / factors[:, None]])
    return model

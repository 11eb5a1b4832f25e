"""Parts of random networks: each makes one map (N, height, width, channels) of another, of layers of Larq and Keras.

A stage draws every argument that the layer takes, within what the layer's definition allows for the size of the map.
"""

import el_larq  # isort: skip  # noqa: F401  (first: it selects Keras 2)

from typing import Any

import larq
from drawing import Drawing, Stage
from refused_stages import REFUSED

Q: Any = larq.layers

MAX_CHANNELS = 64


def stage(draw: Drawing, x: Any, name: str) -> Any:
    """One stage: convolutions and binary ones more often than others, what must be refused rarely."""
    if not draw.has_larq:
        return draw.of(_real_convolution, *OTHERS)(draw, x, name)
    if draw.further and draw.maybe(30):
        return draw.of(*draw.further)(draw, x, name)
    choice = draw.random.randint(0, 99)
    if choice < 3:
        return draw.of(*REFUSED)(draw, x, name)
    if choice < 40:
        return binary_unit(draw, x, name)
    if choice < 60:
        return _real_convolution(draw, x, name)
    return draw.of(*OTHERS)(draw, x, name)


def stem(draw: Drawing, x: Any, name: str) -> Any:
    x = draw.layers.Conv2D(draw.of(4, 8, 32), 3, padding="same", use_bias=draw.maybe(), name=name)(x)
    return norm(draw, x, f"{name}_norm")


def end(draw: Drawing, x: Any, name: str) -> Any:
    """A vector of the map."""
    kind = draw.random.randint(0, 4)
    if kind == 0 and x.shape[1] * x.shape[2] * x.shape[3] <= 1024:
        return draw.layers.Flatten(name=name)(x)
    if kind == 1:
        return draw.layers.GlobalMaxPooling2D(name=name)(x)
    if kind == 2:
        return draw.layers.Flatten(name=f"{name}_flat")(draw.layers.GlobalAveragePooling2D(keepdims=True, name=name)(x))
    return draw.layers.GlobalAveragePooling2D(name=name)(x)


def classifier(draw: Drawing, x: Any) -> Any:
    if draw.has_larq and draw.maybe(30):
        quantizers = {"input_quantizer": "ste_sign", "kernel_quantizer": draw.of(*KERNELS)}
        y = Q.QuantDense(draw.of(7, 32), name="binary_dense", use_bias=draw.maybe(), kernel_constraint="weight_clip", **quantizers)(
            x
        )
        x = draw.layers.BatchNormalization(name="dense_norm")(y)
    return draw.layers.Dense(draw.of(2, 5), activation=draw.of(None, "softmax", "sigmoid"), name="logits", dtype="float32")(x)


# Arguments of convolutions.


def pair(draw: Drawing, *values: int) -> tuple[int, int]:
    """The same for height and width, or one for each."""
    first = draw.of(*values)
    return (first, draw.of(*values)) if draw.maybe(25) else (first, first)


def _window(draw: Drawing, x: Any, dilated: bool = True) -> dict[str, Any]:
    """Kernel, strides, padding and dilation that fit the map."""
    kernel, strides, rates = pair(draw, 1, 2, 3, 3, 5), pair(draw, 1, 1, 2, 3), pair(draw, 1, 2, 3)
    padding = draw.of("same", "valid")
    if not dilated or draw.maybe(75):
        rates = (1, 1)
    else:
        strides = (1, 1)
    if padding == "valid":
        kernel = tuple(min(k, (size - 1) // rate + 1) for k, size, rate in zip(kernel, x.shape[1:3], rates, strict=True))
    else:  # strides greater than the kernel are refused
        strides = tuple(min(pair) for pair in zip(kernel, strides, strict=True))
    arguments = {"kernel_size": kernel, "strides": strides, "padding": padding}
    return arguments | {"dilation_rate": rates} if dilated else arguments


def _groups(draw: Drawing, channels: int) -> tuple[int, int]:
    """A number of groups, and of filters."""
    filters = draw.of(3, 4, 8, 8, 32)
    groups = draw.of(*[g for g in (2, 4, 8) if channels % g == 0 and filters % g == 0] or [1]) if draw.maybe(15) else 1
    return groups, filters


ACTIVATIONS = (None, None, "relu", "relu6", "tanh", "sigmoid", "elu", "swish", "hard_sigmoid", "selu", "softplus", "softsign")


def _real_convolution(draw: Drawing, x: Any, name: str) -> Any:
    common = {"use_bias": draw.maybe(), "activation": draw.of(*ACTIVATIONS), "name": name}
    kind = draw.random.randint(0, 11)
    if kind < 5:
        groups, filters = _groups(draw, x.shape[-1])
        y = draw.layers.Conv2D(filters, groups=groups, **_window(draw, x), **common)(x)
    elif kind < 7:
        window = _window(draw, x)
        window["strides"] = (min(window["strides"]),) * 2  # TensorFlow's depthwise convolution has one stride
        multiplier = draw.of(1, 1, 2) if x.shape[-1] <= MAX_CHANNELS // 2 else 1
        y = draw.layers.DepthwiseConv2D(depth_multiplier=multiplier, **window, **common)(x)
    elif kind == 7:
        window = _window(draw, x)
        window["strides"] = (min(window["strides"]),) * 2
        y = draw.layers.SeparableConv2D(draw.of(4, 8), **window, **common)(x)
    elif kind == 8 and min(x.shape[1:3]) <= 6:
        window = {"kernel_size": draw.of(2, 3), "strides": draw.of(1, 2), "padding": draw.of("same", "valid")}
        y = draw.layers.Conv2DTranspose(draw.of(4, 8), **window, **common)(x)
    elif kind == 9 and draw.has_larq and min(x.shape[1:3]) >= 3:
        y = draw.layers.LocallyConnected2D(4, draw.of(1, 3), implementation=draw.of(1, 2), **common)(x)
    elif kind == 10:
        y = rows(draw, x, name, _real_row)
    else:
        y = draw.layers.Dense(draw.of(4, 8), **common)(x)
    return norm(draw, y, f"{name}_norm") if draw.maybe(60) else y


KERNELS = ("ste_sign", "ste_sign", "approx_sign", "swish_sign", "magnitude_aware_sign")
INPUTS = ("ste_sign", "ste_sign", "approx_sign", "swish_sign")


def _signs(draw: Drawing) -> dict[str, Any]:
    kernel = draw.of(*KERNELS)
    return {
        "input_quantizer": draw.of(*INPUTS),
        "kernel_quantizer": larq.quantizers.MagnitudeAwareSign() if kernel == "magnitude_aware_sign" else kernel,
        "kernel_constraint": draw.of("weight_clip", None),
    }


def binary_unit(draw: Drawing, x: Any, name: str) -> Any:
    """What comes before a binary convolution, the convolution, what comes after it, and a shortcut around it."""
    shortcut, source = draw.maybe(30), x
    if draw.maybe(20):
        x = norm(draw, x, f"{name}_before")
    if draw.maybe(10):
        x = draw.layers.MaxPool2D(2, padding="same", strides=1, name=f"{name}_pool")(x)
    y = _binary_convolution(draw, x, name)
    if draw.maybe(25):
        y = draw.layers.Activation(draw.of("relu", "relu6", "tanh", "hard_sigmoid", "elu", "swish"), name=f"{name}_act")(y)
    if draw.maybe(15) and min(y.shape[1:3]) >= 2:
        y = draw.of(draw.layers.MaxPool2D, draw.layers.AveragePooling2D)(2, name=f"{name}_down")(y)
    if draw.maybe(80):
        y = draw.layers.BatchNormalization(scale=draw.maybe(70), center=draw.maybe(80), name=f"{name}_norm")(y)
    if draw.maybe(20):
        y = draw.layers.PReLU(shared_axes=[1, 2], name=f"{name}_prelu")(y)
    if shortcut and source.shape[1:] == y.shape[1:]:
        y = draw.layers.Add(name=f"{name}_shortcut")([source, y])
    return y


def _binary_convolution(draw: Drawing, x: Any, name: str) -> Any:
    common = _signs(draw) | {"use_bias": draw.maybe(20), "name": name}
    kind = draw.random.randint(0, 11)
    if kind < 8:
        window = _window(draw, x)
        pads = {"pad_values": draw.of(0.0, 1.0, 1.0, -1.0)} if window["padding"] == "same" else {}
        groups, filters = (2, 32) if x.shape[-1] == 64 and draw.maybe(40) else (1, draw.of(5, 8, 32, 32, 64))
        return Q.QuantConv2D(filters, groups=groups, **window, **pads, **common)(x)
    if kind == 8:
        # The sign and the padding in layers of their own.
        common.pop("input_quantizer")
        y = draw.layers.Activation(larq.quantizers.SteSign(), name=f"{name}_sign")(x)
        if draw.maybe(40):
            y = draw.layers.ZeroPadding2D(1, name=f"{name}_pad")(y)
        if draw.maybe(20) and min(y.shape[1:3]) >= 2:
            if y.shape[1:3] != x.shape[1:3]:
                draw.refusals.add("not-binary")  # with zeros around the signs, some windows have a maximum of 0
            y = draw.layers.MaxPool2D(2, name=f"{name}_signs_pool")(y)
        return Q.QuantConv2D(draw.of(8, 32), min(3, *y.shape[1:3]), **common)(y)
    if kind == 9:
        return rows(draw, x, name, lambda draw, y, name: _binary_row(draw, y, name, common))
    if kind == 10:
        y = draw.layers.Reshape((1, 1, -1), name=f"{name}_vector")(x) if x.shape[1] * x.shape[2] * x.shape[3] <= 512 else x
        return Q.QuantConv2D(32, 1, **common)(y)
    # Shared by two tensors.
    shared = Q.QuantConv2D(x.shape[-1], 3, padding="same", pad_values=1.0, **common)
    once = draw.layers.ReLU(name=f"{name}_again")(shared(x)) if draw.maybe() else draw.layers.ReLU(name=f"{name}_other")(x)
    return draw.layers.Concatenate(name=f"{name}_both")(
        [shared(x), shared(draw.layers.BatchNormalization(name=f"{name}_mid")(once))]
    )


def rows(draw: Drawing, x: Any, name: str, layer: Stage) -> Any:
    """A layer on sequences (N, steps, channels): the map's pixels in order, or its rows with columns as channels."""
    _, height, width, channels = x.shape
    if draw.maybe() or width * channels > 256:
        y = layer(draw, draw.layers.Reshape((height * width, channels), name=f"{name}_sequence")(x), name)
    else:
        y = layer(draw, draw.layers.Reshape((height, width * channels), name=f"{name}_rows")(x), name)
    return draw.layers.Reshape((y.shape[1], 1, y.shape[2]), name=f"{name}_map")(y)


def _row_window(draw: Drawing, steps: int) -> dict[str, Any]:
    rate = draw.of(1, 1, 2)
    kernel = min(draw.of(1, 3, 5), (steps - 1) // rate + 1)
    strides = 1 if rate > 1 else min(kernel, draw.of(1, 1, 2))
    return {"kernel_size": kernel, "strides": strides, "dilation_rate": rate, "padding": draw.of("same", "valid", "causal")}


def _real_row(draw: Drawing, x: Any, name: str) -> Any:
    window, kind = _row_window(draw, x.shape[1]), draw.random.randint(0, 5)
    if kind < 2:
        return draw.layers.Conv1D(8, **window, name=name)(x)
    if window["padding"] == "causal":
        window["padding"] = "same"
    if kind == 2:
        return draw.layers.SeparableConv1D(8, **window, name=name)(x)
    if kind == 3:
        return draw.layers.DepthwiseConv1D(**window, name=name)(x)
    if kind == 4 and x.shape[1] >= 2:
        return draw.of(draw.layers.MaxPool1D, draw.layers.AveragePooling1D)(2, padding=draw.of("same", "valid"), name=name)(x)
    return draw.layers.Dense(8, activation="relu", name=name)(x)


def _binary_row(draw: Drawing, x: Any, name: str, common: dict[str, Any]) -> Any:
    window = _row_window(draw, x.shape[1])
    pads = {"pad_values": draw.of(0.0, 1.0)} if window["padding"] == "same" else {}
    return Q.QuantConv1D(32, **window, **pads, **common)(x)


# Other layers.


def norm(draw: Drawing, x: Any, name: str) -> Any:
    kind = draw.random.randint(0, 19)
    if kind == 0:
        return draw.layers.LayerNormalization(axis=draw.of(-1, [1, 2, 3], 1), name=name)(x)
    if kind == 1 and x.shape[-1] % 2 == 0:
        return draw.layers.GroupNormalization(2, name=name)(x)
    if kind == 2:
        return draw.layers.UnitNormalization(axis=draw.of(-1, 1), name=name)(x)
    return draw.layers.BatchNormalization(scale=draw.maybe(80), center=draw.maybe(80), epsilon=draw.of(1e-3, 1e-5), name=name)(x)


def _activation(draw: Drawing, x: Any, name: str) -> Any:
    kind = draw.random.randint(0, 9)
    if kind == 0:
        shared = draw.of([1, 2], [1, 2, 3], [1], None)
        return draw.layers.PReLU(shared_axes=shared, name=name)(x)
    if kind == 1:
        return draw.layers.LeakyReLU(draw.of(0.1, 0.3), name=name)(x)
    if kind == 2:
        arguments = {"max_value": draw.of(None, 1.0, 6.0), "negative_slope": draw.of(0.0, 0.2), "threshold": draw.of(0.0, 0.3)}
        return draw.layers.ReLU(**arguments, name=name)(x)
    if kind == 3:
        return draw.layers.Softmax(axis=draw.of(-1, 1), name=name)(x)
    if kind == 4 and draw.has_larq:
        return draw.layers.ThresholdedReLU(0.3, name=name)(x)
    if kind == 5:
        return draw.layers.ELU(0.7, name=name)(x)
    if kind == 6 and draw.has_larq:
        return draw.layers.Activation(draw.of(larq.activations.hard_tanh, larq.activations.leaky_tanh), name=name)(x)
    return draw.layers.Activation(draw.of(*ACTIVATIONS[2:], "exponential" if draw.maybe(5) else "tanh"), name=name)(x)


def _pooling(draw: Drawing, x: Any, name: str) -> Any:
    size, strides, padding = pair(draw, 1, 2, 3), pair(draw, 1, 2, 3), draw.of("same", "valid")
    if padding == "valid":
        size = tuple(map(min, size, x.shape[1:3]))
    return draw.of(draw.layers.MaxPool2D, draw.layers.AveragePooling2D)(size, strides, padding, name=name)(x)


def _shape(draw: Drawing, x: Any, name: str) -> Any:
    _, height, width, channels = x.shape
    kind = draw.random.randint(0, 9)
    if kind == 0 and min(height, width) >= 4:
        return draw.layers.Cropping2D(((draw.of(0, 1), draw.of(0, 1)), (draw.of(0, 1), draw.of(0, 1))), name=name)(x)
    if kind == 1 and max(height, width) <= 6:
        return draw.layers.UpSampling2D(pair(draw, 1, 2), interpolation=draw.of("nearest", "bilinear"), name=name)(x)
    if kind == 2 and max(height, width) <= MAX_CHANNELS:
        return draw.layers.Permute(draw.of((2, 1, 3), (3, 1, 2), (1, 3, 2)), name=name)(x)
    if kind == 3:
        return draw.layers.Reshape((width, height, channels), name=name)(x)
    if kind == 4 and height % 2 == 0 and channels <= 16:
        return draw.layers.Reshape((-1, width, 2 * channels), name=name)(x)
    if kind == 5 and min(height, width) >= 4:
        return draw.layers.CenterCrop(height - 1, width - 2, name=name)(x)
    if kind == 6:
        return draw.layers.Resizing(draw.of(5, 6), draw.of(4, 7), interpolation=draw.of("bilinear", "nearest"), name=name)(x)
    if kind == 7:
        return draw.layers.Dropout(0.5, name=name)(draw.layers.GaussianNoise(0.1, name=f"{name}_noise")(x))
    if kind == 8:
        y = draw.layers.GlobalAveragePooling2D(name=f"{name}_vector")(x)
        y = draw.layers.RepeatVector(6, name=f"{name}_repeat")(y)
        return draw.layers.Reshape((3, 2, channels), name=name)(y)
    return draw.layers.ZeroPadding2D(((draw.of(0, 1), draw.of(0, 2)), (draw.of(0, 1, 3), draw.of(0, 1))), name=name)(x)


def _padded_convolution(draw: Drawing, x: Any, name: str) -> Any:
    """Padding in a layer of its own, as in models ported from other libraries."""
    kernel, strides = draw.of(2, 3, 5, 7), draw.of(1, 2, 2, 3)
    y = draw.layers.ZeroPadding2D(draw.of(kernel // 2, 3, 1, ((0, 1), (0, 1))), name=f"{name}_pad")(x)
    kernel = min(kernel, *y.shape[1:3])
    if draw.maybe(30):
        return draw.layers.DepthwiseConv2D(kernel, strides, name=name)(y)
    return draw.layers.Conv2D(draw.of(4, 8), kernel, strides, name=name)(y)


def _merge(draw: Drawing, x: Any, name: str) -> Any:
    """Two tensors of the same shape, merged."""
    kind = draw.random.randint(0, 8)
    a = draw.layers.Conv2D(x.shape[-1], draw.of(1, 3), padding="same", name=f"{name}_a")(x)
    b = draw.layers.DepthwiseConv2D(3, padding="same", name=f"{name}_b")(x) if draw.maybe() else x
    if kind < 6:
        merges = (
            draw.layers.Add,
            draw.layers.Subtract,
            draw.layers.Multiply,
            draw.layers.Average,
            draw.layers.Maximum,
            draw.layers.Minimum,
        )
        return merges[kind](name=name)([a, b])
    if kind == 6 and x.shape[1] <= 8:
        return draw.layers.Concatenate(axis=1, name=name)([a, b])
    return (
        draw.layers.Concatenate(axis=-1, name=name)([a, b]) if x.shape[-1] <= MAX_CHANNELS else draw.layers.Add(name=name)([a, b])
    )


def _axis_norm(draw: Drawing, x: Any, name: str) -> Any:
    """A normalization of rows or columns behind a real-valued layer."""
    y = draw.layers.Conv2D(8, 3, padding="same", name=f"{name}_conv")(x)
    axis = draw.of(1, 2, [1, 2, 3], [2, 3]) if draw.has_larq else draw.of(1, 2)
    return draw.layers.BatchNormalization(axis=axis, name=name)(draw.layers.ReLU(name=f"{name}_relu")(y))


def _shared(draw: Drawing, x: Any, name: str) -> Any:
    """One layer at two places."""
    layer = draw.of(
        draw.layers.Conv2D(x.shape[-1], 3, padding="same", name=name),
        draw.layers.BatchNormalization(name=name),
        draw.layers.PReLU(shared_axes=[1, 2], name=name),
        draw.layers.DepthwiseConv2D(3, padding="same", name=name),
    )
    return draw.layers.Add(name=f"{name}_sum")([layer(x), layer(draw.layers.Activation("tanh", name=f"{name}_tanh")(x))])


def _nested(draw: Drawing, x: Any, name: str) -> Any:
    """A model as a layer, called once or twice."""
    inner: Any = draw.keras.Input(x.shape[1:], name=f"{name}_input")
    y = stage(draw, inner, f"{name}_inner")
    model = (
        draw.keras.Model(inner, y, name=name)
        if draw.maybe() or y is inner
        else draw.keras.Sequential([draw.keras.Model(inner, y)], name=name)
    )
    y = model(x)
    if draw.maybe(40) and y.shape[1:] == x.shape[1:]:
        return draw.layers.Maximum(name=f"{name}_twice")([model(y), y])
    return y


def _squeeze_and_excite(draw: Drawing, x: Any, name: str) -> Any:
    channels = x.shape[-1]
    y = draw.layers.GlobalAveragePooling2D(keepdims=draw.maybe(), name=f"{name}_pool")(x)
    y = draw.layers.Dense(channels, draw.of("sigmoid", "hard_sigmoid"), name=f"{name}_dense")(y)
    if len(y.shape) == 2:
        y = draw.layers.Reshape((1, 1, channels), name=f"{name}_shape")(y)
    return draw.layers.Multiply(name=name)([x, y])


def _sequence(draw: Drawing, x: Any, name: str) -> Any:
    """Layers of sequences: recurrent ones, unrolled, and attention."""
    _, height, width, channels = x.shape
    if height * width > 36:
        x = draw.layers.AveragePooling2D(3, name=f"{name}_smaller")(x)
        _, height, width, channels = x.shape
    if height * width > 16 or draw.maybe():
        y = draw.layers.Reshape((height, width * channels), name=f"{name}_rows")(x)
        cell = draw.of(draw.layers.LSTM, draw.layers.GRU, draw.layers.SimpleRNN)
        y = cell(8, unroll=True, return_sequences=True, name=name)(y)
        return draw.layers.Reshape((height, 1, 8), name=f"{name}_map")(y)
    y = draw.layers.Reshape((height * width, channels), name=f"{name}_pixels")(x)
    y = draw.layers.MultiHeadAttention(2, 4, name=name)(y, y) if draw.maybe() else draw.layers.Attention(name=name)([y, y])
    return draw.layers.Reshape((height, width, channels), name=f"{name}_map")(y)


def _operators(draw: Drawing, x: Any, name: str) -> Any:
    """Operators on tensors instead of layers."""
    kind = draw.random.randint(0, 5)
    if kind == 0:
        return x * 0.5 + 0.25
    if kind == 1:
        # Keras cannot load a number before a tensor of half precision from .keras: it becomes one of single precision.
        return 1.0 - x if draw.policy == "float32" else -x
    if kind == 2:
        return x[:, 1:, :, :] if x.shape[1] > 1 else -x
    if kind == 3:
        return x[:, ::2, ::2]
    if kind == 4:
        return x / 3.0
    return x + x


OTHERS: tuple[Stage, ...] = (
    _activation,
    _activation,
    _pooling,
    _pooling,
    _shape,
    _shape,
    _padded_convolution,
    _padded_convolution,
    _merge,
    _merge,
    _axis_norm,
    _shared,
    _nested,
    _squeeze_and_excite,
    _sequence,
    _operators,
)

"""The operators of a .tflite that a Keras layer becomes, as far as their memory and instructions depend on them.

Convolutions that may be binary are handled by `predicted_graph.py`. A layer that is not listed keeps the name of its class, for
which no instructions are known.
"""

from dataclasses import replace
from typing import Any

import tf_keras as keras

from el_larq.counting.counts import input_bits
from el_larq.inspection.predicted_weights import Neighbours
from el_larq.layers.channel_shift import ChannelShift
from el_larq.layers.elastic_link import ElasticLink
from el_larq.layers.rprelu import RPReLU
from el_larq.layers.split_channels import SplitChannels
from el_larq.tflite.reader import Operator, Tensor

L: Any = keras.layers

PRESENT = b"\0"
"""Placeholder for the data of a constant, which neither the planner nor the prediction of instructions reads."""

Kernel = tuple[int, ...] | None


def describe_layer(layer: Any, input_shape: tuple[int, ...]) -> tuple[str, Kernel, dict[str, Any]]:
    """The operator of a layer that writes a tensor of its own: its name, the shape of its kernel in a .tflite, its options."""
    if isinstance(layer, (L.MaxPooling2D, L.AveragePooling2D)):
        name = "MAX_POOL_2D" if isinstance(layer, L.MaxPooling2D) else "AVERAGE_POOL_2D"
        return name, None, {"window": tuple(layer.pool_size), "strides": tuple(layer.strides)}
    if isinstance(layer, L.GlobalAveragePooling2D):
        return "AVERAGE_POOL_2D", None, {"window": tuple(input_shape[1:3])}
    if isinstance(layer, L.DepthwiseConv2D):
        height, width, channels, multiplier = layer.depthwise_kernel.shape
        return "DEPTHWISE_CONV_2D", (1, height, width, channels * multiplier), {"strides": tuple(layer.strides)}
    if isinstance(layer, L.Dense):
        return "FULLY_CONNECTED", tuple(reversed(layer.kernel.shape)), {}
    names = {SplitChannels: "SPLIT", L.Concatenate: "CONCATENATION", L.ZeroPadding2D: "PAD", L.GlobalMaxPooling2D: "REDUCE_MAX"}
    return next((name for kind, name in names.items() if isinstance(layer, kind)), type(layer).__name__), None, {}


def operators_before(layer: Any) -> tuple[str, ...]:
    """What LCE computes before a depthwise convolution of signs, for which it has no binary operator."""
    return ("LceQuantize", "LceDequantize", "PADV2") if isinstance(layer, L.DepthwiseConv2D) and input_bits(layer) == 1 else ()


def passing_operators(layer: Any, neighbours: Neighbours) -> tuple[str, ...]:
    """The operators of a layer that works in place: () if it is fused with another one or computes nothing."""
    before = neighbours.before(layer)
    folds = before is not None and hasattr(before, "kernel")
    if isinstance(layer, L.BatchNormalization):
        if folds or (before is not None and hasattr(before, "depthwise_kernel")):
            return ()
        # Before a sign a normalization is a shift alone.
        return ("ADD",) if hasattr(neighbours.after(layer), "input_quantizer") else ("MUL", "ADD")
    if isinstance(layer, RPReLU):
        return ("ADD", "PRELU", "ADD")
    if isinstance(layer, ChannelShift):
        return ("ADD",)
    if isinstance(layer, L.PReLU):
        return ("PRELU",)
    if isinstance(layer, (L.Flatten, L.Reshape)):
        return ("RESHAPE",)
    if isinstance(layer, (L.ReLU, L.Activation)):
        name = "relu" if isinstance(layer, L.ReLU) else getattr(layer.activation, "__name__", "")
        if name == "linear":
            return ()
        # After a real-valued convolution and its normalization, a ReLU is the convolution's activation.
        source = before if folds or before is None else neighbours.before(before)
        fused = name in ("relu", "relu6") and source is not None and not hasattr(source, "input_quantizer")
        return () if fused else ({"relu": "RELU", "relu6": "RELU6", "softmax": "SOFTMAX"}.get(name, name.upper()),)
    return (type(layer).__name__,) if layer.weights else ()


def link_operators(layer: Any, source: tuple[int, ...], output: tuple[int, ...]) -> list[tuple[str, Kernel, tuple[int, ...]]]:
    """What an elastic link computes before its addition: names, shapes of kernels, and shapes of results."""
    if not isinstance(layer, ElasticLink):
        return []
    found: list[tuple[str, Kernel, tuple[int, ...]]] = []
    batch, height, width, channels = output
    if source[1:3] != output[1:3]:
        found.append(("AVERAGE_POOL_2D", None, (batch, height, width, source[-1])))
    if source[-1] > channels:
        groups = -(-source[-1] // channels)
        found.append(("DEPTHWISE_CONV_2D", (1, 1, groups, channels), output))
    return found


def as_folded(operator: Operator) -> Operator:
    """The operator that `fold` makes of one: other operators of the same shapes take fewer instructions, and as much memory.

    Pooling of 2x2 pixels becomes a depthwise convolution, and a convolution with stride 2 over an image reads pairs of pixels.
    """
    source, output = operator.inputs[0] if operator.inputs else None, operator.outputs[0] if operator.outputs else None
    if source is None or output is None or len(source.shape) != 4 or len(output.shape) != 4:
        return operator
    height, width, channels = source.shape[1:]
    halves = (2 * output.shape[1], 2 * output.shape[2]) == (height, width)
    if operator.name == "AVERAGE_POOL_2D" and halves and operator.options.get("window", (2, 2)) == (2, 2):
        kernel = Tensor(-1, "", "float32", (1, 2, 2, channels), PRESENT)
        return replace(operator, name="DEPTHWISE_CONV_2D", inputs=(source, kernel))
    kernel = operator.inputs[1] if operator.name == "CONV_2D" else None
    if kernel is None or channels > 3 or width % 2 or kernel.shape[2] < 5 or operator.options["strides"][1] != 2:
        return operator
    pairs = replace(source, shape=(1, height, width // 2, 2 * channels))
    # One column of zeros completes an odd number of columns. An even number may need two, which is not predicted.
    columns = (kernel.shape[2] + 1) // 2
    paired = replace(kernel, shape=(kernel.shape[0], kernel.shape[1], columns, 2 * channels))
    return replace(operator, inputs=(pairs, paired), options={"strides": (operator.options["strides"][0], 1)})

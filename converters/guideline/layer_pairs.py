"""Steps `relu6`, `equalize` and `absorb`: edits of the kernels and biases of a float .tflite, which compute the same.

Only `relu6` changes what is computed, where values exceed 6. The arithmetic is in `el_larq.compression.equalization`.

A pair is two layers (convolution, depthwise convolution, dense layer) of which the second is the only reader of the first. Between
them there may be nothing, ReLU, and operators that pass positive factors of channels on: pooling, means over a map, padding with
zeros, and reshapes that keep channels. What is absorbed would be missing from the zeros around a map, so the second layer of such a
pair has no border, and nothing but ReLU is between the two.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from el_larq.compression.equalization import absorbed, channel_maxima, equalizing_scales
from el_larq.compression.symmetric import along
from el_larq.converters.int8.calibrate import run_tensors
from el_larq.converters.int8.int8_operators import KERNEL_AXES, NONE, RELU, RELU6
from el_larq.converters.rewrite import add_constant, add_operator_code, drop_unused_buffers, pack, unpack
from el_larq.tflite.reader import Operator, TfliteGraph, parse

_PASSING = ("MEAN", "AVERAGE_POOL_2D", "MAX_POOL_2D", "PAD", "RESHAPE", "RELU")

_ROUNDS = 40
"""Chains of layers are equalized pair by pair, in turns, until nothing changes."""

_SETTLED = 1e-4


@dataclass(frozen=True)
class LayerPair:
    """Two layers. relu6: operators with a ReLU6 between them. adjacent: nothing but an activation is between them."""

    first: Operator
    second: Operator
    relu6: tuple[int, ...]
    adjacent: bool


def find_pairs(graph: TfliteGraph) -> list[LayerPair]:
    """The pairs of a graph, in its order, also those with a ReLU6."""
    readers: dict[int, list[Operator]] = {}
    for operator in graph.operators:
        for tensor in operator.inputs:
            if tensor is not None:
                readers.setdefault(tensor.index, []).append(operator)
    outputs = {tensor.index for tensor in graph.outputs}
    found = []
    for first in graph.operators:
        if first.name not in KERNEL_AXES or not _has_constants(first):
            continue
        end, between, six = first, [], []
        activation = first.options.get("activation", NONE)
        while activation in (NONE, RELU, RELU6):
            six += [end.index] if activation == RELU6 or end.name == "RELU6" else []
            tensor = end.outputs[0]
            if tensor.index in outputs or len(readers.get(tensor.index, [])) != 1:
                break
            following = readers[tensor.index][0]
            if following.name in KERNEL_AXES:
                if (
                    following.inputs[0] is not None
                    and following.inputs[0].index == tensor.index
                    and _reads_channels(first, following)
                ):
                    found.append(LayerPair(first, following, tuple(six), not any(o.name not in ("RELU", "RELU6") for o in between)))
                break
            if not (following.name in (*_PASSING, "RELU6") and _keeps_channels(following)):
                break
            end = following
            between.append(following)
            activation = end.options.get("activation", NONE)
    return found


def _has_constants(operator: Operator) -> bool:
    return all(tensor is None or (tensor.constant and tensor.type == "float32") for tensor in operator.inputs[1:])


def _channels(first: Operator) -> int:
    return first.outputs[0].shape[-1]


def _keeps_channels(operator: Operator) -> bool:
    source = operator.inputs[0]
    assert source is not None
    if operator.name == "MEAN":
        axes = operator.inputs[1]
        return axes is not None and axes.constant and not {-1, len(source.shape) - 1} & set(axes.array().ravel().tolist())
    return source.shape[-1:] == operator.outputs[0].shape[-1:]


def _reads_channels(first: Operator, second: Operator) -> bool:
    """Whether each channel of the first layer meets weights of its own: those of the last axis of the second layer's kernel."""
    kernel = second.inputs[1]
    return _has_constants(second) and kernel is not None and kernel.shape[-1] == _channels(first)


def without_relu6(content: bytes) -> tuple[bytes, int]:
    """The file with ReLU in place of ReLU6 between the layers of pairs, and the number of those."""
    from larq_compute_engine.mlir.python import tflite_schema as schema

    graph, model = parse(content), unpack(content)
    indices = sorted({index for pair in find_pairs(graph) for index in pair.relu6})
    for index in indices:
        operator = model.subgraphs[0].operators[index]
        if graph.operators[index].name == "RELU6":
            operator.opcodeIndex = add_operator_code(model, schema.BuiltinOperator.RELU, 1)
        else:
            operator.builtinOptions.fusedActivationFunction = RELU
    return pack(model), len(indices)


class _Layers:
    """Kernels and biases of layers, float64, by the number of the operator."""

    def __init__(self, pairs: Sequence[LayerPair]):
        self.operators = {o.index: o for pair in pairs for o in (pair.first, pair.second)}
        self.kernels, self.biases = {}, {}
        for index, operator in self.operators.items():
            kernel, bias = operator.inputs[1], operator.inputs[2] if len(operator.inputs) > 2 else None
            assert kernel is not None
            self.kernels[index] = kernel.array().astype(np.float64)
            channels = operator.outputs[0].shape[-1]
            self.biases[index] = np.zeros(channels) if bias is None else bias.array().astype(np.float64)

    def equalize(self, pair: LayerPair) -> float:
        """Equalize a pair; the largest change, as the logarithm of a factor."""
        first, second = pair.first.index, pair.second.index
        axis = KERNEL_AXES[pair.first.name]
        maxima = channel_maxima(self.kernels[first], axis), channel_maxima(self.kernels[second], -1)
        scales = equalizing_scales(*maxima)
        self.kernels[first] = self.kernels[first] / along(scales, self.kernels[first].ndim, axis)
        self.biases[first] = self.biases[first] / scales
        self.kernels[second] = self.kernels[second] * scales
        return float(np.abs(np.log(scales)).max())

    def absorb(self, pair: LayerPair, offsets: np.ndarray) -> None:
        """Move what is always added to the values between a pair to the second bias."""
        kernel = self.kernels[pair.second.index] * offsets
        kept = KERNEL_AXES[pair.second.name]
        self.biases[pair.first.index] = self.biases[pair.first.index] - offsets
        added = kernel.sum(axis=tuple(number for number in range(kernel.ndim) if number != kept))
        self.biases[pair.second.index] = self.biases[pair.second.index] + added

    def write(self, content: bytes) -> bytes:
        model = unpack(content)
        for index, operator in self.operators.items():
            edited = model.subgraphs[0].operators[index]
            kernel = operator.inputs[1]
            assert kernel is not None
            numbers = [add_constant(model, values[index], kernel.index) for values in (self.kernels, self.biases)]
            edited.inputs = np.array([int(edited.inputs[0]), *numbers], np.int32)
        drop_unused_buffers(model)
        return pack(model)


def equalized(content: bytes) -> tuple[bytes, int]:
    """The file with equalized pairs, and their number. It computes the same, but for rounding of float32."""
    pairs = [pair for pair in find_pairs(parse(content)) if not pair.relu6]
    if not pairs:
        return content, 0
    layers = _Layers(pairs)
    for _ in range(_ROUNDS):
        if max(layers.equalize(pair) for pair in pairs) < _SETTLED:
            break
    return layers.write(content), len(pairs)


def with_absorbed_biases(content: bytes, few: np.ndarray, images: np.ndarray) -> tuple[bytes, int]:
    """The file with absorbed biases, and the number of channels that have any. It computes the same on these images (N, ...).

    few: some of the images, which are looked at first: a channel that is 0 on one of them has nothing to absorb.
    """
    pairs = [pair for pair in find_pairs(parse(content)) if not pair.relu6 and pair.adjacent and _has_no_border(pair.second)]
    pairs = [pair for pair in pairs if pair.first.options.get("activation", NONE) == RELU]
    for seen in (few, images):
        smallest = _smallest(content, [pair.first.outputs[0].index for pair in pairs], seen)
        pairs = [pair for pair in pairs if np.any(smallest[pair.first.outputs[0].index] > 0)]
        if not pairs:
            return content, 0
    layers, count = _Layers(pairs), 0
    for pair in pairs:
        offsets = absorbed(smallest[pair.first.outputs[0].index].astype(np.float64))
        layers.absorb(pair, offsets)
        count += int(np.count_nonzero(offsets))
    return layers.write(content), count


def _smallest(content: bytes, tensors: list[int], images: np.ndarray) -> dict[int, np.ndarray]:
    """The smallest value of each channel (C,), by tensor."""
    found: dict[int, np.ndarray] = {}
    for values in run_tensors(content, tensors, [images]) if tensors else ():
        for tensor, batch in values.items():
            least = batch.reshape(-1, batch.shape[-1]).min(axis=0)
            found[tensor] = np.minimum(found[tensor], least) if tensor in found else least
    return found


def _has_no_border(operator: Operator) -> bool:
    """Whether a layer reads no zeros around its input."""
    kernel = operator.inputs[1]
    assert kernel is not None
    sizes = kernel.shape[1:3] if len(kernel.shape) == 4 else (1, 1)
    return operator.options.get("padding", "valid") == "valid" or sizes == (1, 1)

"""Step `adaround`: the kernels of some layers are rounded so that the layers' outputs, not the weights, are near those in float.

The mathematics is in `el_larq.compression.adaptive_rounding`; here, layers of a .tflite are written as products of matrices. A row
of inputs is what one position of an output is computed from, in the int8 file with what was chosen for the layers before. Positions
are drawn at random if there are more than fit into memory.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from el_larq.compression.adaptive_rounding import LayerProducts, choose
from el_larq.compression.affine import Affine
from el_larq.compression.noise import decibels
from el_larq.compression.symmetric import along, channel_scales
from el_larq.converters.int8.int8_file import Roundings
from el_larq.converters.int8.int8_operators import KERNEL_AXES, NONE, RELU, RELU6, RELU_1
from el_larq.converters.rewrite import unpack, with_outputs
from el_larq.printable import counted
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, parse

_VALUES = 2**25
"""Input values of all rows of a layer that are held in memory."""

_LIMITS = {NONE: (-np.inf, np.inf), RELU: (0.0, np.inf), RELU_1: (-1.0, 1.0), RELU6: (0.0, 6.0)}
"""What fused activations clip to."""


@dataclass(frozen=True)
class RoundedLayer:
    """What adaptive rounding did to a layer, named by its output.

    changed: how many of its ``weights`` are not rounded to the nearest integer. nearest, chosen: SQNR in dB of its output, given
    the inputs of the int8 file, with nearest rounding and with the chosen one.
    """

    layer: str
    changed: int
    weights: int
    nearest: float
    chosen: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the SQNR of what is exact is None."""
        return {name: None if value == np.inf else value for name, value in asdict(self).items()}


def spelled(layers: list[RoundedLayer]) -> str:
    """What a step changed, for the user."""
    changed = sum(one.changed for one in layers) / max(1, sum(one.weights for one in layers))
    worst = min(layers, key=lambda one: one.nearest, default=None)
    gain = f"; from {worst.nearest:.1f} to {worst.chosen:.1f} dB in the worst" if worst is not None else ""
    return f"{counted(len(layers), 'layer')}, {changed:.1%} of the weights{gain}"


def adaptive_roundings(
    content: bytes, write: Callable[[Roundings], bytes], chosen: Iterable[int], images: np.ndarray
) -> tuple[Roundings, list[RoundedLayer]]:
    """How kernels are rounded, by the number of the operator, and what that does to each layer.

    Arguments:
        content: the float file. write: makes the int8 file with given roundings. chosen: the numbers of operators with kernels.
        images: (N, ...).
    """
    graph, found, reports = parse(content), Roundings(), []
    for index in sorted(chosen):
        operator = graph.operators[index]
        layer, restored = _layer(content, write(found), operator, images)
        up = choose(layer, seed=index)
        found = Roundings(found | {index: restored(up)})
        signal = float(np.square(layer.targets, dtype=np.float64).sum())
        rows = layer.inputs.shape[1]
        noise = [decibels(signal, rows * float(layer.errors(one).sum())) for one in (layer.nearest, up)]
        changed = int(np.count_nonzero(up != layer.nearest))
        reports.append(RoundedLayer(operator.outputs[0].name, changed, up.size, noise[0], noise[1]))
    return found, reports


def _layer(
    content: bytes, quantized: bytes, operator: Operator, images: np.ndarray
) -> tuple[LayerProducts, Callable[[np.ndarray], np.ndarray]]:
    """A layer as products of matrices, and a function that puts values for its weights (G, K, O) into the kernel's shape."""
    kernel = operator.inputs[1]
    assert kernel is not None
    values, axis = kernel.array(), KERNEL_AXES[operator.name]
    matrices = _Matrices(operator, values.shape)
    steps = np.broadcast_to(along(channel_scales(values, axis), values.ndim, axis), values.shape)
    bias = operator.inputs[2] if len(operator.inputs) > 2 else None
    added = np.zeros(values.shape[axis], np.float32) if bias is None else bias.array()
    inputs, targets = _rows(content, quantized, operator, matrices, images)
    limits = _LIMITS[operator.options.get("activation", NONE)]
    layer = LayerProducts(inputs, matrices.of(values), matrices.of(steps)[:, :1], matrices.outputs(added[None]), targets, limits)
    return layer, matrices.restored


def _rows(
    content: bytes, quantized: bytes, operator: Operator, matrices: "_Matrices", images: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (G, N, K) of a layer, as the int8 file has them, and its outputs (G, N, O), as the float file has them."""
    partner = next(o for o in parse(quantized).operators if o.outputs[0].index == operator.outputs[0].index)
    source = partner.inputs[0]
    assert source is not None
    stored = unpack(quantized).subgraphs[0].tensors[source.index].quantization
    affine = Affine(float(stored.scale[0]), int(stored.zeroPoint[0]))
    given = Interpreter(with_outputs(quantized, [source.index]))
    exact = Interpreter(with_outputs(content, [operator.outputs[0].index]))
    random, per_image = np.random.default_rng(operator.index), max(1, _VALUES // (len(images) * matrices.row))
    inputs, targets = [], []
    for image in images:
        x, y = affine.real(given.run(image[None])[-1]), exact.run(image[None])[-1]
        outputs = y.reshape(-1, y.shape[-1])
        chosen = np.arange(len(outputs))
        if len(outputs) > per_image:
            chosen = random.choice(len(outputs), per_image, replace=False)
        inputs.append(matrices.inputs(x, y.shape, chosen))
        targets.append(matrices.outputs(outputs[chosen]))
    return np.concatenate(inputs, axis=1), np.concatenate(targets, axis=1)


class _Matrices:
    """How a layer's kernel, inputs and outputs are arranged as those of G products of matrices; row: input values of a position."""

    def __init__(self, operator: Operator, shape: tuple[int, ...]):
        self._operator, self._shape = operator, shape
        source = operator.inputs[0]
        assert source is not None
        if operator.name == "DEPTHWISE_CONV_2D":
            self.groups, size, self.row = source.shape[-1], shape[1] * shape[2], shape[1] * shape[2] * source.shape[-1]
        else:
            size = int(np.prod(shape[1:]))
            self.groups = source.shape[-1] // shape[-1] if operator.name == "CONV_2D" else 1
            self.row = size * self.groups
        self._size = size

    def of(self, values: np.ndarray) -> np.ndarray:
        """Values for the weights, (G, K, O)."""
        if self._operator.name == "DEPTHWISE_CONV_2D":
            return values.reshape(self._size, self.groups, -1).transpose(1, 0, 2)
        return values.reshape(self.groups, -1, self._size).transpose(0, 2, 1)

    def restored(self, matrices: np.ndarray) -> np.ndarray:
        """The inverse of `of`."""
        order = (1, 0, 2) if self._operator.name == "DEPTHWISE_CONV_2D" else (0, 2, 1)
        return matrices.transpose(order).reshape(self._shape)

    def outputs(self, rows: np.ndarray) -> np.ndarray:
        """Output channels (N, C) as (G, N, O)."""
        return rows.reshape(len(rows), self.groups, -1).transpose(1, 0, 2)

    def inputs(self, x: np.ndarray, shape: tuple[int, ...], chosen: np.ndarray) -> np.ndarray:
        """What some positions of an output of a shape (1, ...) are computed from, (G, N, K)."""
        if self._operator.name == "FULLY_CONNECTED":
            return x.reshape(1, -1, self._size)[:, chosen]
        options = self._operator.options
        rows, columns = np.divmod(chosen, shape[2])
        (above, y), (left, z) = (
            _read(at, size, window, stride, dilation, options["padding"])
            for at, size, window, stride, dilation in zip(
                (rows, columns), x.shape[1:3], self._shape[1:3], options["strides"], options["dilations"], strict=True
            )
        )
        padded = np.pad(x[0], (above, left, (0, 0)))
        read = padded[y[:, :, None], z[:, None, :]].reshape(len(chosen), -1, x.shape[-1])
        if self._operator.name == "DEPTHWISE_CONV_2D":
            return read.transpose(2, 0, 1)
        grouped = read.reshape(*read.shape[:2], self.groups, -1)
        return grouped.transpose(2, 0, 1, 3).reshape(self.groups, len(chosen), -1)


def _read(at: np.ndarray, size: int, window: int, stride: int, dilation: int, padding: str) -> tuple[tuple[int, int], np.ndarray]:
    """The zeros before and after an axis, and the indices (N, window) that outputs at some positions read with these."""
    extent = (window - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + extent - size, 0) if padding == "same" else 0
    return (total // 2, total - total // 2), at[:, None] * stride + np.arange(window) * dilation

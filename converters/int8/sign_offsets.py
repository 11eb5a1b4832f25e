"""The half step that keeps signs of int8 tensors, put into biases (`compression/sign_safe.py` says why).

Every int8 tensor that a sign is taken of should be too low by OFFSET of its step. An offset is created in the bias of an operator,
and travels with the values until a bias takes it away again:

    convolution, dense layer        the bias takes away what arrives, and can create any offset
    LceBconv2d                      reads signs, so nothing arrives; its bias can create any offset
    addition                        the offsets of both inputs add up
    multiplication by constants     multiplies an offset, per channel
    views, selections, averages     pass an offset on
    concatenation                   passes on an offset that all inputs have; constants have none

An offset is a scalar or has a value for each channel, until an addition makes it what a sign needs. An offset per channel can pass
only operators that keep channels in place.

An addition in front of a sign gets what is missing from the bias of the convolution at one of its ends, if nothing else reads that
end. Where an offset would reach anything else, or the zeros around a map, and where no bias is in reach, the tensor keeps its
flips, and is listed.
"""

from dataclasses import dataclass, field

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.sign_safe import OFFSET
from el_larq.converters.int8.int8_file import Shifts
from el_larq.converters.int8.int8_operators import KERNEL_AXES, SELECTIONS, VIEWS, Scales, constants_read, feeds_sign, values_read
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph

_KEEPING_CHANNELS = {"AVERAGE_POOL_2D", "MAX_POOL_2D"}
_PASSING = VIEWS | SELECTIONS | {"AVERAGE_POOL_2D", "MEAN"}


Offset = float | np.ndarray


@dataclass(frozen=True)
class Offsets:
    """shifts: what biases get. tensors: those with the offset, by index. without: those that a sign is taken of, without it."""

    shifts: Shifts
    tensors: frozenset[int]
    without: frozenset[int]


def find_offsets(graph: TfliteGraph, scales: Scales, affines: dict[int, Affine], negative: set[int]) -> Offsets:
    """The offsets of a graph.

    affines: the quantization of each scale, by its first tensor. negative: the tensors that have values below 0; the signs of
    others cannot change.
    """
    # A view has the offset of what it is a view of, if that is int8 too.
    computed = {tensor.index for o in graph.operators if o.index in scales.operators for tensor in o.outputs}
    wanted = {}
    for tensor in feeds_sign(graph) & computed & negative:
        made = graph.producers[tensor]
        if made.name not in VIEWS or values_read(made)[0].index not in computed:
            wanted[tensor] = -OFFSET * affines[scales.shares[tensor]].scale
    steps = {tensor: affines[first].scale for tensor, first in scales.shares.items()}
    refused: set[int] = set()
    while True:
        attempt = _Attempt(graph, scales, steps, {tensor: value for tensor, value in wanted.items() if tensor not in refused})
        if (failed := attempt.run()) is None:
            # Also those that pass on the offset of a tensor with the same scale.
            done = frozenset(tensor for tensor, value in wanted.items() if _equal(attempt.offsets.get(tensor, 0.0), value))
            return Offsets(attempt.shifts, done, frozenset(wanted) - done)
        refused |= failed


@dataclass
class _Attempt:
    """One pass over the operators.

    steps: of int8 tensors, by index. offsets: of tensors, by index: scalars, or values for each channel (the last axis). causes:
    the tensors that an offset was created for.
    """

    graph: TfliteGraph
    scales: Scales
    steps: dict[int, float]
    wanted: dict[int, float]
    shifts: Shifts = field(default_factory=dict)
    offsets: dict[int, Offset] = field(default_factory=dict)
    causes: dict[int, set[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.readers: dict[int, list[Operator]] = {}
        for operator in self.graph.operators:
            for tensor in operator.inputs:
                if tensor is not None and not tensor.constant:
                    self.readers.setdefault(tensor.index, []).append(operator)
        self.results = {tensor.index for tensor in self.graph.outputs}

    def run(self) -> set[int] | None:
        """None if all offsets could be created and taken away again; else the tensors for which one could not."""
        for operator in self.graph.operators:
            if (failed := self._pass(operator)) is not None:
                return failed
            for tensor in operator.outputs:
                target = self.wanted.get(tensor.index)
                if target is not None and not self._reach(tensor.index, target, {tensor.index}):
                    return {tensor.index}
                if self._has_offset(tensor) and tensor.index in self.results:
                    return self.causes[tensor.index]
        return None

    def _pass(self, operator: Operator) -> set[int] | None:
        """Compute the offsets of an operator's outputs; the causes of one that cannot pass."""
        inputs = [tensor.index for tensor in operator.inputs if tensor is not None and self._has_offset(tensor)]
        if not inputs:
            return None
        causes = set().union(*(self.causes[index] for index in inputs))
        if operator.name == "LceQuantize":
            return None if _equal(self.offsets[inputs[0]], -OFFSET * self.steps[inputs[0]]) else causes
        constants = constants_read(operator)
        values = [self.offsets.get(tensor.index, 0.0) for tensor in (*values_read(operator), *constants)]
        if operator.index not in self.scales.operators:
            return causes
        if operator.name in KERNEL_AXES:
            if not _has_no_border(operator) or (np.ndim(values[0]) > 0 and not _reads_all_channels(operator)):
                return causes
            self._take_away(operator, values[0])
            return None
        total: Offset
        if operator.name == "ADD" and _plain(operator):
            total = sum(values, 0.0)
        elif operator.name == "MUL" and _plain(operator) and len(constants) == 1 and _is_per_channel(constants[0], operator):
            total = _simplest(values[0] * constants[0].array().astype(np.float64).reshape(-1))
        elif operator.name == "CONCATENATION" and (
            all(_equal(value, values[0]) for value in values) or operator.outputs[0].index in self.wanted
        ):
            total = values[0]  # where they differ, `_reach` makes them equal or fails
        elif operator.name in _PASSING and _plain(operator):
            total = values[0]
        else:
            return causes
        if np.ndim(total) > 0 and not _keeps_channels(operator):
            return causes
        for tensor in operator.outputs:
            self.offsets[tensor.index], self.causes[tensor.index] = total, set(causes)
        return None

    def _has_offset(self, tensor: Tensor) -> bool:
        return bool(np.any(self.offsets.get(tensor.index, 0.0)))

    def _take_away(self, operator: Operator, offset: Offset) -> None:
        kernel, source = operator.inputs[1], operator.inputs[0]
        assert kernel is not None
        assert source is not None
        axis, values = KERNEL_AXES[operator.name], kernel.array().astype(np.float64)
        if np.ndim(offset) > 0:
            # The last axis of a kernel is that of the input's channels. That of a depthwise one is of output channels, several for
            # each input channel, and that of a dense layer may be of a whole map, whose channels are innermost.
            channels, last = source.shape[-1], values.shape[-1]
            offset = np.repeat(offset, last // channels) if axis == values.ndim - 1 else np.tile(offset, last // channels)
        sums = (values * offset).sum(axis=tuple(number for number in range(values.ndim) if number != axis))
        self.shifts[operator.index] = self.shifts.get(operator.index, 0.0) - sums

    def _reach(self, tensor: int, target: Offset, causes: set[int]) -> bool:
        """Give a tensor an offset, by the biases of operators in front of it. Whether that was possible."""
        operator = self.graph.producers.get(tensor)
        missing = target - self.offsets.get(tensor, 0.0)
        if operator is None or operator.index not in self.scales.operators:
            return False
        done = self._create(operator, target, missing, causes)
        if done:
            self.offsets[tensor], self.causes[tensor] = target, set(causes)
        return done

    def _create(self, operator: Operator, target: Offset, missing: Offset, causes: set[int]) -> bool:
        name, sources = operator.name, [t.index for t in (*values_read(operator), *constants_read(operator))]
        if name == BINARY or (name in KERNEL_AXES and _plain(operator)):
            self.shifts[operator.index] = self.shifts.get(operator.index, 0.0) + missing
            return True
        if np.ndim(missing) > 0 and not _keeps_channels(operator):
            return False
        if name == "ADD" and _plain(operator):
            free = next((source for source in sources if self._ends_in_bias(source)), None)
            return free is not None and self._reach(free, self.offsets.get(free, 0.0) + missing, causes)
        if _passes(operator):
            return self._only_reader(sources[0]) and self._reach(sources[0], target, causes)
        if name == "CONCATENATION":
            return all(
                _equal(self.offsets.get(source, 0.0), target) or (self._only_reader(source) and self._reach(source, target, causes))
                for source in sources
            )
        return False

    def _ends_in_bias(self, tensor: int) -> bool:
        """Whether only one operator reads a tensor, and a bias is behind it."""
        operator = self.graph.producers.get(tensor)
        if operator is None or operator.index not in self.scales.operators or not self._only_reader(tensor):
            return False
        if operator.name == BINARY or (operator.name in KERNEL_AXES and _plain(operator)):
            return True
        sources = [t.index for t in values_read(operator)]
        return (_passes(operator) or (operator.name == "ADD" and _plain(operator))) and any(map(self._ends_in_bias, sources))

    def _only_reader(self, tensor: int) -> bool:
        return len(self.readers.get(tensor, [])) == 1 and tensor not in self.results and tensor not in self.wanted


def _equal(offset: Offset, other: Offset) -> bool:
    """Whether two offsets are the same in each channel. Those of different numbers of channels are not."""
    sizes = {np.shape(each) for each in (offset, other)} - {()}
    return len(sizes) < 2 and bool(np.all(np.equal(offset, other)))


def _simplest(offset: np.ndarray) -> Offset:
    """One number where all channels have the same."""
    return float(offset[0]) if _equal(offset, offset[0]) else offset


def _is_per_channel(constant: Tensor, operator: Operator) -> bool:
    """Whether a constant is one number, or one per channel of an operator's output, and no axis is made by broadcasting."""
    sizes, output = constant.shape, operator.outputs[0].shape
    return values_read(operator)[0].shape == output and int(np.prod(sizes)) in (
        1,
        sizes[-1] if sizes and sizes[-1] == output[-1] else 1,
    )


def _keeps_channels(operator: Operator) -> bool:
    """Whether each channel of an operator's output has values of the same channel of its inputs, and of no other one."""
    shapes = [tensor.shape for tensor in (*values_read(operator), *operator.outputs)]
    if operator.name in ("ADD", "MUL"):
        return all(shape == shapes[0] for shape in shapes)
    # A reshape that keeps the innermost size keeps its positions.
    return operator.name in _KEEPING_CHANNELS or (operator.name == "RESHAPE" and shapes[0][-1:] == shapes[-1][-1:])


def _passes(operator: Operator) -> bool:
    """Whether the only output of an operator has the offset of its only input."""
    return operator.name in _PASSING and _plain(operator) and len(operator.outputs) == 1


def _plain(operator: Operator) -> bool:
    """Whether nothing is clipped behind an operator."""
    return not operator.options.get("activation", 0)


def _reads_all_channels(operator: Operator) -> bool:
    """Whether a kernel has weights for all channels of its input: it is not grouped."""
    source, kernel = operator.inputs[0], operator.inputs[1]
    assert source is not None
    assert kernel is not None
    return kernel.shape[-1] % source.shape[-1] == 0


def _has_no_border(operator: Operator) -> bool:
    """Whether a convolution reads no zeros around its input, which have no offset."""
    kernel = operator.inputs[1]
    assert kernel is not None
    sizes = kernel.shape[1:3] if len(kernel.shape) == 4 else (1, 1)
    return operator.options.get("padding", "valid") == "valid" or sizes == (1, 1)

"""Predicts the instructions that one inference of a .tflite takes on a 64-bit ARM core, by operator, from the shapes alone.

The prediction follows the kernels that LCE and XNNPACK run on one thread: the tiles that they compute, the instructions of the
inner loops, and what surrounds them. The constants and their sources are in `instruction_constants.py`; how far the predictions
are from counts is in docs/cost.md. Instructions are not time: memory traffic and the width of the core are not in them.

An operator without constants has no prediction (None), and is listed as not counted.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import ceil, prod

from el_larq.errors import unknown_name
from el_larq.tflite import instruction_constants as constants
from el_larq.tflite.instruction_constants import CORES
from el_larq.tflite.operators import BINARY, WORD, input_channels, kernel_of, restores_constant, words
from el_larq.tflite.reader import Operator, Tensor

Counted = float | None


@dataclass(frozen=True)
class OperatorCost:
    """Predicted instructions of the operators of one name; ``uncounted`` of them have no prediction."""

    operator: str
    count: int
    instructions: int
    uncounted: int


@dataclass(frozen=True)
class PredictedCost:
    """Predicted instructions of one inference.

    core: the core they are predicted for.
    operators: by operator name, most instructions first.
    """

    core: str
    operators: tuple[OperatorCost, ...]

    @property
    def instructions(self) -> int:
        """The sum over all operators that have a prediction."""
        return sum(one.instructions for one in self.operators)

    @property
    def uncounted(self) -> tuple[str, ...]:
        """The names of operators without a prediction."""
        return tuple(one.operator for one in self.operators if one.uncounted)


def check_core(core: str) -> str:
    if core not in CORES:
        raise unknown_name("core", core, CORES)
    return core


def predict_cost(operators: Iterable[Operator], core: str) -> PredictedCost:
    """The predicted instructions of operators on a core of `CORES`.

    Raises:
        UsageError: the core is not known. ElLarqError: an operator lacks a kernel, as in a damaged file.
    """
    check_core(core)
    found: dict[str, list[int | None]] = {}
    for operator in operators:
        if not restores_constant(operator):
            found.setdefault(operator.name, []).append(predict_operator(operator, core))
    summed = [
        OperatorCost(name, len(costs), sum(cost or 0 for cost in costs), sum(cost is None for cost in costs))
        for name, costs in found.items()
    ]
    return PredictedCost(core, tuple(sorted(summed, key=lambda one: -one.instructions)))


def predict_operator(operator: Operator, core: str) -> int | None:
    """The predicted instructions of one operator; None if there are no constants for it, its types or its unknown sizes."""
    predict = _OPERATORS.get(operator.name)
    tensors = (*operator.inputs[:1], *operator.outputs[:1])
    if predict is None or len(tensors) < 2 or any(tensor is None or min(tensor.shape, default=1) < 1 for tensor in tensors):
        return None
    counted = predict(operator, core)
    if counted is None:
        return None
    return round(counted + (constants.OPERATOR if counted else constants.IN_PLACE).instructions)


def _first(operator: Operator) -> Tensor:
    tensor = operator.inputs[0]
    assert tensor is not None
    return tensor


def _output(operator: Operator) -> Tensor:
    return operator.outputs[0]


def _is_type(operator: Operator, name: str) -> bool:
    return _first(operator).type == name and _output(operator).type == name


def _binary(operator: Operator, _core: str) -> Counted:
    output, kernel = _output(operator), kernel_of(operator).shape
    if output.type not in ("float32", "int8", "int32") or len(kernel) != 4 or len(output.shape) != 4:
        return None
    filters, height, width, depth = kernel
    if depth != words(input_channels(operator)):
        return None  # LCE's default kernel does not run groups
    pixels, deep = prod(output.shape[:3]), height * width * depth
    blocks = ceil(deep / 4)
    end = constants.BINARY_BITS if output.type == "int32" else constants.BINARY_FLOAT
    tile = constants.BINARY_STEP.instructions * blocks + end.instructions
    pack = constants.BINARY_PACK.instructions * (deep // 4)
    if deep % 4:
        pack += constants.BINARY_PACK_END.instructions
    total = ceil(pixels / 4) * (ceil(filters / 8) * tile + pack)
    if (height, width) != (1, 1) or (operator.options.get("stride_height"), operator.options.get("stride_width")) != (1, 1):
        total += pixels * height * width * (constants.IM2COL.instructions + depth / 4)
    return total


def _quantize(operator: Operator, _core: str) -> Counted:
    source = _first(operator)
    if source.type not in constants.QUANTIZE:
        return None
    each = constants.QUANTIZE_REST if source.shape[-1] % WORD else constants.QUANTIZE[source.type]
    return source.elements * each.instructions


def _dequantize_bits(operator: Operator, _core: str) -> Counted:
    return _output(operator).elements * constants.DEQUANTIZE_BITS.instructions


def _convolution(operator: Operator, core: str) -> Counted:
    kernel, output = kernel_of(operator).shape, _output(operator).shape
    if len(kernel) != 4 or len(output) != 4 or kernel[3] != _first(operator).shape[-1]:
        return None
    filters, height, width, channels = kernel
    one = (height, width) == (1, 1) and operator.options.get("strides") == (1, 1)
    return _product(operator, core, prod(output[:3]), filters, height * width, channels, pointers=not one)


def _dense(operator: Operator, core: str) -> Counted:
    filters, channels = kernel_of(operator).shape[-2:]
    rows = _output(operator).elements // filters
    if rows == 1 and _is_type(operator, "float32") and kernel_of(operator).type == "float32":
        return filters * channels * constants.FLOAT_DENSE.instructions
    return _product(operator, core, rows, filters, 1, channels, pointers=False)


def _product(operator: Operator, core: str, pixels: int, filters: int, taps: int, channels: int, *, pointers: bool) -> Counted:
    """A matrix product of ``taps * channels`` by ``pixels`` and ``filters``, in tiles."""
    if _is_type(operator, "float32") and kernel_of(operator).type == "float32":
        step = 4 * constants.FLOAT_STEP[core].instructions * (channels // 4)
        step += sum(rest.instructions for bit, rest in enumerate(constants.FLOAT_REST) if channels >> bit & 1)
        tile = taps * (step + constants.FLOAT_TAP.instructions * pointers) + constants.FLOAT_TILE.instructions
        return ceil(pixels / 6) * ceil(filters / 8) * tile
    if not _is_type(operator, "int8") or kernel_of(operator).type != "int8":
        return None
    if core in constants.DOT_PRODUCT:
        step = 4 * ceil(channels / 4) * constants.DOT_STEP.instructions + constants.DOT_TAP.instructions * pointers
        return ceil(pixels / 4) * ceil(filters / 16) * (taps * step + constants.DOT_TILE.instructions)
    step = 8 * ceil(channels / 8) * constants.INT8_STEP.instructions + constants.INT8_TAP.instructions * pointers
    tile = taps * step + constants.INT8_TILE.instructions
    return ceil(pixels / 2) * ceil(filters / 8) * tile


def _depthwise(operator: Operator, _core: str) -> Counted:
    kernel, output = kernel_of(operator).shape, _output(operator)
    taps = prod(kernel[1:3])
    # XNNPACK has kernels for 3, 4, 9 and 25 positions; smaller kernels take the next one.
    taps = next((known for known in (3, 4, 9, 25) if taps <= known), taps)
    if _is_type(operator, "float32"):
        tap, value = constants.DEPTHWISE_TAP, constants.DEPTHWISE_VALUE
    elif _is_type(operator, "int8"):
        tap, value = constants.INT8_DEPTHWISE_TAP, constants.INT8_DEPTHWISE_VALUE
        taps = 9 if taps < 9 else taps
    else:
        return None
    pixels = prod(output.shape[:-1])
    return output.elements * (taps * tap.instructions + value.instructions) + pixels * taps * constants.POINTER.instructions


def _pool(operator: Operator, _core: str) -> Counted:
    if not _is_type(operator, "float32"):
        return None
    output = _output(operator)
    taps = max(1, prod(operator.options.get("window", (1, 1))))
    passes = 1 + ceil(max(0, taps - constants.POOL_POSITIONS) / 8)
    taps = constants.POOL_POSITIONS + 8 * (passes - 1)
    each = taps * constants.POOL_TAP.instructions + passes * constants.POOL_VALUE.instructions
    return output.elements * each + prod(output.shape[:-1]) * taps * constants.POINTER.instructions


def _elementwise(operator: Operator, _core: str) -> Counted:
    """Two tensors, one of which may be broadcast.

    XNNPACK merges neighbouring sizes that are broadcast alike, and calls a kernel for each row of the innermost one.
    """
    tensors = [tensor for tensor in operator.inputs if tensor is not None]
    output = _output(operator)
    if len(tensors) != 2 or any(tensor.type != output.type for tensor in tensors):
        return None
    if output.type == "float32":
        each = constants.ELEMENTWISE
    elif output.type == "int8" and operator.name == "ADD":
        each = constants.INT8_ELEMENTWISE
    else:
        return None
    return output.elements * each.instructions + _rows(tensors, output) * constants.CALL.instructions


def _rows(tensors: list[Tensor], output: Tensor) -> int:
    """The number of rows that an element-wise kernel is called for."""
    rank = len(output.shape)
    shapes = [(1,) * (rank - len(tensor.shape)) + tensor.shape for tensor in tensors]
    row = 1
    kind = None
    for position in reversed(range(rank)):
        size = output.shape[position]
        if size == 1:
            continue
        now = tuple(shape[position] == size for shape in shapes)
        if kind is not None and now != kind:
            break
        kind = now
        row *= size
    return output.elements // row


def _each(constant: constants.Constant, *types: str) -> Callable[[Operator, str], Counted]:
    """A count per output value, if the input and the output have one of the types."""

    def predict(operator: Operator, _core: str) -> Counted:
        if _first(operator).type not in types or _output(operator).type not in types:
            return None
        return _output(operator).elements * constant.instructions

    return predict


def _copy(operator: Operator, _core: str) -> Counted:
    output = _output(operator)
    if output.type not in ("float32", "int32", "int8"):
        return None
    # TFLite's own RESHAPE runs in place; XNNPACK, which runs those of float32, copies.
    if operator.name in ("RESHAPE", "SQUEEZE", "EXPAND_DIMS") and output.type != "float32":
        return 0
    size = output.elements * (1 if output.type == "int8" else 4)
    rows = 0
    if operator.name == "CONCATENATION":
        rows = prod(output.shape[:-1]) * sum(tensor is not None for tensor in operator.inputs)
    elif operator.name in ("STRIDED_SLICE", "SLICE", "SPLIT", "PAD", "PADV2"):
        rows = sum(prod(tensor.shape[:-1]) for tensor in operator.outputs)
        size *= len(operator.outputs)
    return size * constants.COPY.instructions + rows * constants.CALL.instructions


def _in_place(_operator: Operator, _core: str) -> Counted:
    return 0


def _reduction(operator: Operator, _core: str) -> Counted:
    return _first(operator).elements * constants.REDUCTION.instructions if _is_type(operator, "float32") else None


_OPERATORS: dict[str, Callable[[Operator, str], Counted]] = {
    BINARY: _binary,
    "LceQuantize": _quantize,
    "LceDequantize": _dequantize_bits,
    "CONV_2D": _convolution,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _dense,
    **dict.fromkeys(("AVERAGE_POOL_2D", "MAX_POOL_2D"), _pool),
    **dict.fromkeys(("ADD", "MUL", "SUB", "MAXIMUM", "MINIMUM"), _elementwise),
    **dict.fromkeys(("RELU", "RELU6", "RELU_N1_TO_1", "RELU_0_TO_1", "ABS"), _each(constants.UNARY, "float32")),
    "PRELU": _each(constants.PRELU, "float32"),
    **dict.fromkeys(("QUANTIZE", "DEQUANTIZE"), _each(constants.CONVERT, "float32", "int8")),
    **dict.fromkeys(
        ("RESHAPE", "SQUEEZE", "EXPAND_DIMS", "CONCATENATION", "STRIDED_SLICE", "SLICE", "SPLIT", "PAD", "PADV2"), _copy
    ),
    "BITCAST": _in_place,
    "MEAN": _reduction,
}
"""Every operator with constants."""

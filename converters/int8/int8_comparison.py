"""What computing with int8 changes: part of the step `verify`.

The float .tflite has been compared with the model. Here, the int8 file is compared with it:

1. constants    all scales are the calibrated ones, and required ones are wide enough; each constant is within half a step of the
                float one with what is added to it (`int8_constants.py`)
2. operators    each operator computes, from the integers that it gets, what the float operator computes from the same numbers, to
                within LIMIT of a step besides its rounding to integers, which is done twice where XNNPACK does not compute;
                signs are equal, bit by bit (`single_operators.py`).
                Conversions from and to int8 change nothing but that
3. ends         int8 inputs and outputs are those of the file with conversions at its ends
4. effect       differences of outputs, signs that differ, and top-1 agreement: reported, since they depend on the model
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from el_larq.converters.decisions import agreed
from el_larq.converters.int8.calibrate import run_tensors
from el_larq.converters.int8.int8_constants import check_constants
from el_larq.converters.int8.quantized_file import Quantized
from el_larq.converters.int8.single_operators import SingleOperators
from el_larq.converters.rewrite import with_outputs
from el_larq.converters.stored_comparison import effect
from el_larq.errors import ElLarqError
from el_larq.printable import counted
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, parse

LIMIT = 0.02
"""In steps of the output. Multipliers are integers of 31 bits; those of LceBconv2d are float32."""

COARSE_LIMIT = 0.75
_COARSE = ("AVERAGE_POOL_2D", "MEAN", "RELU", "RELU6", "LEAKY_RELU")
"""Averages: TensorFlow Lite's kernels round sums, and XNNPACK's round once. ReLUs: XNNPACK multiplies by multiples of 1/256."""

_IMAGES = 8


@dataclass(frozen=True)
class Int8Comparison:
    """The int8 .tflite, compared with the float one.

    worst_operator: the largest difference of an operator in steps, averages and ReLUs left out.
    max_difference: of outputs, as a share of the largest one. signs_flipped: share of the signs that differ.
    top1_agreement: lowest agreement among the outputs that have the shape of logits; None without such an output.
    calibrated: whether the images are those that ranges are of.
    """

    images: int
    worst_operator: float
    max_difference: float
    signs_flipped: float
    top1_agreement: float | None
    calibrated: bool = False

    @property
    def summary(self) -> str:
        data = f", on {counted(self.images, 'calibration image')}" if self.calibrated else ""
        return (
            f"each int8 operator within {self.worst_operator:.4f} of a step; int8 against float{data}: "
            f"{agreed(self.top1_agreement)}outputs differ by up to {self.max_difference:.1e} of the largest one, "
            f"{self.signs_flipped:.2%} of the signs differ"
        )


def compare_int8(
    made: Quantized,
    unquantized: bytes,
    images: Sequence[np.ndarray],
    int8_ends: bytes | None = None,
    *,
    calibrated: bool = False,
) -> Int8Comparison:
    """Compare on a batch (N, ...) for each input.

    unquantized: the float file that outputs are compared with. It differs from the one that the int8 file is made of, with which
    operators are compared, if layers were edited before (`converters/guideline`).
    int8_ends: the same file with int8 inputs and outputs, if there is one. calibrated: whether the images are those of calibration.

    Raises:
        ElLarqError: a scale or a constant is stored wrongly, or an operator or an end computes something else.
    """
    few = [batch[:_IMAGES] for batch in images]
    single = SingleOperators(made.content, made.source)
    check_constants(made, single)
    _check_required_ranges(made, made.source, few)
    worst = 0.0
    for run in single.run(few):
        coarse = run.operator.name in _COARSE
        bits, steps = run.bits, run.steps
        without_xnnpack = run.operator.index in made.scales.int4 or run.operator.name == "FULLY_CONNECTED"
        limit = LIMIT + (_first_rounding(single, run.operator) if without_xnnpack else 0.0)
        if bits or not steps <= (COARSE_LIMIT if coarse else limit):
            what = f"{bits} signs" if bits else f"{steps:.2g} of a step"
            raise ElLarqError(
                f"verify: operator {run.operator.index} ({run.operator.name}) with int8 differs by {what} from the same in float; "
                "report this as an error in el-larq"
            )
        worst = worst if coarse else max(worst, steps)
    if int8_ends is not None:
        _check_ends(int8_ends, made.content, few)
    found = effect(made.content, unquantized, images)
    return Int8Comparison(found.images, worst, found.max_difference, found.signs_flipped, found.top1_agreement, calibrated)


def _first_rounding(single: SingleOperators, operator: Operator) -> float:
    """How far a layer that XNNPACK does not compute may be from a single rounding, in steps of the output, at most half a step.

    It has no convolutions with int4 kernels, and in LCE's interpreter no dense layers with a scale per channel. The kernels of
    TensorFlow Lite round twice: they multiply by m 2^e, m from 1/2 to 1, first by m and then by 2^e, each time rounded.
    """
    partner = single.operators[operator.outputs[0].index]
    source, kernel = partner.inputs[:2]
    assert source is not None
    assert kernel is not None
    factors = single.steps(source) * single.steps(kernel) / single.steps(partner.outputs[0])
    return float(np.minimum(0.5 * 2.0 ** np.frexp(factors.max())[1], 0.5))


def _check_required_ranges(made: Quantized, unquantized: bytes, images: Sequence[np.ndarray]) -> None:
    """No value may be more than a step outside a range that an operator requires: no images can need another one."""
    required = {tensor: made.scales.fixed[first] for tensor, first in made.scales.shares.items() if first in made.scales.fixed}
    for values in run_tensors(unquantized, list(required), images):
        for tensor, affine in required.items():
            low, high = affine.low - affine.scale, affine.high + affine.scale
            if not (low <= values[tensor].min() and values[tensor].max() <= high):
                raise ElLarqError(
                    f"verify: values of tensor {tensor} are outside {affine.low:g} to {affine.high:g}, the range that operators "
                    "require of it; report this as an error in el-larq"
                )


def _check_ends(content: bytes, real_ends: bytes, images: Sequence[np.ndarray]) -> None:
    """With the integers that the other file makes of its inputs, the outputs must be its integers in front of its outputs."""
    graph, own = parse(content), len(parse(real_ends).outputs)
    ends = [tensor.index for tensor in (*graph.inputs, *graph.outputs)]
    values = Interpreter(with_outputs(real_ends, ends)).run(images)[own:]
    got = Interpreter(content).run(values[: len(graph.inputs)])
    if not all(np.array_equal(one, wanted) for one, wanted in zip(got, values[len(graph.inputs) :], strict=True)):
        raise ElLarqError(
            "verify: with int8 inputs and outputs the file computes something else; report this as an error in el-larq"
        )

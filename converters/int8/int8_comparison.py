"""What computing with int8 changes: part of the step `verify`.

The float .tflite has been compared with the model. Here, the int8 file is compared with it:

1. constants    each value of a kernel is within half a step of the float one
2. operators    each operator computes, from the integers that it gets, what the float operator computes from the same numbers, to
                within LIMIT of a step besides its rounding to integers; signs are equal, bit by bit (`single_operators.py`)
3. ends         int8 inputs and outputs are those of the file with conversions at its ends
4. effect       differences of outputs, signs that differ, and top-1 agreement: reported, since they depend on the model
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.int8.single_operators import SingleOperators
from el_larq.converters.rewrite import with_outputs
from el_larq.converters.stored_comparison import effect
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import parse

LIMIT = 0.02
"""In steps of the output. Multipliers are integers of 31 bits; those of LceBconv2d are float32."""

AVERAGE_LIMIT = 0.75
"""For averages: TensorFlow Lite's kernels round sums, and XNNPACK's round once."""

_IMAGES = 8


@dataclass(frozen=True)
class Int8Comparison:
    """The int8 .tflite, compared with the float one.

    worst_operator: the largest difference of an operator in steps, averages left out. max_difference: of outputs, as a share of the
    largest one. signs_flipped: share of the signs that differ. top1_agreement: lowest agreement among the outputs that have the
    shape of logits; 1 without such an output.
    """

    images: int
    worst_operator: float
    max_difference: float
    signs_flipped: float
    top1_agreement: float

    @property
    def summary(self) -> str:
        return (
            f"each int8 operator within {self.worst_operator:.4f} of a step; int8 against float: top-1 agrees for "
            f"{self.top1_agreement:.1%}, outputs differ by up to {self.max_difference:.1e} of the largest one, "
            f"{self.signs_flipped:.2%} of the signs differ"
        )


def compare_int8(
    content: bytes, unquantized: bytes, images: Sequence[np.ndarray], real_ends: bytes | None = None
) -> Int8Comparison:
    """Compare on a batch (N, ...) for each input.

    real_ends: the same file with float inputs and outputs, if it has int8 ones.

    Raises:
        ElLarqError: a kernel is stored wrongly, or an operator or an end computes something else.
    """
    few = [batch[:_IMAGES] for batch in images]
    quantized = content if real_ends is None else real_ends
    single = SingleOperators(quantized, unquantized)
    _check_kernels(single)
    worst = 0.0
    for run in single.run(few):
        average = run.operator.name in ("AVERAGE_POOL_2D", "MEAN")
        if run.bits or not run.steps <= (AVERAGE_LIMIT if average else LIMIT):
            what = f"{run.bits} signs" if run.bits else f"{run.steps:.2g} of a step"
            raise ElLarqError(
                f"verify: operator {run.operator.index} ({run.operator.name}) with int8 differs by {what} from the same in float; "
                "report this as an error in el-larq"
            )
        worst = worst if average else max(worst, run.steps)
    if real_ends is not None:
        _check_ends(content, real_ends, few)
    found = effect(quantized, unquantized, images)
    return Int8Comparison(found.images, worst, found.max_difference, found.signs_flipped, found.top1_agreement)


def _check_kernels(single: SingleOperators) -> None:
    for operator in single.floats.operators:
        partner = single.operators[operator.outputs[0].index]
        stored, kernel = (o.inputs[1] if len(o.inputs) > 1 else None for o in (partner, operator))
        if operator.name not in KERNEL_AXES or stored is None or kernel is None or stored.type != "int8":
            continue
        error = np.abs(single.stored(stored) - kernel.array())
        if not np.all(error <= (0.5 + 1e-4) * single.steps(stored)):
            raise ElLarqError(f"verify: kernel {kernel.name} is stored wrongly; report this as an error in el-larq")


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

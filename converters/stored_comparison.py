"""What storing kernels as int8 or float16 changes: part of the step `verify`.

The .tflite with float32 kernels has been compared with the model. Here, the one with stored kernels is compared with it:

1. kernels      each value is within half a step of int8, or half a unit in the last place of float16
2. operators    outputs equal, bit by bit, those of the file with the values of the stored kernels as float32
3. effect       differences of outputs, signs that differ, and top-1 agreement: reported, since it depends on the model
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from el_larq.compression.symmetric import LARGEST, SMALLEST
from el_larq.converters.decisions import Decisions, agreed, agreements
from el_larq.converters.rewrite import with_outputs
from el_larq.converters.stored_kernels import with_restored_kernels
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.operators import unpack_signs
from el_larq.tflite.reader import Operator, Tensor, parse

_EXACT_IMAGES = 8
_BATCH = 16


@dataclass(frozen=True)
class StoredComparison:
    """The .tflite with stored kernels, compared with the one with float32 kernels.

    max_difference: of outputs, as a share of the largest one. signs_flipped: share of the signs that differ.
    top1_agreement: lowest agreement among the outputs that have the shape of logits; None without such an output.
    """

    images: int
    max_difference: float
    signs_flipped: float
    top1_agreement: float | None

    @property
    def summary(self) -> str:
        return (
            f"{agreed(self.top1_agreement)}outputs differ by up to {self.max_difference:.1e} of the largest one, "
            f"{self.signs_flipped:.2%} of the signs differ"
        )


def compare_stored(stored: bytes, unstored: bytes, images: Sequence[np.ndarray]) -> StoredComparison:
    """Compare on a batch (N, ...) for each input.

    Raises:
        ElLarqError: a kernel is not stored within half a step, or the operators compute something else than the stored values say.
    """
    restored = with_restored_kernels(stored)
    _check_kernels(stored, restored, unstored)
    few = [batch[:_EXACT_IMAGES] for batch in images]
    outputs = (Interpreter(content).run(few) for content in (stored, restored))
    if not all(np.array_equal(got, wanted, equal_nan=True) for got, wanted in zip(*outputs, strict=True)):
        raise ElLarqError(
            "verify: LCE's interpreter does not restore the stored kernels exactly; report this as an error in el-larq"
        )
    return effect(stored, unstored, images)


def _check_kernels(stored: bytes, restored: bytes, unstored: bytes) -> None:
    got, wanted = parse(restored).tensors, parse(unstored).tensors
    for operator in parse(stored).operators:
        for tensor in operator.inputs:
            if tensor is not None and tensor.stored is not None:
                values = wanted[tensor.index].array()
                error = np.abs(got[tensor.index].array().astype(np.float64) - values)
                if not np.all(error <= _largest_error(operator, tensor.stored, values)):
                    raise ElLarqError(f"verify: kernel {tensor.name} is stored wrongly; report this as an error in el-larq")


def _largest_error(operator: Operator, stored: Tensor, values: np.ndarray) -> np.ndarray:
    """Half a step, and the rounding of the step itself."""
    if stored.type == "float16":
        return np.maximum(np.abs(values) * 2.0**-11, 2.0**-25)
    axis = 3 if operator.name == "DEPTHWISE_CONV_2D" else 0
    others = tuple(number for number in range(values.ndim) if number != axis)
    largest = np.abs(values.astype(np.float64)).max(axis=others, keepdims=True)
    return (0.5 + 1e-4) * np.maximum(largest / LARGEST, SMALLEST)


def effect(stored: bytes, unstored: bytes, images: Sequence[np.ndarray]) -> StoredComparison:
    """What a .tflite with float inputs and outputs computes otherwise than one with the same tensors in float32."""
    graph = parse(unstored)
    own, count = len(graph.outputs), len(images[0])
    # Storing and quantizing append tensors, so these have the same numbers in both files.
    packed = [o for o in graph.operators if o.name.startswith("Lce") and o.outputs[0].type == "int32"]
    both = [Interpreter(with_outputs(content, [o.outputs[0].index for o in packed])) for content in (stored, unstored)]
    decisions, flipped, signs, largest, difference = [], 0, 0, np.zeros(own), np.zeros(own)
    for start in range(0, count, _BATCH):
        got, wanted = (interpreter.run([batch[start : start + _BATCH] for batch in images]) for interpreter in both)
        decisions.append(Decisions(wanted[:own], got[:own]))
        largest = np.maximum(largest, [np.abs(values).max() for values in wanted[:own]])
        difference = np.maximum(difference, [np.abs(a - b).max() for a, b in zip(got[:own], wanted[:own], strict=True)])
        for a, b in zip(got[own:], wanted[own:], strict=True):
            # Bits beyond the last channel are equal.
            changed = unpack_signs(a ^ b, 32 * a.shape[-1])
            flipped, signs = flipped + int(changed.sum()), signs + changed.size
    share = float((difference / np.where(largest == 0, 1, largest)).max())
    least = min((one.share for one in agreements(decisions)), default=None)
    return StoredComparison(count, share, flipped / max(1, signs), least)

"""One constant of a .tflite changed at a time, as a fault of a converter or of a disk would."""

from collections.abc import Callable, Iterator

import binary_models as models
import numpy as np

from el_larq.converters.frozen import FrozenModel
from el_larq.converters.verify import OUTPUT_TOLERANCE, verify_model
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, Tensor, parse

# Of a single-precision number: the highest bit of the mantissa, two of the exponent, the sign.
_FLOAT_BITS = (22, 23, 24, 31)
_INTEGER_BITS = (0, 1, 4)


def perturbations(content: bytes, bits: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """Every constant 5 % off as a whole; one element, drawn at random, 5 % off; and in one element one bit, ``bits`` times."""
    random = np.random.default_rng(seed)
    for operator in parse(content).operators:
        for position, tensor in enumerate(operator.inputs):
            if tensor is None or not tensor.constant:
                continue
            for what, values in _changes(operator, position, tensor, bits, random):
                changed = models.change_constant(content, tensor.index, values.dtype, lambda _, values=values: values)
                yield f"{what} in input {position} of operator {operator.index}, {operator.name}", changed


def _changes(
    operator: Operator, position: int, tensor: Tensor, bits: int, random: np.random.Generator
) -> Iterator[tuple[str, np.ndarray]]:
    original = tensor.array().reshape(-1)
    choice = _INTEGER_BITS
    if tensor.type == "float32":
        yield "5 %", (original * 1.05).astype(np.float32)
        values, element = original.copy(), random.integers(original.size)
        values[element] *= 1.05
        yield f"5 % of element {element}", values
        choice = _FLOAT_BITS
    elif operator.name == "LceBconv2d" and position == 1:
        choice = tuple(range(min(32, operator.options["channels_in"])))
    for bit in random.choice(choice, min(bits, len(choice)), replace=False):
        values, element = original.copy(), random.integers(original.size)
        values.view(np.uint32)[element] ^= np.uint32(1 << bit)
        yield f"bit {bit} of element {element}", values


def missed(
    frozen: FrozenModel, content: bytes, images: np.ndarray, bits: int, chosen: Callable[[], bool] = lambda: True
) -> tuple[dict[str, int], int]:
    """The changes that verify lets pass though an output departs by more than the tolerance, and how many departed.

    Each with the number of images with flips that verify excused; a value that is exactly 0 may flip too. A file that the
    interpreter does not run needs no verification. ``chosen`` says of one change after the other whether it is tested.
    """
    outputs = Interpreter(content).run(images)
    passed, departed = {}, 0
    for what, changed in perturbations(content, bits):
        if not chosen():
            continue
        try:
            got = Interpreter(changed).run(images)
            if all(_close(a, b) for a, b in zip(outputs, got, strict=True)):
                continue
            departed += 1
            result = verify_model(frozen, changed, images)
        except ElLarqError:
            continue
        if not result.failures:
            passed[what] = result.flipped_images
    return passed, departed


def _close(wanted: np.ndarray, got: np.ndarray) -> bool:
    return wanted.shape == got.shape and bool(np.all(np.abs(wanted - got) <= OUTPUT_TOLERANCE * np.abs(wanted).max()))

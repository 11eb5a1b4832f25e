"""Quantization of a real-valued .tflite to 8 bits by the guideline.

Steps are tried on some of the calibration images (`trials.py`): the int8 file with a step is compared with the float model.
`relu6`, `equalize` and `absorb` are judged together, since each prepares the next one: if the SQNR of the logits is lower
behind them than without them, all three are undone. `ranges`, `adaround` and `bias` are judged each by itself. What is kept is then
calibrated on all images and compared on all of them with the file that has ranges from the extremes and nothing else. The
latter is the result if the former is worse (`Figures.is_worse`).

The order, and which steps there are, is this project's own; each step's file names its source. Batch normalizations are folded
before, by LCE's converter, and kernels always have one symmetric scale per output channel (`el_larq.compression.symmetric`).
"""

from dataclasses import dataclass, replace

import numpy as np

from el_larq.converters.guideline.adaround import RoundedLayer
from el_larq.converters.guideline.bias_correction import corrections
from el_larq.converters.guideline.effects import Effect, Figures, Reference
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.guideline.trials import BASELINE, Candidate, FloatFile, Search, kernel_layers
from el_larq.converters.int8.int4_kernels import learned_kernels
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.int8.quantized_file import Quantized, tensor_reports
from el_larq.converters.int8.sign_offsets import Offsets
from el_larq.errors import ElLarqError, UsageError
from el_larq.printable import counted
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import TfliteGraph, parse

_BIAS_VALUES = 2**29
"""The number of int8 values of a tensor that are held in memory while biases are corrected; fewer images if they have more."""


@dataclass(frozen=True)
class ByGuideline:
    """The int8 file, what each step bought on the trial images, and on how many those were.

    kept_float: the layers that stay float, by the name of their output. found, plain: figures on all calibration images, of this
    file and of the one with ranges from the extremes. worse: those of the file with the steps, if it was worse than the latter and
    therefore discarded. rounded: what AdaRound did to its layers.
    int4, untrained: the layers whose kernels have 4 bits, and those of them that are rounded by that, by the name of their output.
    with_int8_kernels: figures of this file with 8 bits for all kernels; None if no kernel is rounded to 4 bits.
    """

    made: Quantized
    effects: tuple[Effect, ...]
    images: int
    kept_float: tuple[str, ...]
    found: Figures
    plain: Figures
    worse: Figures | None
    rounded: tuple[RoundedLayer, ...]
    int4: tuple[str, ...] = ()
    untrained: tuple[str, ...] = ()
    with_int8_kernels: Figures | None = None


def by_guideline(content: bytes, images: np.ndarray, chosen: Guideline) -> ByGuideline:
    """Quantize a real-valued float .tflite.

    images: all calibration images, (N, ...).

    Raises:
        UsageError: the model is binary, has several outputs, a layer whose first dimension is not that of the images, operators
            without an int8 form, or fewer layers than are to be kept float.
    """
    graph = parse(content)
    _check_real(graph)
    _check_count(graph, f"--keep-float {chosen.keep_float}", chosen.keep_float)
    _check_count(graph, f"--adaround worst:{chosen.worst}", chosen.worst)
    search = Search(content, images, chosen)
    best = search.run()
    kept = search.worst(best, chosen.keep_float)
    numbers = frozenset(kept)
    reference = Reference(content, images)
    plain = made = Candidate(FloatFile(content, images, chosen.kernel_bits), BASELINE, {})
    found = without = reference.compare(*plain.quantized(numbers)[:2])
    effects, worse = tuple(search.effects), None
    if best is not search.start:
        made = _on_all_images(best, plain.floats, chosen.bias, numbers)
        found = reference.compare(*made.quantized(numbers)[:2])
        if found.is_worse(without):
            made, found, worse = plain, without, found
            effects = (effects[0], *(replace(effect, kept=False) for effect in effects[1:]))
    result = _quantized(made, numbers)
    _check_computed(result, numbers)
    layers = kernel_layers(made.floats.graph)
    int4 = sorted(result.scales.int4)
    untrained = sorted(result.scales.int4 - learned_kernels(made.floats.graph))
    return ByGuideline(
        result,
        effects,
        len(search.images),
        tuple(kept.values()),
        found,
        without,
        worse,
        tuple(search.rounded),
        tuple(layers[index] for index in int4),
        tuple(layers[index] for index in untrained),
        _with_int8_kernels(made, chosen.bias, numbers, reference) if untrained else None,
    )


def _with_int8_kernels(made: Candidate, bias: str, kept: frozenset[int], reference: Reference) -> Figures:
    other = replace(made, floats=FloatFile(made.floats.content, made.floats.images, 8))
    return reference.compare(*_corrected(other, bias, kept).quantized(kept)[:2])


def _on_all_images(best: Candidate, start: FloatFile, bias: str, kept: frozenset[int]) -> Candidate:
    """A candidate with ranges of all calibration images, which ``start`` has seen, and its biases corrected on them."""
    edited = best.floats.content is not start.content
    floats = FloatFile(best.floats.content, start.images, start.kernel_bits) if edited else start
    return _corrected(replace(best, floats=floats), bias, kept)


def _corrected(made: Candidate, bias: str, kept: frozenset[int]) -> Candidate:
    """The candidate with its biases, if they are corrected at all, corrected on all images."""
    if not made.shifts:
        return made
    made, floats = replace(made, shifts={}), made.floats
    content, _, scales = made.quantized(kept)
    largest = max(tensor.elements for tensor in floats.graph.tensors if not tensor.constant)
    images = floats.images[: max(1, _BIAS_VALUES // largest)]
    return replace(made, shifts=corrections(floats.content, content, scales.operators, images, bias))


def _quantized(made: Candidate, kept: frozenset[int]) -> Quantized:
    scales, affines = made.floats.quantization(made.ranges, kept)
    offsets = Offsets({index: shift for index, shift in made.shifts.items() if index not in kept}, frozenset(), frozenset())
    reports = tensor_reports(made.floats.content, scales, affines, offsets, made.floats.images)
    return Quantized(
        made.floats.content, made.quantized(kept)[0], scales, affines, offsets, reports, made.floats.images, made.roundings
    )


def _check_real(graph: TfliteGraph) -> None:
    binary = sum(operator.name == BINARY for operator in graph.operators)
    if binary:
        raise UsageError(
            f"quantize: the model has {counted(binary, 'binary convolution')}; use el-larq convert --int8 full, which keeps them "
            "binary and makes everything else int8"
        )
    if len(graph.outputs) > 1:
        raise UsageError(
            f"quantize: the model has {len(graph.outputs)} outputs, and steps are judged by one; use el-larq convert --int8 full"
        )
    for operator in graph.operators:
        shape = operator.outputs[0].shape if operator.outputs else ()
        if operator.name in KERNEL_AXES and shape[:1] != (1,):
            raise UsageError(
                f"quantize: {operator.name} ({operator.outputs[0].name}) has the shape {list(shape)} for one image; the first "
                "dimension of each layer must be that of the images, so layers inside TimeDistributed are not supported"
            )


def _check_count(graph: TfliteGraph, option: str, count: int) -> None:
    if count > (layers := len(kernel_layers(graph))):
        raise UsageError(f"{option}: the model has {counted(layers, 'layer')}")


def _check_computed(made: Quantized, kept: frozenset[int]) -> None:
    """An error if anything computes with real numbers that was not meant to."""
    floats = parse(made.source)
    allowed = {tensor.index for operator in floats.operators if operator.index in kept for tensor in operator.outputs}
    for operator in parse(made.content).operators:
        for tensor in operator.outputs:
            if tensor.type == "float32" and operator.name != "DEQUANTIZE" and tensor.index not in allowed:
                raise ElLarqError(
                    f"quantize: {operator.name} ({tensor.name}) computes with float32; report this as an error in el-larq"
                )

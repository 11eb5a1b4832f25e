"""Quantization of a real-valued .tflite to 8 bits by the guideline: steps that are tried one after another, and kept if they help.

Each step is tried on the first calibration images: the int8 file with it is compared with the float model. `relu6`, `equalize`
and `absorb` are judged together, since each prepares the next one: if the SQNR of the logits is lower behind them than without
them, all three are undone. `ranges` and `bias` are judged each by itself. What is kept is then calibrated on all images; the
result is not compared with that of `minmax` again, so on other images than those of the trials it may be slightly worse.

The order, and which steps there are, is this project's own; each step's file names its source. Batch normalizations are folded
before, by LCE's converter, and kernels always have one symmetric scale per output channel (`el_larq.compression.symmetric`).
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.converters.guideline.bias_correction import corrections
from el_larq.converters.guideline.effects import LAYER_IMAGES, Effect, Reference, layer_noise
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.guideline.layer_pairs import equalized, with_absorbed_biases, without_relu6
from el_larq.converters.int8.calibrate import affines, observe_all
from el_larq.converters.int8.int8_file import Shifts, with_int8
from el_larq.converters.int8.int8_operators import KERNEL_AXES, Scales, find_scales
from el_larq.converters.int8.quantized_file import Quantized, quantize_file
from el_larq.errors import ElLarqError, UsageError
from el_larq.printable import counted
from el_larq.tflite.operators import BINARY
from el_larq.tflite.reader import TfliteGraph, parse

TRIAL_IMAGES = 32
"""The number of images that steps are tried on, and that biases are corrected with."""

BASELINE = "min-max"


@dataclass(frozen=True)
class ByGuideline:
    """The int8 file, what each step bought on the trial images, and on how many those were.

    kept_float: the layers that stay float, by the name of their output. agreement, sqnr: of the file, on all calibration images.
    """

    made: Quantized
    effects: tuple[Effect, ...]
    images: int
    kept_float: tuple[str, ...]
    agreement: float
    sqnr: float


class _Float:
    """A float file, with what was observed in it on the trial images, and the quantizations that follow from it."""

    def __init__(self, content: bytes, images: np.ndarray):
        self.content, self.graph = content, parse(content)
        self.scales, self.observers = observe_all(content, self.graph, [images])
        _check_all_int8(self.scales)
        self._found: dict[tuple[str, frozenset[int]], tuple[Scales, dict[int, Affine]]] = {}

    def quantization(self, ranges: str, kept: frozenset[int]) -> tuple[Scales, dict[int, Affine]]:
        """Of a way to estimate ranges and operators that stay float; the same for candidates that differ in biases only."""
        key = ranges, kept
        if key not in self._found:
            scales = find_scales(self.graph, kept=kept)
            self._found[key] = scales, affines(self.observers, self.graph, scales, ranges)
        return self._found[key]


@dataclass(frozen=True)
class _Candidate:
    """A way to quantize: a float file, how ranges are estimated, and what is added to biases."""

    floats: _Float
    ranges: str
    shifts: Shifts

    def quantized(self, kept: frozenset[int] = frozenset()) -> tuple[bytes, dict[int, Affine], Scales]:
        """The int8 file, the quantization of its int8 tensors, and where they are. kept: the operators that stay float."""
        scales, found = self.floats.quantization(self.ranges, kept)
        shifts = {index: shift for index, shift in self.shifts.items() if index not in kept}
        tensors = {tensor: found[first] for tensor, first in scales.shares.items()}
        return with_int8(self.floats.content, scales, found, shifts), tensors, scales


def by_guideline(content: bytes, images: np.ndarray, chosen: Guideline) -> ByGuideline:
    """Quantize a real-valued float .tflite.

    images: all calibration images, (N, ...).

    Raises:
        UsageError: the model is binary, has several outputs, a layer whose first dimension is not that of the images, operators
            without an int8 form, or fewer layers than are to be kept float.
    """
    graph = parse(content)
    _check_real(graph)
    _check_keeps(graph, chosen.keep_float)
    search = _Search(content, images, chosen)
    best = search.run()
    kept = search.worst(best, chosen.keep_float)
    made = quantize_file(best.floats.content, images, best.ranges, frozenset(kept))
    if best.shifts:
        made = _corrected(made, corrections(made.source, made.content, made.scales.operators, search.images, chosen.bias))
    _check_computed(made, frozenset(kept))
    tensors = {tensor: made.affines[first] for tensor, first in made.scales.shares.items()}
    noise, agreement = Reference(content, images).compare(made.content, tensors)
    return ByGuideline(made, tuple(search.effects), len(search.images), tuple(kept.values()), agreement, noise)


class _Search:
    """Tries the steps. effects: one for each step that was tried."""

    def __init__(self, content: bytes, images: np.ndarray, chosen: Guideline):
        self.all_images, self.images, self.chosen = images, images[:TRIAL_IMAGES], chosen
        self.reference = Reference(content, self.images)
        self.start = _Candidate(_Float(content, self.images), BASELINE, {})
        self.effects: list[Effect] = []

    def run(self) -> _Candidate:
        """The best candidate."""
        self._measure("minmax", "ranges from the extremes", self.start)
        best = self._judged(self.start, self._edits())
        best = self._judged(best, self._ranges(best))
        return self._judged(best, self._bias(best))

    def worst(self, best: _Candidate, count: int) -> dict[int, str]:
        """The layers that cost the logits most: those without which their SQNR is highest, each kept float by itself."""
        if not count:
            return {}
        layers = _layers(best.floats.graph)
        reference = Reference(self.reference.content, self.images[:LAYER_IMAGES])
        found = {index: reference.compare(*best.quantized(frozenset({index}))[:2])[0] for index in layers}
        return {index: layers[index] for index in sorted(sorted(layers, key=lambda index: -found[index])[:count])}

    def _edits(self) -> Iterator[tuple[str, str, _Candidate]]:
        """The steps that edit layers, each behind the others: name, note, candidate."""
        content = self.start.floats.content
        for step, edit, unit in (
            ("relu6", without_relu6, "ReLU6 to ReLU"),
            ("equalize", equalized, "pairs of layers"),
            ("absorb", lambda content: with_absorbed_biases(content, self.all_images), "channels"),
        ):
            if step in self.chosen.steps:
                content, count = edit(content)
                if count:
                    yield step, f"{count} {unit}", _Candidate(_Float(content, self.images), BASELINE, {})

    def _ranges(self, best: _Candidate) -> Iterator[tuple[str, str, _Candidate]]:
        if "ranges" in self.chosen.steps:
            yield "ranges", "smallest mean square error", replace(best, ranges="mse")

    def _bias(self, best: _Candidate) -> Iterator[tuple[str, str, _Candidate]]:
        if "bias" in self.chosen.steps:
            quantized, _, scales = best.quantized()
            shifts = corrections(best.floats.content, quantized, scales.operators, self.images, self.chosen.bias)
            yield "bias", f"{self.chosen.bias}, {len(shifts)} layers", replace(best, shifts=shifts)

    def _judged(self, best: _Candidate, tried: Iterator[tuple[str, str, _Candidate]]) -> _Candidate:
        """The last of the candidates, if it is as good as the best one so far; else this one, and their steps are not kept."""
        before, last = len(self.effects), best
        start = [one for one in self.effects if one.kept][-1]
        for step, note, candidate in tried:
            self._measure(step, note, candidate)
            last = candidate
        if self.effects[-1].sqnr >= start.sqnr:
            return last
        self.effects[before:] = [replace(one, kept=False) for one in self.effects[before:]]
        return best

    def _measure(self, step: str, note: str, candidate: _Candidate) -> None:
        quantized, tensors, _ = candidate.quantized()
        noise, agreement = self.reference.compare(quantized, tensors)
        layers = layer_noise(candidate.floats.content, quantized, tensors, self.images)
        self.effects.append(Effect(step, note, True, noise, agreement, layers))


def _corrected(made: Quantized, shifts: Shifts) -> Quantized:
    content = with_int8(made.source, made.scales, made.affines, shifts)
    return replace(made, content=content, offsets=replace(made.offsets, shifts=shifts))


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


def _layers(graph: TfliteGraph) -> dict[int, str]:
    """The operators with kernels, and the names of their outputs."""
    return {operator.index: operator.outputs[0].name for operator in graph.operators if operator.name in KERNEL_AXES}


def _check_keeps(graph: TfliteGraph, count: int) -> None:
    if count > (layers := len(_layers(graph))):
        raise UsageError(f"--keep-float {count}: the model has {counted(layers, 'layer')}")


def _check_all_int8(scales: Scales) -> None:
    if scales.left:
        named = ", ".join(sorted({f"{operator.name} ({operator.outputs[0].name}): {reason}" for operator, reason in scales.left}))
        raise UsageError(f"quantize: {named}; el-larq convert --int8 full keeps such operators float")


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

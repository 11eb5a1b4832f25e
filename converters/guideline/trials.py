"""The steps of the guideline, tried one after another on some calibration images, and kept if they help."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.converters.guideline.adaround import RoundedLayer, adaptive_roundings, spelled
from el_larq.converters.guideline.bias_correction import corrections
from el_larq.converters.guideline.effects import LAYER_IMAGES, Effect, LayerValues, Reference
from el_larq.converters.guideline.guideline_options import Guideline
from el_larq.converters.guideline.layer_pairs import equalized, with_absorbed_biases, without_relu6
from el_larq.converters.int8.calibrate import affines, observe_all
from el_larq.converters.int8.int4_kernels import learned_kernels, with_int4_kernels
from el_larq.converters.int8.int8_file import Roundings, Shifts, with_int8
from el_larq.converters.int8.int8_operators import KERNEL_AXES, Scales, find_scales
from el_larq.errors import UsageError
from el_larq.tflite.reader import TfliteGraph, parse

TRIAL_IMAGES = 32
"""The number of images that steps are tried on. For trials, biases are corrected with as many other ones, if there are so many."""

BASELINE = "min-max"

_CHANGE_KERNELS = ("relu6", "equalize")
"""Equalization, and the step that prepares it."""


class FloatFile:
    """A float file, with what was observed in it on some images, and the quantizations that follow from it."""

    def __init__(self, content: bytes, images: np.ndarray, kernel_bits: int):
        self.content, self.graph, self.images, self.kernel_bits = content, parse(content), images, kernel_bits
        self.scales, self.observers = observe_all(content, self.graph, [images])
        _check_all_int8(self.scales)
        self._layers: LayerValues | None = None
        self._found: dict[tuple[str, frozenset[int]], tuple[Scales, dict[int, Affine]]] = {}

    def quantization(self, ranges: str, kept: frozenset[int]) -> tuple[Scales, dict[int, Affine]]:
        """Of a way to estimate ranges and operators that stay float; the same for candidates that differ in biases only."""
        key = ranges, kept
        if key not in self._found:
            scales = find_scales(self.graph, kept=kept)
            if self.kernel_bits == 4:
                scales = with_int4_kernels(self.graph, scales)
            self._found[key] = scales, affines(self.observers, self.graph, scales, ranges)
        return self._found[key]

    def layers(self) -> LayerValues:
        if self._layers is None:
            self._layers = LayerValues(self.content, self.images)
        return self._layers


@dataclass(frozen=True)
class Candidate:
    """A way to quantize: a float file, how ranges are estimated, what is added to biases, and how kernels are rounded."""

    floats: FloatFile
    ranges: str
    shifts: Shifts
    roundings: Roundings = field(default_factory=dict)

    def quantized(self, kept: frozenset[int] = frozenset()) -> tuple[bytes, dict[int, Affine], Scales]:
        """The int8 file, the quantization of its int8 tensors, and where they are. kept: the operators that stay float."""
        scales, found = self.floats.quantization(self.ranges, kept)
        shifts = {index: shift for index, shift in self.shifts.items() if index not in kept}
        tensors = {tensor: found[first] for tensor, first in scales.shares.items()}
        return with_int8(self.floats.content, scales, found, shifts, self.roundings), tensors, scales


class Search:
    """Tries the steps. effects: one for each step that was tried. rounded: what AdaRound did to its layers."""

    def __init__(self, content: bytes, images: np.ndarray, chosen: Guideline):
        self.all_images, self.chosen = images, chosen
        tried = np.linspace(0, len(images) - 1, min(TRIAL_IMAGES, len(images))).astype(int)
        others = np.setdiff1d(np.arange(len(images)), tried)
        self.images = images[tried]
        self.untried = images[others] if len(others) >= TRIAL_IMAGES else self.images
        self.others = images[others[:: len(others) // TRIAL_IMAGES][:TRIAL_IMAGES]] if len(others) >= TRIAL_IMAGES else self.images
        self.reference = Reference(content, self.images)
        self.start = Candidate(self._floats(content), BASELINE, {})
        self.effects: list[Effect] = []
        self.rounded: list[RoundedLayer] = []

    def run(self) -> Candidate:
        """The best candidate."""
        self._measure("minmax", "ranges from the extremes", self.start)
        best = self._judged(self.start, self._edits())
        best = self._judged(best, self._ranges(best))
        best = self._judged(best, self._adaround(best))
        return self._judged(best, self._bias(best))

    def worst(self, best: Candidate, count: int) -> dict[int, str]:
        """The layers that cost the logits most: those without which their SQNR is highest, each kept float by itself."""
        if not count:
            return {}
        layers = kernel_layers(best.floats.graph)
        reference = Reference(self.reference.content, self.images[:LAYER_IMAGES])
        found = {index: reference.compare(*best.quantized(frozenset({index}))[:2]).sqnr for index in layers}
        return {index: layers[index] for index in sorted(sorted(layers, key=lambda index: -found[index])[:count])}

    def _floats(self, content: bytes) -> FloatFile:
        return FloatFile(content, self.images, self.chosen.kernel_bits)

    def _steps(self) -> tuple[str, ...]:
        """The chosen steps, without those that change kernels with learned steps: equalization scales their inputs."""
        learned = self.chosen.kernel_bits == 4 and learned_kernels(self.start.floats.graph)
        return tuple(step for step in self.chosen.steps if not (learned and step in _CHANGE_KERNELS))

    def _edits(self) -> Iterator[tuple[str, str, Candidate]]:
        """The steps that edit layers, each behind the others: name, note, candidate."""
        content, steps = self.start.floats.content, self._steps()
        for step, edit, unit in (
            ("relu6", without_relu6, "ReLU6 to ReLU"),
            ("equalize", equalized, "pairs of layers"),
            ("absorb", lambda content: with_absorbed_biases(content, self.images, self.all_images), "channels"),
        ):
            if step in steps:
                content, count = edit(content)
                if count:
                    yield step, f"{count} {unit}", Candidate(self._floats(content), BASELINE, {})

    def _ranges(self, best: Candidate) -> Iterator[tuple[str, str, Candidate]]:
        if "ranges" in self.chosen.steps:
            yield "ranges", "smallest mean square error", replace(best, ranges="mse")

    def _adaround(self, best: Candidate) -> Iterator[tuple[str, str, Candidate]]:
        if "adaround" in self.chosen.steps:
            layers = list(kernel_layers(best.floats.graph))
            ends = [layers[number] for name, number in (("first", 0), ("last", -1)) if name in self.chosen.adaround]
            chosen = {*ends, *self.worst(best, self.chosen.worst)}

            def write(roundings: Roundings) -> bytes:
                return replace(best, roundings=roundings).quantized()[0]

            roundings, self.rounded = adaptive_roundings(best.floats.content, write, chosen, self.untried)
            yield "adaround", spelled(self.rounded), replace(best, roundings=roundings)

    def _bias(self, best: Candidate) -> Iterator[tuple[str, str, Candidate]]:
        if "bias" in self.chosen.steps:
            quantized, _, scales = best.quantized()
            shifts = corrections(best.floats.content, quantized, scales.operators, self.others, self.chosen.bias)
            yield "bias", f"{self.chosen.bias}, {len(shifts)} layers", replace(best, shifts=shifts)

    def _judged(self, best: Candidate, tried: Iterator[tuple[str, str, Candidate]]) -> Candidate:
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

    def _measure(self, step: str, note: str, candidate: Candidate) -> None:
        quantized, tensors, _ = candidate.quantized()
        found, layers = self.reference.compare_layers(quantized, tensors, candidate.floats.layers())
        self.effects.append(Effect(step, note, True, found.sqnr, found.agreement, layers))


def kernel_layers(graph: TfliteGraph) -> dict[int, str]:
    """The operators with kernels, and the names of their outputs."""
    return {operator.index: operator.outputs[0].name for operator in graph.operators if operator.name in KERNEL_AXES}


def _check_all_int8(scales: Scales) -> None:
    if scales.left:
        named = ", ".join(sorted({f"{operator.name} ({operator.outputs[0].name}): {reason}" for operator, reason in scales.left}))
        raise UsageError(f"quantize: {named}; el-larq convert --int8 full keeps such operators float")

"""What an int8 file does, compared with the float file on some images: SQNR of the outputs and of each layer, and top-1."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.noise import decibels, sqnr
from el_larq.converters.int8.int8_operators import KERNEL_AXES
from el_larq.converters.rewrite import with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import TfliteGraph, parse

NOISE_ONLY = -300.0
"""In dB, of a tensor that is 0 in float and not in int8."""

LAYER_IMAGES = 8
"""The number of images that the SQNR of each layer is of."""


@dataclass(frozen=True)
class Effect:
    """What a step bought. Figures are those with this step and the ones before it that were kept.

    note: what the step changed. kept: whether it was kept; if not, the file does not contain it. sqnr: of the logits against those
    of the model as it came, in dB. agreement: the share of `decisions` that are the same, 0 to 1. layers: the SQNR in dB of each
    layer's output, all errors in front of it included, against the float file with the same edits, by the name of its tensor.
    """

    step: str
    note: str
    kept: bool
    sqnr: float
    agreement: float
    layers: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON: the SQNR of what is exact is None, and that of noise without a signal `NOISE_ONLY`."""
        found = {"": self.sqnr, **self.layers}
        finite = {name: None if value == np.inf else max(value, NOISE_ONLY) for name, value in found.items()}
        return {
            "step": self.step,
            "note": self.note,
            "kept": self.kept,
            "sqnr": finite.pop(""),
            "agreement": self.agreement,
            "layers": finite,
        }


def logits(graph: TfliteGraph) -> int:
    """The tensor whose largest value decides: the first output, or what a softmax at its end is of."""
    output = graph.outputs[0].index
    producer = graph.producers.get(output)
    if producer is not None and producer.name in ("SOFTMAX", "LOGISTIC") and producer.inputs[0] is not None:
        return producer.inputs[0].index
    return output


class Reference:
    """The float outputs of a model on some images (N, ...)."""

    def __init__(self, content: bytes, images: np.ndarray):
        self.content, self.images, self.tensor = content, images, logits(parse(content))
        self.values = Interpreter(with_outputs(content, [self.tensor])).run(images)[-1]

    def compare(self, quantized: bytes, affines: dict[int, Affine]) -> tuple[float, float]:
        """SQNR in dB and top-1 agreement of an int8 file. affines: of its int8 tensors."""
        got = _real(Interpreter(with_outputs(quantized, [self.tensor])).run(self.images)[-1], affines.get(self.tensor))
        agreed = np.mean(decisions(got) == decisions(self.values))
        return sqnr(self.values, got), float(agreed)


def decisions(values: np.ndarray) -> np.ndarray:
    """What logits (N, ..., C) decide: the largest one, or for C = 1 whether it is positive."""
    return values > 0 if values.shape[-1] == 1 else values.argmax(axis=-1)


def _real(values: np.ndarray, affine: Affine | None) -> np.ndarray:
    return values if values.dtype != np.int8 or affine is None else affine.real(values)


def layer_noise(content: bytes, quantized: bytes, affines: dict[int, Affine], images: np.ndarray) -> dict[str, float]:
    """The SQNR of each layer's output in dB, between a float file and the int8 file made of it, by the tensor's name."""
    graph, few = parse(content), images[:LAYER_IMAGES]
    tensors = [operator.outputs[0] for operator in graph.operators if operator.name in KERNEL_AXES]
    numbers = [tensor.index for tensor in tensors]
    floats, integers = Interpreter(with_outputs(content, numbers)), Interpreter(with_outputs(quantized, numbers))
    signal, noise = np.zeros(len(tensors)), np.zeros(len(tensors))
    own = len(graph.outputs)
    for image in few:
        pairs = zip(floats.run(image[None])[own:], integers.run(image[None])[own:], strict=True)
        for position, (wanted, got) in enumerate(pairs):
            wanted = wanted.astype(np.float64)
            signal[position] += np.square(wanted).sum()
            noise[position] += np.square(wanted - _real(got, affines.get(numbers[position]))).sum()
    found = map(decibels, signal.tolist(), noise.tolist())
    return {tensor.name: value for tensor, value in zip(tensors, found, strict=True)}

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
"""The largest number of images that the SQNR of each layer is of."""

_VALUES = 2**24
"""The number of values of layers that are held in memory."""


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


@dataclass(frozen=True)
class Figures:
    """Logits of an int8 file, compared with those of the float model. sqnr: in dB. same: whether decisions agree, bool (N, ...)."""

    sqnr: float
    same: np.ndarray

    @property
    def agreement(self) -> float:
        """The share of the decisions that agree, 0 to 1."""
        return float(np.mean(self.same))

    def is_worse(self, other: "Figures") -> bool:
        """Whether these are worse than another file's: a lower SQNR, or fewer decisions that agree, beyond chance.

        Of the decisions that agree for one of the files only, b for this one and c for the other, each is as likely to be of either
        kind if both files are equally good. So c - b has the standard deviation sqrt(b + c) (McNemar, 1947); up to two are chance.
        """
        here, there = np.sum(self.same & ~other.same), np.sum(other.same & ~self.same)
        return self.sqnr < other.sqnr or bool(there - here > 2 * np.sqrt(here + there))


class LayerValues:
    """What the layers of a float file compute on some images: their outputs, each (n, ...), by tensor."""

    def __init__(self, content: bytes, images: np.ndarray):
        graph = parse(content)
        tensors = [operator.outputs[0] for operator in graph.operators if operator.name in KERNEL_AXES]
        self.names = {tensor.index: tensor.name for tensor in tensors}
        count = min(LAYER_IMAGES, max(1, _VALUES // sum(tensor.elements for tensor in tensors)))
        found = Interpreter(with_outputs(content, list(self.names))).run(images[:count])[len(graph.outputs) :]
        self.values = dict(zip(self.names, found, strict=True))


class Reference:
    """The float logits of a model on some images (N, ...)."""

    def __init__(self, content: bytes, images: np.ndarray):
        self.content, self.images, self.tensor = content, images, logits(parse(content))
        self.values = Interpreter(with_outputs(content, [self.tensor])).run(images)[-1]

    def compare(self, quantized: bytes, affines: dict[int, Affine]) -> Figures:
        """Of an int8 file. affines: of its int8 tensors."""
        return self.compare_layers(quantized, affines, None)[0]

    def compare_layers(
        self, quantized: bytes, affines: dict[int, Affine], layers: LayerValues | None
    ) -> tuple[Figures, dict[str, float]]:
        """The same, and the SQNR in dB of each layer's output, by the name of its tensor.

        layers: of the float file that the int8 file was made of, on the first of the images.
        """
        wanted = [self.tensor, *(layers.values if layers is not None else ())]
        interpreter = Interpreter(with_outputs(quantized, wanted))
        own = len(interpreter.graph.outputs) - len(wanted)
        made = []
        sums = {tensor: np.zeros(2) for tensor in wanted[1:]}
        for number, image in enumerate(self.images):
            outputs = interpreter.run(image[None])[own:]
            made.append(outputs[0])
            for tensor, got in zip(wanted[1:], outputs[1:], strict=True):
                assert layers is not None
                if number < len(layers.values[tensor]):
                    exact = layers.values[tensor][number]
                    error = exact - _real(got[0], affines.get(tensor))
                    sums[tensor] += [np.vdot(values, values) for values in (exact, error)]
        got = _real(np.concatenate(made), affines.get(self.tensor))
        noise = {} if layers is None else {layers.names[t]: decibels(*found.tolist()) for t, found in sums.items()}
        return Figures(sqnr(self.values, got), decisions(got) == decisions(self.values)), noise


def decisions(values: np.ndarray) -> np.ndarray:
    """What logits (N, ..., C) decide: the largest one, or for C = 1 whether it is positive."""
    return values > 0 if values.shape[-1] == 1 else values.argmax(axis=-1)


def _real(values: np.ndarray, affine: Affine | None) -> np.ndarray:
    return values if values.dtype != np.int8 or affine is None else affine.real(values)

"""The input of the rules: a flatbuffer and, for those that compare it with the model, what its layers were meant to become."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from el_larq.tflite.reader import Operator, TfliteGraph

if TYPE_CHECKING:
    from el_larq.converters.intent import QuantizedLayer


@dataclass(frozen=True)
class Subject:
    """A flatbuffer, and what is known of the model that it was made from; the fields but the first are empty without a model.

    layers: names of the Keras layers of the operators that have kernels, by operator index.
    quantized: the quantized kernels of the model.
    weights: total number of weights in the model's convolutions, including quantized kernels that the graph does not show as one.
    converted_to: maps the id of a convolution of the model to the LceBconv2d that it was converted to.
    """

    graph: TfliteGraph
    layers: dict[int, str] = field(default_factory=dict)
    quantized: "tuple[QuantizedLayer, ...]" = ()
    weights: int = 0
    converted_to: dict[int, Operator] = field(default_factory=dict)

    def operator(self, quantized: "QuantizedLayer") -> Operator | None:
        """The LceBconv2d that a quantized kernel was converted to; None if there is none."""
        return self.converted_to.get(id(quantized.convolution))

    def missing(self, sort: str) -> "Iterator[QuantizedLayer]":
        """The quantized kernels of a sort that were not converted to an LceBconv2d."""
        return (quantized for quantized in self.quantized if quantized.sort == sort and self.operator(quantized) is None)

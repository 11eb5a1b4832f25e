"""The input of the rules: a flatbuffer and, for those that compare it with the model, what its layers were meant to become."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from el_larq.tflite.reader import Operator, TfliteGraph

if TYPE_CHECKING:
    from el_larq.converters.intent import Meant


@dataclass(frozen=True)
class Subject:
    """A flatbuffer, and what is known of the model that it was made from; the fields but the first are empty without a model.

    layers: names of the Keras layers of the operators that have kernels, by operator index.
    meant: the quantized kernels of the model.
    weights: total number of weights in the model's convolutions, including quantized kernels that the graph does not show as one.
    became: maps the id of a convolution of the model to the LceBconv2d that it was converted to.
    """

    graph: TfliteGraph
    layers: dict[int, str] = field(default_factory=dict)
    meant: "tuple[Meant, ...]" = ()
    weights: int = 0
    became: dict[int, Operator] = field(default_factory=dict)

    def operator(self, meant: "Meant") -> Operator | None:
        """The LceBconv2d that a quantized kernel was converted to; None if there is none."""
        return self.became.get(id(meant.convolution))

    def missing(self, sort: str) -> "Iterator[Meant]":
        """The quantized kernels of a sort that were not converted to an LceBconv2d."""
        return (meant for meant in self.meant if meant.sort == sort and self.operator(meant) is None)

"""Approximates the graph of a Keras model as seen by TFLite's memory planner, without converting the model.

Normalizations and activations take no memory of their own (they are fused or run in place), binary convolutions read packed signs,
a link is one addition. Operators that take instructions but no memory are kept apart from the graph. For exact figures, inspect
the .tflite.
"""

from math import prod
from typing import Any

import tf_keras as keras

from el_larq.inspection.predicted_operators import (
    PRESENT,
    as_folded,
    describe_layer,
    link_operators,
    operators_before,
    passing_operators,
)
from el_larq.inspection.predicted_weights import Neighbours, becomes_binary
from el_larq.keras_internals import layer_calls
from el_larq.tflite.operators import BINARY, words
from el_larq.tflite.reader import Operator, Tensor, TfliteGraph


class PredictedGraph:
    """The graph of a functional model.

    operators_of: the indices of each layer's operators, by the id of the layer.
    in_place: operators of each layer without memory of their own, by the id of the layer; they are not in the graph.
    """

    def __init__(self, model: keras.Model):
        self._neighbours = Neighbours(model)
        self.in_place: dict[int, list[Operator]] = {}
        self._tensors: list[Tensor] = []
        self._operators: list[Operator] = []
        self._packed: dict[int, Tensor] = {}
        self.operators_of: dict[int, list[int]] = {}
        inputs = [self._tensor(_static(tensor.shape)) for tensor in model.inputs or []]
        outputs = self._walk(model, inputs)
        self.graph = TfliteGraph(tuple(self._tensors), tuple(self._operators), tuple(inputs), tuple(outputs), {}, 0)

    @property
    def all_operators(self) -> list[Operator]:
        """The graph's operators, and those without memory of their own, as they run after `fold`."""
        found = [*self.graph.operators, *(operator for found in self.in_place.values() for operator in found)]
        return [as_folded(operator) for operator in found]

    def operators_for(self, layer: Any) -> list[Operator]:
        """Those of `all_operators` that one layer became, in all its calls."""
        own = [self.graph.operators[index] for index in self.operators_of.get(id(layer), ())]
        return [as_folded(operator) for operator in (*own, *self.in_place.get(id(layer), ()))]

    def _walk(self, model: keras.Model, inputs: list[Tensor]) -> list[Tensor]:
        """Add a model's layers, with nested models expanded in place; returns its outputs."""
        known = {id(tensor): mine for tensor, mine in zip(model.inputs or [], inputs, strict=True)}
        for call in layer_calls(model):
            if call.is_input:
                continue
            sources = [known[id(tensor)] for tensor in call.inputs if id(tensor) in known]
            if isinstance(call.layer, keras.Model):
                results = self._walk(call.layer, sources)
            else:
                results = self._call(call.layer, sources, [_static(s) for s in _list(call.output_shapes)])
            for tensor, mine in zip(call.outputs, results, strict=False):
                known[id(tensor)] = mine
        return [known[id(tensor)] for tensor in model.outputs or [] if id(tensor) in known]

    def _call(self, layer: Any, sources: list[Tensor], shapes: list[tuple[int, ...]]) -> list[Tensor]:
        if len(sources) == len(shapes) == 1 and _passes(layer, sources[0].elements, shapes[0]):
            for name in passing_operators(layer, self._neighbours):
                constant = self._tensor(shapes[0][-1:], data=PRESENT)
                self._apart(layer, name, (sources[0], constant), sources)
            return sources  # fused, or in place: the same memory
        first = len(self._operators)
        outputs = [self._tensor(shape) for shape in shapes]
        if isinstance(layer, keras.layers.Dense) and becomes_binary(layer, sources[0].shape):
            self._binary(sources[0], outputs[0], (1, 1, *layer.kernel.shape), (1, 1))
        elif isinstance(layer, keras.layers.Conv2D) and not isinstance(
            layer, (keras.layers.DepthwiseConv2D, keras.layers.Conv2DTranspose)
        ):
            self._convolution(layer, sources[0], outputs[0])
        elif len(sources) > 1 and len(outputs) == 1 and any(source.shape == outputs[0].shape for source in sources):
            self._link(layer, sources, outputs[0])
            self._operator("ADD", tuple(reversed(sources)), outputs)
        else:
            for name in operators_before(layer):
                self._apart(layer, name, (sources[0],), sources[:1])
            name, shape, options = describe_layer(layer, sources[0].shape if sources else ())
            kernel = () if shape is None else (self._tensor(shape, data=PRESENT),)
            self._operator(name, (*sources, *kernel), outputs, options)
        self.operators_of.setdefault(id(layer), []).extend(range(first, len(self._operators)))
        return outputs

    def _link(self, layer: Any, sources: list[Tensor], output: Tensor) -> None:
        now = sources[0]
        for name, shape, result in link_operators(layer, now.shape, output.shape):
            written = self._tensor(result)
            kernel = () if shape is None else (self._tensor(shape, data=PRESENT),)
            self._apart(layer, name, (now, *kernel), [written])
            now = written

    def _apart(self, layer: Any, name: str, inputs: tuple[Tensor, ...], outputs: list[Tensor]) -> None:
        self.in_place.setdefault(id(layer), []).append(Operator(-1, name, inputs, tuple(outputs), {}))

    def _convolution(self, layer: Any, source: Tensor, output: Tensor) -> None:
        kh, kw, channels, filters = layer.kernel.shape
        strides = tuple(layer.strides)
        if becomes_binary(layer, source.shape):
            self._binary(source, output, layer.kernel.shape, strides)
        else:
            kernel = self._tensor((filters, kh, kw, channels), data=PRESENT)
            self._operator("CONV_2D", (source, kernel), [output], {"strides": strides})

    def _binary(self, source: Tensor, output: Tensor, shape: Any, strides: tuple[int, int]) -> None:
        """An LceBconv2d with a kernel of shape (kh, kw, C_in, C_out), and the packing of its input unless it was packed already."""
        kh, kw, channels, filters = shape
        if source.index not in self._packed:
            packed = self._tensor((*source.shape[:-1], words(source.shape[-1])), "int32")
            self._operator("LceQuantize", (source,), [packed])
            self._packed[source.index] = packed
        kernel = self._tensor((filters, kh, kw, words(channels)), "int32", PRESENT)
        options = {"channels_in": source.shape[-1], "stride_height": strides[0], "stride_width": strides[1]}
        self._operator(BINARY, (self._packed[source.index], kernel), [output], options)

    def _tensor(self, shape: tuple[int, ...], kind: str = "float32", data: bytes = b"") -> Tensor:
        self._tensors.append(Tensor(len(self._tensors), "", kind, shape, data))
        return self._tensors[-1]

    def _operator(
        self, name: str, inputs: tuple[Tensor, ...], outputs: list[Tensor], options: dict[str, Any] | None = None
    ) -> None:
        self._operators.append(Operator(len(self._operators), name, inputs, tuple(outputs), options or {}))


def _passes(layer: Any, elements: int, shape: tuple[int, ...]) -> bool:
    """Whether a layer works element by element, or only changes the shape, so that it needs no memory of its own."""
    return elements == prod(shape) and not any(hasattr(layer, name) for name in ("kernel", "depthwise_kernel", "cell", "pool_size"))


def _list(shapes: Any) -> list[Any]:
    return list(shapes) if shapes and isinstance(shapes[0], (tuple, list)) else [shapes]


def _static(shape: Any) -> tuple[int, ...]:
    """The shape for one image: the batch size is 1, other unknown sizes are 0."""
    return (1, *(int(size or 0) for size in tuple(shape)[1:]))

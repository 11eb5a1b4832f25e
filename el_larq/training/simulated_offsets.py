"""Which outputs in front of signs have the half step of offset in a file of ``convert --int8 full``, found on layers.

The rules are those of ``converters/int8/sign_offsets.py``. An offset is created in the bias of a convolution or dense layer, real-
valued or binary, directly or behind additions, averages and selections, whose values nothing else reads. From there it travels:

    convolution, dense layer        takes away what arrives, unless there are zeros around its input
    addition, links                 pass on the sum of what arrives
    concatenation                   passes on an offset that all inputs have
    views, selections, averages     pass an offset on
    signs                           read no offset but that of their tensor's own step
    everything else, and outputs    must not get any

A tensor whose offset would go where it must not be has none. Where layers do not show what the file will have, there is none:
behind normalizations that no convolution takes in, `AddToLast`, `InteractedBitcount`, `LearnedScale`, `TernarySplit` and
convolutions with several bases.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import larq
import tf_keras as keras

from el_larq.counting.kernels import declared_bits
from el_larq.keras_internals import LayerCall, layer_calls
from el_larq.layers import ElasticLink, GatedLink, MultiBaseConv2D, MultiBaseDepthwiseConv2D, SplitChannels

COMPUTING = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Dense,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv2D,
)
"""Layers that multiply with a kernel and have a bias in a file."""

_VIEWS = (keras.layers.Dropout, keras.layers.Flatten, keras.layers.Permute, keras.layers.Reshape)

_SAME_STEP = (
    *_VIEWS,
    keras.layers.AveragePooling2D,
    keras.layers.Concatenate,
    keras.layers.Cropping2D,
    keras.layers.MaxPooling2D,
    SplitChannels,
)
"""Layers whose outputs have the step of their inputs in a file."""

_SEVERAL = (keras.layers.Conv2DTranspose, MultiBaseConv2D, MultiBaseDepthwiseConv2D)
"""Layers that a file computes otherwise than a convolution with its bias."""

_SUM = "the offset of no step"


def activation(layer: keras.layers.Layer) -> str:
    """The name of a layer's activation."""
    if isinstance(layer, keras.layers.Softmax):
        return "softmax"
    return getattr(getattr(layer, "activation", None), "__name__", "linear")


def is_quantizer(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a quantizer of Larq, or an Activation with one."""
    return isinstance(layer.activation if isinstance(layer, keras.layers.Activation) else layer, larq.quantizers.Quantizer)


def takes_sign(layer: keras.layers.Layer) -> bool:
    """Whether a layer reads nothing but the signs of its input."""
    return is_quantizer(layer) or (_has_bias(layer) and declared_bits(getattr(layer, "input_quantizer", None)) == 1)


def is_folded(layer: keras.layers.Layer, reader: keras.layers.Layer) -> bool:
    """Whether the only reader of a layer's output is a normalization that becomes a part of its kernel and bias."""
    return isinstance(reader, keras.layers.BatchNormalization) and isinstance(layer, COMPUTING) and activation(layer) == "linear"


def tensors_with_offset(model: keras.Model) -> set[int]:
    """The ids of a graph's symbolic tensors that have the offset of their own step. A nested model is a layer that takes none."""
    graph = _Graph(list(layer_calls(model)), {id(tensor) for tensor in model.outputs or ()})
    refused: set[int] = set()
    while True:
        attempt = _Attempt(graph, graph.wanted - refused)
        if (failed := attempt.run()) is None:
            return {tensor for tensor, offset in attempt.offsets.items() if offset == graph.steps[tensor]}
        refused |= failed


class _Graph:
    """Calls of layers. Tensors are ids.

    steps: the tensor that represents all with the same step. wanted: what should have the offset: the tensors that signs are
    taken of, or what these are views of.
    """

    def __init__(self, calls: list[LayerCall], results: set[int]):
        self.calls, self.results = calls, results
        self.producers = {tensor: call for call in calls for tensor in outputs(call)}
        self.readers: dict[int, list[LayerCall]] = {}
        self.steps = {tensor: tensor for tensor in self.producers}
        for call in calls:
            for tensor in inputs(call):
                self.readers.setdefault(tensor, []).append(call)
            if isinstance(call.layer, _SAME_STEP):
                same = {self.steps[tensor] for tensor in (*inputs(call), *outputs(call))}
                self.steps = {tensor: min(same) if step in same else step for tensor, step in self.steps.items()}
        self.wanted = {self._viewed(tensor) for call in calls if takes_sign(call.layer) for tensor in inputs(call)}

    def _viewed(self, tensor: int) -> int:
        while isinstance(self.producers[tensor].layer, _VIEWS):
            tensor = inputs(self.producers[tensor])[0]
        return tensor

    def passes(self, call: LayerCall) -> bool:
        """Whether a call's outputs have the offset of its only input."""
        if len(inputs(call)) != 1:
            return False
        if isinstance(call.layer, (*_SAME_STEP, keras.layers.GlobalAveragePooling2D)):
            return not isinstance(call.layer, keras.layers.Concatenate)
        source = inputs(call)[0]
        return len(self.readers[source]) == 1 and is_folded(self.producers[source].layer, call.layer)


@dataclass
class _Attempt:
    """One pass over the calls.

    offsets: for each tensor that has one, the step that it is half of, or _SUM. causes: the tensors that it was created for.
    """

    graph: _Graph
    wanted: set[int]
    offsets: dict[int, Any] = field(default_factory=dict)
    causes: dict[int, set[int]] = field(default_factory=dict)

    def run(self) -> set[int] | None:
        """None if all offsets could be created and taken away again; else the tensors for which one could not."""
        for call in self.graph.calls:
            arriving = [tensor for tensor in inputs(call) if tensor in self.offsets]
            causes = set().union(*(self.causes[tensor] for tensor in arriving))
            if arriving and not self._pass(call, causes):
                return causes
            for tensor in outputs(call):
                if tensor in self.wanted and not self._reach(tensor, self.graph.steps[tensor], {tensor}):
                    return {tensor}
                if tensor in self.offsets and tensor in self.graph.results:
                    return self.causes[tensor]
        return None

    def _pass(self, call: LayerCall, causes: set[int]) -> bool:
        """Give outputs the offset that arrives, if any of it does. Whether it may arrive."""
        layer, found = call.layer, [self.offsets.get(tensor) for tensor in inputs(call)]
        if takes_sign(layer):
            return found[0] == self.graph.steps[inputs(call)[0]]
        if _has_bias(layer):
            return _has_no_border(layer)
        if self.graph.passes(call) or isinstance(layer, keras.layers.Concatenate):
            offset = found[0]
            if len(set(found)) > 1:  # `_reach` makes them equal or fails
                return outputs(call)[0] in self.wanted
        elif _is_addition(layer):
            offset = _SUM
        else:
            return False
        for tensor in outputs(call):
            self.offsets[tensor], self.causes[tensor] = offset, set(causes)
        return True

    def _reach(self, tensor: int, target: Any, causes: set[int]) -> bool:
        """Give a tensor an offset, in the biases in front of it. Whether that was possible."""
        if target != _SUM and self.offsets.get(tensor) == target:
            return True
        done = self._create(self.graph.producers[tensor], target, causes)
        if done:
            self.offsets[tensor], self.causes[tensor] = target, set(causes)
        return done

    def _create(self, call: LayerCall, target: Any, causes: set[int]) -> bool:
        if _has_bias(call.layer):
            return activation(call.layer) == "linear" and _is_int8(call.layer)
        if _is_addition(call.layer):
            free = next((source for source in _addends(call) if self._ends_in_bias(source)), None)
            return free is not None and self._reach(free, _SUM, causes)
        sources = inputs(call)
        if self.graph.passes(call):
            return len(outputs(call)) == 1 and self._only_reader(sources[0]) and self._reach(sources[0], target, causes)
        return isinstance(call.layer, keras.layers.Concatenate) and all(
            self.offsets.get(source) == target or (self._only_reader(source) and self._reach(source, target, causes))
            for source in sources
        )

    def _ends_in_bias(self, tensor: int) -> bool:
        """Whether only one call reads a tensor, and a bias is behind it."""
        call = self.graph.producers[tensor]
        if not self._only_reader(tensor):
            return False
        if _has_bias(call.layer):
            return activation(call.layer) == "linear" and _is_int8(call.layer)
        if _is_addition(call.layer):
            return any(map(self._ends_in_bias, _addends(call)))
        return self.graph.passes(call) and len(outputs(call)) == 1 and self._ends_in_bias(inputs(call)[0])

    def _only_reader(self, tensor: int) -> bool:
        return len(self.graph.readers.get(tensor, [])) == 1 and tensor not in self.graph.results and tensor not in self.wanted


def inputs(call: LayerCall) -> list[int]:
    return [] if call.is_input else [id(tensor) for tensor in call.inputs]


def outputs(call: LayerCall) -> list[int]:
    return [id(tensor) for tensor in call.outputs]


def _has_bias(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, COMPUTING) and not isinstance(layer, _SEVERAL)


def _is_addition(layer: keras.layers.Layer) -> bool:
    return isinstance(layer, (keras.layers.Add, ElasticLink, GatedLink))


def _addends(call: LayerCall) -> Iterator[int]:
    """What a bias can add to the sum of: of a link, its convolution."""
    yield from inputs(call)[1:] if isinstance(call.layer, (ElasticLink, GatedLink)) else inputs(call)


def _kernel_is_1x1(layer: keras.layers.Layer) -> bool:
    return set(getattr(layer, "kernel_size", (1,))) == {1}


def _has_no_border(layer: keras.layers.Layer) -> bool:
    """Whether a layer reads no zeros around its input, which have no offset."""
    return getattr(layer, "padding", "valid") == "valid" or _kernel_is_1x1(layer)


def _is_int8(layer: keras.layers.Layer) -> bool:
    """Whether a layer has an int8 output: LCE pads binary maps with zeros only where it is float."""
    return not takes_sign(layer) or _has_no_border(layer) or getattr(layer, "pad_values", 0.0) == 1.0

"""Compares a model with its .tflite from sign to sign, so that a flipped sign does not hide later differences.

A binary network is a chain of real-valued segments with signs between them. A sign that flips by rounding changes every later
value, so comparing those values is meaningless. Therefore the model's graph is fed the flatbuffer's signs in place of those it
would compute: each segment starts from the same bits in both, and must end in the same real values and, up to rounding, in the
same signs. By induction along the graph, a flatbuffer that passes computes what the model computes.

This holds whichever packed tensor is substituted for which sign: every value fed to the model is compared with the one it would
compute, so a wrong choice can only cause a failure. If a kernel is used several times, its uses cannot be distinguished, and the
packed tensor or sign with the fewest differences is chosen.

Rounding to integers, in quantizers of several bits, is treated in the same way: the model is fed the flatbuffer's integers.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from el_larq.converters.discretizations import find_discretizations
from el_larq.converters.exact import DoublePrecision, accepted, change_of_probabilities, moved
from el_larq.converters.frozen import FrozenModel, find_source
from el_larq.converters.graph import Convolution, layer_name
from el_larq.converters.match import Match
from el_larq.converters.rewrite import with_outputs
from el_larq.errors import ElLarqError
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.operators import input_channels, unpack_signs, words
from el_larq.tflite.reader import TfliteGraph

STEPS = 2
"""A sign may flip where the value is at most this many steps of the int8 tensor that the flatbuffer takes it of.

Fake quantization computes with real numbers what int8 operators round: one step, and another if such tensors are added.
"""


@dataclass
class LayerSigns:
    """Signs at the input of one binary convolution: the number compared, the number flipped, and the worst flip.

    kind: what the values are, "signs" or "rounded values", of which a flip has another integer.
    worst: largest |value| / RMS of a flip. The values are computed from the flatbuffer's preceding signs, so flips beyond rounding
    indicate a fault between those signs and this layer's input.
    """

    layer: str
    kind: str = "signs"
    compared: int = 0
    flipped: int = 0
    worst: float = 0.0


@dataclass(frozen=True)
class Flip:
    """The worst flip in one image: the layer at whose input it is, and its distance from the threshold / RMS of that input.

    The distance is |value| for a sign. What int8 operators round, and measured rounding errors, have been subtracted.
    """

    layer: str
    worst: float


@dataclass(frozen=True)
class SegmentComparison:
    """The results of a batch of N images. Outputs are (N, ...), in the model's order.

    alone: outputs of the model with its own signs. given: of the model with the flatbuffer's signs. computed: of the flatbuffer.
    flips: the worst flip of each image; None if no sign flipped.
    exact_alone: what the model computes in double precision with its own signs. roundings: how far rounding moves each output of
        the model in each image, with the flatbuffer's signs: (outputs, N). Both only where asked.
    """

    alone: list[np.ndarray]
    given: list[np.ndarray]
    computed: list[np.ndarray]
    flips: list[Flip | None]
    exact_alone: list[np.ndarray] | None = None
    roundings: np.ndarray | None = None


@dataclass(frozen=True)
class _Pair:
    """A sign or rounding of the model, a tensor that may contain its values (both by position), and the number of channels.

    paddings: where the flatbuffer pads before it takes the signs, and the model after it: the amounts along each axis, before and
    after.
    """

    sign: int
    packed: int
    channels: int
    paddings: tuple[tuple[int, int], ...] | None = None


class Segments:
    """A model and its flatbuffer, whose packed and rounded tensors have been made outputs.

    layers: the results so far at the input of each binary convolution, in order of execution, then at signs that no binary
    convolution reads, and at roundings.
    """

    def __init__(self, model: FrozenModel, content: bytes, matches: Iterable[Match], source: str):
        self._plain: Interpreter | None = Interpreter(content, source=source)
        graph = self._plain.graph
        steps = _packed_signs(graph)
        packed = [graph.tensors[index] for index in steps]
        rounded = [operator.outputs[0] for operator in graph.operators if operator.name == "ROUND"]
        self._model = model
        self._signs = find_discretizations(model)
        ends = {number: find_source(tensor) for number, tensor in enumerate(model.outputs)}
        self._probabilities = {number: tensor for number, tensor in ends.items() if tensor.op.type in ("Softmax", "Sigmoid")}
        wanted = [*packed, *rounded]
        self._interpreter = Interpreter(with_outputs(content, [tensor.index for tensor in wanted])) if self._signs else self._plain
        self._shapes = [tensor.shape for tensor in wanted]
        self._first_rounded = len(packed)
        self._rounded = [*(STEPS * step for step in steps.values()), *(0.0 for _ in rounded)]
        # Several signs may be taken of the same tensor.
        self._reals = {sign.real.name: sign.real for sign in self._signs}
        self._choices: list[list[_Pair]] = []
        self.layers: list[LayerSigns] = []
        self._choose_by_kernel(list(matches), {tensor.index: position for position, tensor in enumerate(packed)})
        self._choose_by_shape()
        self.values_per_image = 2 * sum(prod(real.shape[1:]) for real in self._reals.values())

    def _choose_by_kernel(self, matches: list[Match], positions: dict[int, int]) -> None:
        signs = {sign.values.name: index for index, sign in enumerate(self._signs)}
        signs_by_kernel: dict[bytes, set[int]] = {}
        matches = [m for m in matches if m.convolution.binarized is not None and m.convolution.binarized.name in signs]
        for m in matches:
            assert m.convolution.binarized is not None
            signs_by_kernel.setdefault(_key(m.convolution), set()).add(signs[m.convolution.binarized.name])
        for m in matches:
            packed = m.operator.inputs[0]
            if packed is not None and packed.index in positions:
                channels = input_channels(m.operator)
                pairs = [_Pair(sign, positions[packed.index], channels) for sign in sorted(signs_by_kernel[_key(m.convolution)])]
                if not any(map(self._fits, pairs)):
                    pairs = [replace(pair, paddings=m.convolution.paddings) for pair in pairs]
                self._add(m.convolution.layer, pairs)

    def _choose_by_shape(self) -> None:
        """Add the signs that no binary convolution of the flatbuffer reads, those of other layers, and the roundings."""
        chosen = {pair.sign for pairs in self._choices for pair in pairs}
        reals = {self._signs[index].real.name for index in chosen}
        for index, sign in enumerate(self._signs):
            if sign.rounding or sign.real.name not in reals:
                reals.add(sign.real.name)
                pairs = [_Pair(index, packed, sign.real.shape[-1]) for packed in range(len(self._shapes))]
                self._add(layer_name(sign.values.op.name, self._model.name), pairs, "rounded values" if sign.rounding else "signs")

    def _add(self, layer: str, pairs: list[_Pair], kind: str = "signs") -> None:
        pairs = [pair for pair in pairs if self._fits(pair)]
        if pairs and pairs not in self._choices:
            self._choices.append(pairs)
            self.layers.append(LayerSigns(layer, kind))

    def _fits(self, pair: _Pair) -> bool:
        if self._signs[pair.sign].rounding or pair.packed >= self._first_rounded:
            same_kind = self._signs[pair.sign].rounding and pair.packed >= self._first_rounded
            return same_kind and prod(self._signs[pair.sign].real.shape[1:]) == prod(self._shapes[pair.packed])
        values, width, shape = prod(self._signs[pair.sign].real.shape[1:]), words(pair.channels), self._shapes[pair.packed]
        if pair.paddings is not None:
            inner = [size - before - after for size, (before, after) in zip(shape[1:-1], pair.paddings[1:-1], strict=False)]
            return inner == list(self._signs[pair.sign].real.shape[1:-1]) and shape[-1] == width
        return values % pair.channels == 0 and shape[-1] == width and prod(shape) == values // pair.channels * width

    def double_precision(self) -> DoublePrecision | None:
        """The model in double precision, to compare again with: `layers` starts anew. None if it cannot be run so."""
        self.layers = [LayerSigns(record.layer, record.kind) for record in self.layers]
        return DoublePrecision.of(self._model, self._signs, self._probabilities.values())

    def compare(self, images: list[np.ndarray], reference: DoublePrecision | None = None) -> SegmentComparison:
        """Compare on a batch (N, ...) for each input.

        reference: the model in double precision. With it, a flip is measured beyond the rounding error of its tensor.

        Raises:
            ElLarqError: the flatbuffer's outputs have different shapes than the model's, or change when its signs are read out.
        """
        outputs = len(self._model.outputs)
        values = self._interpreter.run(images)
        packed = values[outputs:]
        alone, reals = self._run(images, {}, any(len(pairs) > 1 for pairs in self._choices))
        computed = [_shaped(got, wanted) for got, wanted in zip(values[:outputs], alone, strict=True)]
        self._check_unchanged(images, computed)
        given, chosen = alone, self._nearest(packed, reals)
        # Earlier flips may cause a wrong choice, so it is repeated without them until it no longer changes.
        tried: list[list[_Pair]] = []
        while chosen and chosen not in tried:
            given, reals = self._run(images, self._fed(chosen, packed), True)
            tried.append(chosen)
            if len(tried) <= len(self._choices):
                chosen = self._nearest(packed, reals)
        chosen = tried[-1] if tried else []
        if reference is None:
            return SegmentComparison(alone, given, computed, self._flips(len(images[0]), chosen, packed, reals, {}))
        signs = self._fed(chosen, packed)
        fed = {self._signs[index].values.name: values for index, values in signs.items()}
        names = [self._signs[pair.sign].values.name for pair in chosen]
        exact, exact_reals = reference.run(images, fed, [*names, *(tensor.name for tensor in self._probabilities.values())])
        flips = self._flips(len(images[0]), chosen, packed, reals, exact_reals)
        roundings = np.max([self._roundings(batches, signs, exact, exact_reals) for batches in (images, *moved(images))], axis=0)
        return SegmentComparison(alone, given, computed, flips, reference.run(images, {})[0], roundings)

    def _roundings(
        self, images: list[np.ndarray], fed: dict[int, np.ndarray], exact: list[np.ndarray], reals: dict[str, np.ndarray]
    ) -> np.ndarray:
        """How far a run of the model in single precision is from double precision: (outputs, N).

        For a softmax or sigmoid, how far its logits are from it, and what that could do, if it is more.
        """
        logits = [tensor.op.inputs[0] for tensor in self._probabilities.values()]
        outputs = len(self._model.outputs)
        values = self._model.fetch([*self._model.outputs, *logits], [self._signs[i].values for i in fed])(images, *fed.values())
        found = [_largest(wanted - got) for wanted, got in zip(exact, values[:outputs], strict=True)]
        for (number, tensor), got in zip(self._probabilities.items(), values[outputs:], strict=True):
            if tensor.name in reals:
                possible = change_of_probabilities(exact[number], _largest(reals[tensor.name] - got), tensor.op.type)
                found[number] = np.maximum(found[number], _largest(possible))
        return np.stack(found)

    def _check_unchanged(self, images: list[np.ndarray], computed: list[np.ndarray]) -> None:
        """Compare bit by bit, on the very first images only, with the original file, which lacks the additional outputs."""
        if self._plain is None:
            return
        values = self._plain.run([batch[:1] for batch in images])
        if not all(np.array_equal(_shaped(v, c[:1]), c[:1], equal_nan=True) for v, c in zip(values, computed, strict=True)):
            raise ElLarqError("verify: reading out its signs changed what the .tflite computes; report this as an error in el-larq")
        self._plain = None

    def _run(
        self, images: list[np.ndarray], fed: dict[int, np.ndarray], with_reals: bool
    ) -> tuple[list[np.ndarray], dict[str, np.ndarray]]:
        """The model's outputs, with some of its signs fed, and the tensors that signs are taken of, by name."""
        wanted = self._reals if with_reals else {}
        function = self._model.fetch([*self._model.outputs, *wanted.values()], [self._signs[index].values for index in fed])
        values = function(images, *fed.values())
        outputs = len(self._model.outputs)
        return values[:outputs], dict(zip(wanted, values[outputs:], strict=True))

    def _values(self, pair: _Pair, packed: list[np.ndarray]) -> np.ndarray:
        """The flatbuffer's values, -1 and 1 or integers, in the shape of the model's tensor."""
        values = packed[pair.packed]
        if not self._signs[pair.sign].rounding:
            values = np.where(unpack_signs(values, pair.channels), np.float32(-1), np.float32(1))
        if pair.paddings is not None:
            inner = (slice(before, size - after) for size, (before, after) in zip(values.shape, pair.paddings, strict=True))
            values = values[tuple(inner)]
        return values.reshape(-1, *self._signs[pair.sign].real.shape[1:])

    def _departs(self, pair: _Pair, packed: list[np.ndarray], reals: dict[str, np.ndarray]) -> np.ndarray:
        sign = self._signs[pair.sign]
        return self._values(pair, packed) != sign.of(reals[sign.real.name])

    def _nearest(self, packed: list[np.ndarray], reals: dict[str, np.ndarray]) -> list[_Pair]:
        """For each choice, the pair with the fewest differing signs."""
        return [
            pairs[0] if len(pairs) == 1 else min(pairs, key=lambda pair: int(self._departs(pair, packed, reals).sum()))
            for pairs in self._choices
        ]

    def _fed(self, chosen: list[_Pair], packed: list[np.ndarray]) -> dict[int, np.ndarray]:
        """The values of each rounding, and of each sign with a packed tensor, its own or that of a sign of the same tensor."""
        own = {pair.sign: pair for pair in chosen}
        shared = {self._signs[pair.sign].real.name: pair for pair in chosen if not self._signs[pair.sign].rounding}
        found = {
            index: own.get(index) or (None if sign.rounding else shared.get(sign.real.name))
            for index, sign in enumerate(self._signs)
        }
        values = {pair: self._values(pair, packed) for pair in found.values() if pair}
        return {index: values[pair] for index, pair in found.items() if pair}

    def _flips(
        self,
        images: int,
        chosen: list[_Pair],
        packed: list[np.ndarray],
        reals: dict[str, np.ndarray],
        exact: dict[str, np.ndarray],
    ) -> list[Flip | None]:
        worst: list[Flip | None] = [None] * images
        for record, pair in zip(self.layers, chosen, strict=True):
            sign = self._signs[pair.sign]
            x, departs = reals[sign.real.name], self._departs(pair, packed, reals)
            record.compared += x.size
            record.flipped += int(departs.sum())
            if not departs.any():
                continue
            rounded = accepted(x, exact[sign.values.name]) if sign.values.name in exact else 0.0
            beyond = sign.distance(x, self._values(pair, packed)) - rounded - 1.001 * self._rounded[pair.packed]
            for index in np.flatnonzero(departs.reshape(len(x), -1).any(axis=1)):
                flip = Flip(record.layer, _share(beyond[index][departs[index]], x[index]))
                record.worst = max(record.worst, flip.worst)
                worst[index] = max(worst[index] or flip, flip, key=lambda flip: flip.worst)
        return worst


def _packed_signs(graph: TfliteGraph) -> dict[int, float]:
    """The tensors of packed signs, by index, and the step of the int8 tensor that they are taken of; 0 for other tensors."""
    steps: dict[int, float] = {}
    for operator in graph.operators:
        sources = [tensor for tensor in operator.inputs if tensor is not None]
        for output in operator.outputs:
            if output.type != "int32":
                continue
            if operator.name.startswith("Lce"):
                steps[output.index] = sources[0].step if sources[0].type == "int8" else 0.0
            elif operator.name == "CONCATENATION" and all(source.index in steps for source in sources):
                steps[output.index] = max(steps[source.index] for source in sources)
    return steps


def _shaped(got: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """An output in the model's shape: flatbuffers may omit dimensions of size 1."""
    if got.size != wanted.size:
        shapes = f"{list(got.shape)} for {len(wanted)} images, the model's {list(wanted.shape)}"
        raise ElLarqError(f"verify: an output of the .tflite has shape {shapes}")
    return got.reshape(wanted.shape)


def _largest(values: np.ndarray) -> np.ndarray:
    """The largest magnitude in each image, (N,)."""
    return np.abs(values).reshape(len(values), -1).max(axis=1)


def _share(beyond: np.ndarray, x: np.ndarray) -> float:
    """The largest distance, at least 0, as a share of the RMS of x; infinite where x is not finite."""
    rms = np.sqrt(np.mean(np.square(x, dtype=np.float64)))
    return max(0.0, float(beyond.max())) / (float(rms) or 1.0) if np.isfinite(rms) else np.inf


def _key(convolution: Convolution) -> bytes:
    """A key that is equal for kernels that `match` cannot distinguish: the same signs, up to inverted filters."""
    negative = convolution.kernel < 0
    return repr(negative.shape).encode() + np.packbits(negative ^ negative[(0,) * (negative.ndim - 1)]).tobytes()

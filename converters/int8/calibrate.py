"""Ranges of the tensors of a float .tflite on calibration images."""

from collections.abc import Iterator, Sequence, Set

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.observer import Observer
from el_larq.compression.ranges import estimate_range
from el_larq.compression.sign_safe import of_range_for_signs
from el_larq.converters.int8.int8_operators import (
    CLIPS,
    Scales,
    constants_read,
    feeds_sign,
    find_scales,
    joined_constants,
    shares_scale,
)
from el_larq.converters.rewrite import with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import Operator, TfliteGraph

_VALUES = 2**25
"""The number of values of all observed tensors that are held in memory."""

_FAR = 2
"""How much wider a constant may make the range of the values that it is joined with."""


def observed(graph: TfliteGraph, scales: Scales) -> dict[int, list[int]]:
    """The tensors to observe for each scale, by its first tensor: those that are not made of others with this scale.

    Those that a constant clips are observed too, since the bound can be outside of all values in front of it.
    """
    found: dict[int, list[int]] = {}
    for tensor, first in scales.shares.items():
        producer = graph.producers.get(tensor)
        if producer is None or not shares_scale(producer) or _is_clipped(producer) or producer.index not in scales.operators:
            found.setdefault(first, []).append(tensor)
    return found


def _is_clipped(producer: Operator) -> bool:
    return producer.name in CLIPS and bool(constants_read(producer))


def run_tensors(content: bytes, tensors: Sequence[int], images: Sequence[np.ndarray]) -> Iterator[dict[int, np.ndarray]]:
    """The values of tensors on images, part by part: each (n, ...) without the tensor's first dimension."""
    interpreter = Interpreter(with_outputs(content, list(tensors)))
    own = len(interpreter.graph.outputs) - len(tensors)
    size = sum(tensor.elements for tensor in interpreter.graph.outputs)
    step = max(1, _VALUES // max(1, size))
    for start in range(0, len(images[0]), step):
        outputs = interpreter.run([batch[start : start + step] for batch in images])
        yield dict(zip(tensors, outputs[own:], strict=True))


def observe(content: bytes, graph: TfliteGraph, scales: Scales, images: Sequence[np.ndarray]) -> dict[int, Observer]:
    """An observer for each scale that is not fixed, by its first tensor, which has seen the tensors on all images.

    images: a batch (N, ...) for each input.

    Raises:
        ElLarqError: a tensor has values that are not finite.
    """
    sources = {first: tensors for first, tensors in observed(graph, scales).items() if first not in scales.fixed}
    names = {tensor.index: tensor.name for tensor in graph.tensors}
    observers = {first: Observer(f"tensor {names[first]}") for first in sources}
    for values in run_tensors(content, sorted({t for tensors in sources.values() for t in tensors}), images):
        for first, tensors in sources.items():
            # Image by image: moving averages are of images.
            for number in range(len(values[tensors[0]])):
                observers[first].update(np.concatenate([values[tensor][number].ravel() for tensor in tensors]))
    return observers


def observe_all(
    content: bytes, graph: TfliteGraph, images: Sequence[np.ndarray], kept: Set[int] = frozenset()
) -> tuple[Scales, dict[int, Observer]]:
    """The scales of a graph and their observers. Operators with a constant that would make steps too large stay float.

    images: a batch (N, ...) for each input. kept: the numbers of other operators that are to stay float.
    """
    far: set[int] = set()
    while True:
        scales = find_scales(graph, far, kept)
        observers = observe(content, graph, scales, images)
        found = {o.index for o, first, values in joined_constants(graph, scales) if _is_far(values, observers.get(first))}
        if not found:
            return scales, observers
        far |= found


def _is_far(constant: np.ndarray, seen: Observer | None) -> bool:
    """Whether a constant more than doubles a range. One without values, or with zeros only, can have any."""
    if seen is None:
        return False
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    return 0 < _FAR * (high - low) < max(high, float(constant.max())) - min(low, float(constant.min()))


def affines(observers: dict[int, Observer], graph: TfliteGraph, scales: Scales, ranges: str) -> dict[int, Affine]:
    """The quantization of each scale, by its first tensor.

    Its range includes the constants that operators join with its tensors, except the bounds of maxima and minima. One that a sign
    is taken with has steps on both sides of 0.
    """
    signs = {scales.shares[tensor] for tensor in feeds_sign(graph) if tensor in scales.shares}
    limits = {first: list(estimate_range(seen, ranges)) for first, seen in observers.items()}
    for _, first, values in joined_constants(graph, scales):
        limits.setdefault(first, []).extend((float(values.min()), float(values.max())))
    found = dict(scales.fixed)
    for first, ends in limits.items():
        found[first] = (of_range_for_signs if first in signs else Affine.of_range)(min(ends), max(ends))
    return found

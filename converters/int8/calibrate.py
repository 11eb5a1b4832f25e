"""Ranges of the tensors of a float .tflite on calibration images."""

from collections.abc import Iterator, Sequence

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.observer import Observer
from el_larq.compression.ranges import estimate_range
from el_larq.compression.sign_safe import of_range_for_signs
from el_larq.converters.int8.int8_operators import Scales, constants_read, feeds_sign, shares_scale
from el_larq.converters.rewrite import with_outputs
from el_larq.tflite.interpreter import Interpreter
from el_larq.tflite.reader import TfliteGraph

_VALUES = 2**25
"""The number of values of all observed tensors that are held in memory."""


def observed(graph: TfliteGraph, scales: Scales) -> dict[int, list[int]]:
    """The tensors to observe for each scale, by its first tensor: those that are not made of others with this scale."""
    found: dict[int, list[int]] = {}
    for tensor, first in scales.shares.items():
        producer = graph.producers.get(tensor)
        if producer is None or not shares_scale(producer) or producer.index not in scales.operators:
            found.setdefault(first, []).append(tensor)
    return found


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


def affines(observers: dict[int, Observer], graph: TfliteGraph, scales: Scales, ranges: str) -> dict[int, Affine]:
    """The quantization of each scale, by its first tensor.

    Its range includes the constants that operators join with its tensors. One that a sign is taken with has steps on both sides of
    0.
    """
    signs = {scales.shares[tensor] for tensor in feeds_sign(graph) if tensor in scales.shares}
    limits = {first: list(estimate_range(seen, ranges)) for first, seen in observers.items()}
    for operator in graph.operators:
        if operator.index in scales.operators and shares_scale(operator):
            for constant in constants_read(operator):
                values = constant.array()
                limits.setdefault(scales.shares[operator.outputs[0].index], []).extend((float(values.min()), float(values.max())))
    found = dict(scales.fixed)
    for first, ends in limits.items():
        found[first] = (of_range_for_signs if first in signs else Affine.of_range)(min(ends), max(ends))
    return found

"""A float .tflite made int8, with ranges from calibration images, and what that costs each tensor.

It works on the flatbuffer, where operators are those that will run: none can stay float without being named.
"""

from collections.abc import Set
from dataclasses import dataclass, field, replace

import numpy as np

from el_larq.compression.affine import Affine
from el_larq.compression.layer_report import TensorReport, report
from el_larq.converters.int8.calibrate import affines, observe_all, run_tensors
from el_larq.converters.int8.int8_file import Roundings, with_int8
from el_larq.converters.int8.int8_operators import KERNEL_AXES, VIEWS, Scales, feeds_sign, joined_constants
from el_larq.converters.int8.sign_offsets import Offsets, find_offsets
from el_larq.errors import UsageError
from el_larq.tflite.reader import parse

_REPORTED_IMAGES = 8
"""The largest number of calibration images that the report of each tensor is of."""

_REPORTED_VALUES = 2**24
"""The number of values that all reports are of; fewer images if they have more."""


@dataclass(frozen=True)
class Quantized:
    """A float .tflite made int8.

    source: the float file. content: the int8 file, with float inputs and outputs. reports: of each int8 tensor that is not a view,
        on some of the images. images: those that ranges are of, (N, ...). roundings: of kernels that are not rounded to nearest.
    """

    source: bytes
    content: bytes
    scales: Scales
    affines: dict[int, Affine]
    offsets: Offsets
    reports: list[TensorReport]
    images: np.ndarray
    roundings: Roundings = field(default_factory=dict)


def quantize_file(content: bytes, images: np.ndarray, ranges: str, kept: Set[int] = frozenset()) -> Quantized:
    """Quantize a float .tflite with ranges from its inputs (N, ...). kept: the numbers of operators that are to stay float.

    Raises:
        UsageError: it is quantized already, or has no real-valued layer.
    """
    graph = parse(content)
    if any(tensor.type == "int8" for tensor in graph.tensors):
        raise UsageError("quantize: the model is quantized already; omit --int8")
    if not any(operator.name in KERNEL_AXES for operator in graph.operators):
        raise UsageError("quantize: the model has no real-valued convolution or dense layer to quantize; omit --int8")
    scales, observers = observe_all(content, graph, [images], kept)
    found = affines(observers, graph, scales, ranges)
    positive = {first for first, seen in observers.items() if seen.low >= 0}
    positive -= {first for _, first, values in joined_constants(graph, scales) if values.min() < 0}
    negative = {tensor for tensor, first in scales.shares.items() if first not in positive}
    offsets = find_offsets(graph, scales, found, negative)
    reports = tensor_reports(content, scales, found, offsets, images)
    return Quantized(content, with_int8(content, scales, found, offsets.shifts), scales, found, offsets, reports, images)


def tensor_reports(
    content: bytes, scales: Scales, found: dict[int, Affine], offsets: Offsets, images: np.ndarray
) -> list[TensorReport]:
    """One for each int8 tensor that is not a view of another, on some of the images."""
    graph = parse(content)
    signs = feeds_sign(graph)
    views = {operator.outputs[0].index for operator in graph.operators if operator.name in VIEWS}
    made = [tensor for tensor in scales.shares if tensor not in views]
    size = sum(graph.tensors[tensor].elements for tensor in made)
    images = images[: min(_REPORTED_IMAGES, max(1, _REPORTED_VALUES // max(1, size)))]
    values: dict[int, list[np.ndarray]] = {tensor: [] for tensor in made}
    for part in run_tensors(content, made, [images]):
        for tensor in made:
            values[tensor].append(part[tensor])
    reports = []
    for tensor in made:
        name, seen = graph.tensors[tensor].name, np.concatenate(values[tensor])
        one = report(name, seen, found[scales.shares[tensor]], feeds_sign=tensor in signs)
        reports.append(one if tensor in offsets.tensors else replace(one, flips_with_offset=one.flips))
    return reports
